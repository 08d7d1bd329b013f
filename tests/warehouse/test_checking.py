"""Checks look at what changed: as strong there as over everything, and nothing that changed goes unchecked."""

import random
import shutil
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from profiles import slow_but
from warehouse_cases import DAY, PLAN, START, event, land, random_events, settings_for, with_copies

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.affected import check_step, find_affected
from gtm_dagster.warehouse.build import all_checks, build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.checking import Form, LastTime, News, _rules, form_of, run_checks
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.schema import table_of, tables

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).replace(tzinfo=None)
QUARANTINED = {"verdict": "quarantined", "reason_codes": "unknown_event", "errors": "[]", "raw": "{}"}


def last(**changes):
    found = {"passed": True, "rules": "r", "run": "run-1", "at": NOON, "whole_at": NOON}
    return LastTime(**{**found, **changes})


@pytest.mark.parametrize(
    ("before", "news", "now", "form"),
    [
        pytest.param(None, News.NONE, NOON, Form.EVERYTHING, id="never ran"),
        pytest.param(last(), News.NONE, NOON, Form.NOTHING, id="passed and nothing changed"),
        pytest.param(last(), News.SOME, NOON, Form.CHANGED, id="passed and something changed"),
        pytest.param(last(), News.UNKNOWN, NOON, Form.EVERYTHING, id="a rebuild"),
        pytest.param(last(passed=False), News.NONE, NOON, Form.EVERYTHING, id="did not pass"),
        pytest.param(last(passed=False), News.SOME, NOON, Form.EVERYTHING, id="did not pass, and something changed"),
        pytest.param(last(rules="s"), News.NONE, NOON, Form.EVERYTHING, id="other settings or other checks"),
        pytest.param(last(), News.NONE, NOON + timedelta(hours=11, minutes=59), Form.NOTHING, id="the same UTC day"),
        pytest.param(last(), News.NONE, NOON + timedelta(hours=12), Form.EVERYTHING, id="the next UTC day"),
        pytest.param(last(whole_at=None), News.NONE, NOON, Form.EVERYTHING, id="never over everything"),
    ],
)
def test_what_a_check_looks_at(before, news, now, form):
    assert form_of(before, news, "r", now, has_changed_form=True) is form


def test_a_check_without_a_form_for_changes_looks_at_everything():
    assert form_of(last(), News.SOME, "r", NOON, has_changed_form=False) is Form.EVERYTHING


def checked(con, settings, run="run", now=NOON, only=None):
    """The results of all checks, or of one table's, by name."""
    ctx = BuildContext(settings, PLAN)
    found = [pair for table in tables() if only in (None, table.name) for pair in run_checks(con, ctx, table, run, now)]
    return {check.name: result for check, result in found}


def build(con, settings):
    ctx = BuildContext(settings, PLAN)
    check_settings(con, ctx, True)
    build_all(con, ctx)


def over(results):
    return {result.metadata["over"] for result in results.values()}


@pytest.fixture(scope="module", params=[0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def unchecked(request, tmp_path_factory):
    """One batch is checked; two more are built and published and, as after a kill, not checked."""
    dice = random.Random(40 + request.param)
    settings = settings_for(tmp_path_factory.mktemp("checking"), GTM_QUARANTINE__WARN_RATE="0.5")
    rows = with_copies(dice, random_events(dice, 120))
    with opened(settings.warehouse_path, settings) as con:
        land(settings, [*rows[:90], event("q0", START, **QUARANTINED)], "import-0")
        build(con, settings)
        assert all(result.passed for result in checked(con, settings).values())
        publish(con, settings)
        for number in (1, 2):
            late = [
                event(f"late{number}-{name}", START + (20 + number) * DAY + n, anonymous_id=f"late{number}", event_name=name)
                for n, name in enumerate(("page_viewed", "payment_completed"))
            ]  # fmt: skip
            more = [*rows[75 + 15 * number : 90 + 15 * number], *late, event(f"q{number}", START, **QUARANTINED)]
            land(settings, more, f"import-{number}")
            build(con, settings)
            publish(con, settings)
    return settings, dice


_PERSONS = "person_no IN (SELECT person_no FROM affected)"
_FILES = "split_part(file_key, '/', 2) IN ('import-1', 'import-2')"
_DAYS = f"CAST(make_timestamp(received_us) AS DATE) IN (SELECT ingest_date FROM meta.landing_files WHERE {_FILES})"
FAULTS = [
    ("staging.events", "unique_event_id", _DAYS, "INSERT INTO meta.events SELECT * FROM meta.events WHERE rowid = $row"),
    ("staging.events", "books_balance", _DAYS, "DELETE FROM meta.events WHERE rowid = $row"),
    ("staging.events", "staged_days_recount", _DAYS, "DELETE FROM meta.events WHERE rowid = $row"),
    ("staging.quarantine", "every_rejection_has_a_reason", _FILES, "UPDATE staging.quarantine SET reason_codes = '' WHERE rowid = $row"),
    ("core.identities", "every_event_has_a_person", _PERSONS, "UPDATE meta.events SET person_no = NULL WHERE rowid = $row"),
    ("core.identities", "every_event_has_a_person", _PERSONS, "UPDATE meta.events SET person_no = 999999 WHERE rowid = $row"),
    ("core.identities", "anonymous_id_has_one_owner", f"anonymous_id IS NOT NULL AND {_PERSONS}", "INSERT INTO core.identities SELECT * REPLACE ('other' AS user_id, -1 AS person_no) FROM core.identities WHERE rowid = $row"),
    ("core.sessions", "sessions_cover_events", _PERSONS, "UPDATE core.sessions SET n_events = n_events + 1 WHERE rowid = $row"),
    ("core.sessions", "sessions_cover_events", _PERSONS, "DELETE FROM core.sessions WHERE rowid = $row"),
    ("core.sessions", "sessions_do_not_overlap", _PERSONS, "INSERT INTO core.sessions SELECT * REPLACE (end_us + 1 AS end_us) FROM core.sessions WHERE rowid = $row"),
    ("core.conversions", "unique_conversion_id", _PERSONS, "INSERT INTO core.conversions SELECT * REPLACE (-1 AS person_no) FROM core.conversions WHERE rowid = $row"),
    ("core.conversions", "values_are_numbers", _PERSONS, "UPDATE core.conversions SET value_is_no_number = true WHERE rowid = $row"),
    ("core.conversions", "unique_values_count_once", _PERSONS, "INSERT INTO core.conversions SELECT * EXCLUDE (n) REPLACE (conversion_id || n AS conversion_id, 'same' AS unique_value) FROM core.conversions CROSS JOIN (VALUES ('1'), ('2')) v(n) WHERE rowid = $row"),
    ("core.conversions", "conversions_arrive_once", _PERSONS, "UPDATE core.conversions SET n_events = 2 WHERE rowid = $row"),
    ("core.conversions", "refunds_within_value", f"value > 0 AND {_PERSONS}", "UPDATE core.conversions SET refunded = value + 1 WHERE rowid = $row"),
    ("core.touchpoints", "touch_precedes_conversion", _PERSONS, "UPDATE core.touchpoints SET age_us = -1 WHERE rowid = $row"),
    ("marts.attribution_credits", "credit_conserves", _PERSONS, "UPDATE marts.attribution_credits SET credit = credit + 1e-6 WHERE rowid = $row"),
    ("marts.attribution_credits", "credit_conserves", _PERSONS, "UPDATE marts.attribution_credits SET conversion_id = 'w:none' WHERE rowid = $row"),
    ("marts.attribution_credits", "credit_conserves", _PERSONS, "DELETE FROM marts.attribution_credits WHERE rowid = $row"),
    ("marts.channel_attribution", "credit_reaches_the_days", "true", "UPDATE marts.channel_attribution SET conversions = conversions + 1 WHERE rowid = $row"),
    ("marts.channel_attribution", "spend_adds_up", "true", "UPDATE marts.channel_attribution SET spend = 1, spend_currency = 'EUR' WHERE rowid = $row"),
    ("marts.channel_attribution", "sums_are_finite", f"value > 0 AND {_PERSONS}", "UPDATE core.conversions SET value = 'infinity' WHERE rowid = $row"),
    ("marts.channel_attribution", "refunds_are_taken_off", "value > 0", "UPDATE marts.channel_attribution SET net_value = value - refunded - 1 WHERE rowid = $row"),
    ("marts.campaign_performance", "campaign_credit_reaches_the_days", "true", "DELETE FROM marts.campaign_performance WHERE rowid = $row"),
    ("marts.campaign_performance", "campaign_spend_adds_up", "true", "UPDATE marts.campaign_performance SET spend = 1, spend_currency = 'EUR' WHERE rowid = $row"),
    ("marts.daily", "days_cover_sessions_and_conversions", "sessions IS NOT NULL", "UPDATE marts.daily SET sessions = sessions + 1 WHERE rowid = $row"),
    ("marts.funnel", "funnel_is_monotonic", "stage_no > 1", "UPDATE marts.funnel SET persons = 999 WHERE rowid = $row"),
    ("marts.retention", "retained_within_cohort", "true", "UPDATE marts.retention SET retained = persons + 1 WHERE rowid = $row"),
]  # fmt: skip


def plant(con, dice, table, condition, fault):
    """Do harm to one row of those that changed; without a condition, to one of all."""
    read_from = {"INSERT": "FROM ", "DELETE": "FROM ", "UPDATE": "UPDATE "}[fault.split()[0]]
    source = fault.split(read_from)[1].split()[0]
    find_affected(con, check_step(table.table), *table.news)
    rows = con.execute(f"SELECT rowid FROM {source} WHERE {condition or 'true'} ORDER BY 1").fetchall()
    assert rows, f"no row of {source} changed"
    con.execute(fault.replace("$row", str(dice.choice(rows)[0])))
    con.execute("DROP TABLE temp.affected")


@pytest.fixture
def copy(unchecked, tmp_path):
    settings, dice = unchecked
    path = tmp_path / "warehouse.duckdb"
    shutil.copyfile(settings.warehouse_path, path)
    with opened(path, settings) as con:
        yield con, settings, dice


@pytest.mark.parametrize(("name", "check", "changed", "fault"), FAULTS)
def test_a_fault_in_what_changed_is_found(copy, name, check, changed, fault):
    con, settings, dice = copy
    plant(con, dice, table_of(name), changed, fault)
    result = checked(con, settings, only=name)[check]
    assert not result.passed
    declared = next(each for each in table_of(name).checks if each.name == check)
    assert result.metadata["over"] == ("everything" if declared.changed is None else "what changed")
    again = checked(con, settings, only=name)[check]
    assert not again.passed and again.metadata["over"] == "everything"


@pytest.mark.parametrize(("name", "check", "changed", "fault"), slow_but(4, *FAULTS))
def test_a_fault_anywhere_is_found_over_everything(copy, name, check, changed, fault):
    con, settings, dice = copy
    checked(con, settings, only=name)
    anywhere = {_PERSONS: None, _DAYS: None, _FILES: None}.get(changed, changed.replace(f" AND {_PERSONS}", ""))
    plant(con, dice, table_of(name), anywhere, fault)
    assert not checked(con, settings, only=name, now=NOON + timedelta(days=1))[check].passed


def test_what_changed_is_checked_once_and_then_nothing(copy):
    con, settings, _ = copy
    first = checked(con, settings, "run-2")
    assert all(result.passed for result in first.values())
    assert {name for name, result in first.items() if result.metadata["over"] == "nothing"} == {
        "spend_has_a_known_channel"
    }
    second = checked(con, settings, "run-3")
    assert over(second) == {"nothing"}
    assert second["unique_event_id"].description.startswith("nothing changed since run run-2 at 2026-03-01 12:00 UTC")
    assert con.execute("SELECT count(*) FROM meta.checks").fetchall() == [(len(all_checks()),)]
    assert over(checked(con, settings, now=NOON + timedelta(days=1))) == {"everything"}


def test_what_all_have_checked_is_forgotten(copy):
    """Ranges stay until the checks have followed them, and no longer."""
    con, settings, _ = copy
    assert con.execute("SELECT count(*) FROM meta.affected_ranges").fetchall()[0][0] > 0
    checked(con, settings)
    con.execute("DELETE FROM meta.state WHERE name = 'publish'")
    publish(con, settings)
    assert con.execute("SELECT count(*) FROM meta.affected_ranges").fetchall() == [(0,)]


def test_another_limit_looks_at_everything_again(copy):
    con, settings, _ = copy
    checked(con, settings)
    stricter = settings_for(settings.state_dir, GTM_QUARANTINE__WARN_RATE="0.001")
    assert not checked(con, stricter, only="staging.quarantine")["reject_rate_is_low"].passed


def test_settings_handed_on_as_json_are_the_same_rules(tmp_path):
    """A run of the UI reads its settings, one of the command line is handed them."""
    settings = settings_for(tmp_path, GTM_SESSIONS__TIMEOUT_MINUTES="30")
    again = msgspec.json.decode(
        msgspec.json.encode(settings, enc_hook=str), type=Settings, dec_hook=lambda kind, value: kind(value)
    )
    assert _rules(BuildContext(settings, PLAN)) == _rules(BuildContext(again, PLAN))
