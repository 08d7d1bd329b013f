"""A value that cannot be read names key, value (shortened), what is allowed, and file and line or variable."""

import os
from pathlib import Path

import pytest

from gtm_dagster.settings import SettingsError, load_settings

SECRET = "SECRETPW"
DEEP = 20_000
IN_VARIABLES = {
    "lists within lists": ("GTM_NOTIFY", "[" * DEEP + "]" * DEEP, "notify: "),
    "lists that do not close": ("GTM_NOTIFY", "[" * DEEP, "notify: "),
    "tables within lists": ("GTM_NOTIFY", '[{"a":' * DEEP + "1" + "}]" * DEEP, "notify: "),
    "nested a little less": ("GTM_NOTIFY", "[" * 900 + "]" * 900, "notify[0]: "),
    "tables within tables": ("GTM_PRIVACY", '{"a":' * 900 + "1" + "}" * 900, "privacy.a: there is no such setting"),
    "5,000 digits": ("GTM_DEDUP_DAYS", "9" * 5_000, "dedup_days: '9999"),
    "5,000 digits and a fraction": ("GTM_SESSIONS__TIMEOUT_MINUTES", "9" * 5_000 + ".5", "sessions.timeout_minutes: inf is"),
    "no number": ("GTM_DEDUP_DAYS", "x" * 5_000, "dedup_days: 'xxxx"),
    "a word of 5,000 letters": ("GTM_SESSIONS__DEFINITION", "x" * 5_000, "sessions.definition: 'xxxx"),
    "an escape sequence": ("GTM_REPORT_TIMEZONE", "\x1b]0;x\x07", r"report_timezone: '\x1b]0;x\x07' is not a time zone"),
    "an address that is no JSON": ("GTM_NOTIFY", f"[{{url: https://hooks.example/{SECRET}}}]", "notify: "),
    "an address of another type": ("GTM_NOTIFY", f'[{{"url": ["https://hooks.example/{SECRET}"]}}]', "notify[0].url: "),
    "a key of another type": ("GTM_PRIVACY", f'{{"pseudonym_key": ["{SECRET}"]}}', "privacy.pseudonym_key: *** is not text"),
    "keys that are no JSON": ("GTM_PRIVACY", f'{{"pseudonym_key": {SECRET}', "privacy: *** is not"),
}  # fmt: skip


@pytest.mark.parametrize(("variable", "value", "begins"), IN_VARIABLES.values(), ids=IN_VARIABLES.keys())
def test_a_variable_names_its_key_and_itself(variable, value, begins):
    with pytest.raises(SettingsError) as refused:
        load_settings(None, {variable: value})
    message = str(refused.value)
    assert message.startswith(begins) and variable in message
    assert len(message) < 400 and SECRET not in message and "\x1b" not in message


IN_THE_FILE = {
    "lists within lists": ("notify = " + "[" * DEEP + "]" * DEEP, "notify: 'notify = [[[["),
    "tables within tables": ("a = 1\nnotify = " + "{a=" * DEEP + "1" + "}" * DEEP, "notify: 'notify = {a={a="),
    "5,000 digits": ("[sessions]\ntimeout_minutes = " + "9" * 5_000, "timeout_minutes: 'timeout_minutes = 999"),
    "a NUL in a path": ('plan_file = "a\\u0000b"', r"plan_file: 'a\x00b' is not a path"),
    "a time": ('[[notify]]\nkind = "slack"\nurl = 1979-05-27T07:32:00Z', "notify[0].url: datetime.datetime(1979"),
}


@pytest.mark.parametrize(("content", "begins"), IN_THE_FILE.values(), ids=IN_THE_FILE.keys())
def test_a_file_names_key_and_line(tmp_path, content, begins):
    path = tmp_path / "gtm.toml"
    path.write_text(content)
    with pytest.raises(SettingsError) as refused:
        load_settings(path, {})
    message = str(refused.value)
    assert message.startswith(begins) and len(message) < 400
    assert f"(gtm.toml line {len(content.splitlines())})" in message


def _a_file(folder: Path) -> Path:
    path = folder / "file"
    path.write_text("")
    return path


STATE_DIRS = {
    "a file": (_a_file, "it is not a folder"),
    "below a file": (lambda folder: _a_file(folder) / "x", "it is not a folder"),
    "a FIFO": (lambda folder: os.mkfifo(folder / "fifo") or folder / "fifo", "it is not a folder"),
    "a link to nothing": (lambda folder: (folder / "link").symlink_to("gone") or folder / "link", "it is a link to nothing"),
    "a name that is too long": (lambda folder: folder / ("x" * 3_000), "file name too long"),
    "a question mark": (lambda folder: folder / "a?b", "has a question mark"),
    "a percent sign before hex digits": (lambda folder: folder / "a%20b", "has a percent sign"),
    "a backslash": (lambda folder: folder / "a\\b", "has a backslash"),
}  # fmt: skip


@pytest.mark.parametrize(("place", "reason"), STATE_DIRS.values(), ids=STATE_DIRS.keys())
def test_what_cannot_be_a_state_directory_is_refused(tmp_path, place, reason):
    with pytest.raises(SettingsError, match=reason) as refused:
        load_settings(None, {"GTM_STATE_DIR": str(place(tmp_path))})
    assert str(refused.value).startswith("state_dir: ") and str(refused.value).endswith("(GTM_STATE_DIR)")


def test_a_state_directory_may_be_a_link_or_not_there_yet(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    for name in ("there", "link", "new/below", "o'brien", "100%"):
        assert load_settings(None, {"GTM_STATE_DIR": str(tmp_path / name)}).state_dir == tmp_path / name
