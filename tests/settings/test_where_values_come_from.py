"""A bad value is blamed on the place it came from: the file's line, or the variable that replaced it."""

from pathlib import Path

import pytest

from gtm_dagster.settings import SettingsError, load_settings
from gtm_dagster.settings.nearest import did_you_mean, nearest

FILE = """\
report_timezone = "UTC"
conversions = [
  { event = "payment_completed", value = "amount" },
]
[sessions]
timeout_minutes = 20
definition = "ga4"
[attribution]
windows = [
  { model = "linear", lookback_hours = 24 },
  { model = "first_touch", lookback_hours = 24 },
]
half_life_hours = 100
[[providers]]
name = "main"
kind = "unleash"
[[guards]]
flag = "a"
conversion = "payment_completed"
"""


def refused(folder: Path, text: str, **environ: str) -> str:
    file = folder / "gtm.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_settings(file, environ)
    return str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("GTM_ATTRIBUTION__WINDOWS", '[{"model":"lineer","lookback_hours":168}]', "attribution.windows[0].model"),
        ("GTM_ATTRIBUTION__WINDOWS", '[{"model":"linear","lookback_hours":1},{"model":"linear","lookback_hours":-1}]', "attribution.windows[1].lookback_hours"),
        ("GTM_ATTRIBUTION__WINDOWS", '[{"model":"linear"}]', "attribution.windows[0].lookback_hours: is missing"),
        ("GTM_ATTRIBUTION__WINDOWS", '[{"model":"linear","lookback_hours":1},{"model":"linear","lookback_hours":1}]', "attribution.windows[1]: "),
        ("GTM_ATTRIBUTION", '{"windows":[{"model":"lineer","lookback_hours":168}]}', "attribution.windows[0].model"),
        ("GTM_ATTRIBUTION", '{"half_life_hours":0}', "attribution.half_life_hours"),
        ("GTM_CONVERSIONS", '[{"event":"a","valu":"b"}]', "conversions[0].valu"),
        ("GTM_CONVERSIONS", '[{"event":""}]', "conversions[0].event"),
        ("GTM_SESSIONS", '{"timeout_minutes":-1}', "sessions.timeout_minutes"),
        ("GTM_SESSIONS", "[]", "sessions: [] is not a table"),
        ("GTM_SESSIONS__DEFINITION", "ga3", "sessions.definition"),
        ("GTM_PROVIDERS", '[{"name":"u","kind":"optimizely"}]', "providers[0].kind"),
        ("GTM_REPORT_TIMEZONE", "localtime", "report_timezone"),
        ("GTM_PLAN_FILE", " ", "plan_file: ' ' is not a path"),
        ("GTM_TRIGGERS_FILE", " ", "triggers_file: ' ' is not a path"),
    ],
)  # fmt: skip
def test_a_value_of_a_variable_is_blamed_on_the_variable(tmp_path: Path, variable: str, value: str, key: str) -> None:
    message = refused(tmp_path, FILE, **{variable: value})
    assert message.startswith(key) and message.endswith(f"({variable})")


@pytest.mark.parametrize(
    ("variable", "value"), [("GTM_SESSIONS", '{"definition":"ua"}'), ("GTM_SESSIONS__DEFINITION", "ua")]
)
def test_what_a_variable_leaves_alone_stays_the_files(tmp_path: Path, variable: str, value: str) -> None:
    text = FILE.replace("timeout_minutes = 20", "timeout_minutes = -20")
    assert refused(tmp_path, text, **{variable: value}).endswith("(gtm.toml line 6)")


def test_a_guard_of_a_variable_is_blamed_on_the_variable(tmp_path: Path) -> None:
    (tmp_path / "gtm.toml").write_text(FILE)
    settings = load_settings(tmp_path / "gtm.toml", {"GTM_GUARDS": '[{"flag":"a","conversion":"b","threshold":3}]'})
    (error,) = settings.guard_errors
    assert error.startswith("guards[0].threshold") and error.endswith("(GTM_GUARDS)")


def test_two_variables_that_contradict_each_other_are_both_named(tmp_path: Path) -> None:
    message = refused(tmp_path, "", GTM_SESSIONS="5", GTM_SESSIONS__TIMEOUT_MINUTES="3")
    assert "GTM_SESSIONS)" in message and "GTM_SESSIONS__TIMEOUT_MINUTES" in message


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory", "posix/Europe/Berlin", "right/UTC", "europe/berlin", "tzdata.zi", "../UTC", ""])  # fmt: skip
def test_a_file_that_is_no_iana_zone_is_refused(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, f'report_timezone = "{name}"').startswith("report_timezone: ")


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"])
def test_an_iana_zone_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "gtm.toml").write_text(f'report_timezone = "{name}"')
    assert load_settings(tmp_path / "gtm.toml", {}).report_timezone == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[attribution]\nhalf_life_hours = 1e-10", "attribution.half_life_hours: 1e-10 is not a number above 0.01 (gtm.toml line 2)"),
        ("[attribution]\nhalf_life_hours = 1e9", "is not a number above 0.01 and of at most 1,000,000"),
        ("[attribution]\nwindows = [{model = 'linear', lookback_hours = 1000001}]", "1000001 is not a number above 0 and of at most 1,000,000"),
        ("[refresh]\nlock_timeout_seconds = 2e6", "2000000.0 is not a number of at least 0 and of at most 1,000,000"),
        ("[[guards]]\nflag = 'a'\nconversion = 'b'\nbudget_hours = 1", None),
        ("conversions = [{event = 'a', value = 'am\"ount'}]", "conversions[0].value: 'am\"ount' is not the name of a property: 1 to 128 characters, no double quote"),
        ("conversions = [{event = 'a', currency = ''}]", "conversions[0].currency: '' is not the name of a property"),
        ("reporttimezone = 'UTC'", "did you mean report_timezone"),
        ("guard_errors = []", "guard_errors: there is no such setting"),
    ],
)  # fmt: skip
def test_limits_and_names_are_in_the_message(tmp_path: Path, text: str, message: str | None) -> None:
    if message is None:
        (tmp_path / "gtm.toml").write_text(text)
        assert "of at least 24" in load_settings(tmp_path / "gtm.toml", {}).guard_errors[0]
        return
    found = refused(tmp_path, text)
    assert message in found
    assert "guard_errors," not in found


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("page_view", "page_viewed"),
        ("Page Viewed", "page_viewed"),
        ("amonut", "amount"),
        ("payment", "payment_completed"),
        ("purchase", "payment_completed"),
        ("Order Done", "payment_completed"),
        ("price", "amount"),
        ("zzz", None),
    ],
)
def test_the_nearest_name_comes_first(name: str, first: str | None) -> None:
    known = ["payment_completed", "page_viewed", "amount"]
    assert (nearest(name, known) or (None,))[0] == first
    assert did_you_mean(name, known).startswith(f"; did you mean {first}" if first else "")
    assert bool(did_you_mean(name, known)) is bool(first)
