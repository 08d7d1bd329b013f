"""Readers see what the working file holds, however the copy came about: written whole, or brought up to date."""

import os
import random

import pytest
from profiles import slow_but
from warehouse_cases import DAY, PLAN, START, event, land, random_events, settings_for, with_copies

from gtm_dagster.warehouse import publishing
from gtm_dagster.warehouse.affected import rebuild
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.identities import build_identities
from gtm_dagster.warehouse.core.sessions import build_sessions
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.publishing import Published, is_current, publish
from gtm_dagster.warehouse.schema import built
from gtm_dagster.warehouse.serving import query
from gtm_dagster.warehouse.staging.stage import stage
from gtm_dagster.warehouse.verify import compare_served, verify, verify_served


@pytest.fixture(autouse=True)
def never_cheaper_whole(monkeypatch):
    """A batch of a test changes most persons, and would be copied whole."""
    monkeypatch.setattr(publishing, "_MOST_CHANGED", 1e9)
    monkeypatch.setattr(publishing, "_MOST_GROWN", 1e9)


def run(settings, steps=99) -> Published:
    """The first so many steps of a build and publishing; the copy has to equal the working file at once."""
    ctx = BuildContext(settings, PLAN)
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, ctx, True)
        stage(con, ctx)
        for table in built()[:steps]:
            table.step(con, ctx)
        published = publish(con, settings)
        told = compare_served(con, settings)
        assert told.ok, told.first
    return published


def people(settings):
    return query(settings, "SELECT person_id, start_us FROM core.sessions ORDER BY ALL")[1]


@pytest.mark.parametrize(
    ("definition", "seed", "parts"),
    slow_but(1, ("ua", 0, 2), ("ua", 0, 5), ("ga4", 0, 5), ("ga4", 1, 5), ("tracker", 0, 5)),
)
def test_changes_taken_over_equal_the_working_file(tmp_path, definition, seed, parts):
    """Random batches with late logins and corrected copies; some runs end early, and what they owe comes later."""
    dice = random.Random(900 + seed * 3 + len(definition))
    settings = settings_for(tmp_path, GTM_SESSIONS__DEFINITION=definition)
    rows = with_copies(dice, random_events(dice, 90))
    land(settings, rows[:30], "import-first")
    assert run(settings).whole
    for part in range(parts):
        land(settings, rows[30 + part :: parts], f"import-{part}")
        assert not run(settings, dice.choice([0, 1, 2, 3, 4, 9, 9])).whole
    assert not run(settings).whole
    result = verify(settings, PLAN)
    assert result.ok, result.first


@pytest.mark.slow
def test_a_login_that_moves_no_event_still_gives_the_identity_to_readers(tmp_path):
    """The identity's owner changes though neither person has an event to rebuild."""
    settings = settings_for(tmp_path)
    named = {"anonymous_id": "a", "device_type": "api", "received_us": START + 9 * DAY}
    land(settings, [event("x", START, user_id="v", **named), event("y", START + 1, user_id="u", **named)], "import-1")
    run(settings)
    corrected = event("x", START, user_id="v", anonymous_id=None, device_type="api", received_us=START + 8 * DAY)
    land(settings, [corrected], "import-2")
    assert not run(settings).whole
    assert query(settings, "SELECT anonymous_id, person_id FROM core.identities")[1] == [("a", "u")]


@pytest.fixture
def published(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x", event_name="signup_completed")], "import-1")
    assert run(settings).whole
    land(settings, [event("b", START + DAY, anonymous_id="x")], "import-2")
    return settings


def lost(settings, monkeypatch):
    settings.serving_path.unlink()


def restored(settings, monkeypatch):
    held = settings.serving_path.read_bytes()
    settings.serving_path.unlink()
    settings.serving_path.write_bytes(held)


def written_by_another(settings, monkeypatch):
    with opened(settings.serving_path, settings) as con:
        con.execute("DELETE FROM core.sessions")


def unreadable(settings, monkeypatch):
    found = settings.serving_path.stat()
    settings.serving_path.write_bytes(b"x" * found.st_size)
    os.utime(settings.serving_path, ns=(found.st_atime_ns, found.st_mtime_ns))


def working_file_written_by_hand(settings, monkeypatch):
    with opened(settings.warehouse_path, settings) as con:
        con.execute("INSERT INTO core.conversions SELECT * REPLACE ('by hand' AS conversion_id) FROM core.conversions")


def grown(settings, monkeypatch):
    monkeypatch.setattr(publishing, "_MOST_GROWN", 0.5)


def mostly_changed(settings, monkeypatch):
    monkeypatch.setattr(publishing, "_MOST_CHANGED", 0.3)


def a_table_made_whole(settings, monkeypatch):
    with opened(settings.warehouse_path, settings) as con:
        build_identities(con, BuildContext(settings, PLAN))
        rebuild(con, "attribution_credits")


@pytest.mark.parametrize(
    ("happened", "why"),
    [
        (lost, "not the one published last"),
        *slow_but(0, (restored, "not the one published last"), (written_by_another, "not the one published last")),
        (unreadable, "not a valid DuckDB database file"),
        (working_file_written_by_hand, "not hold as many rows"),
        *slow_but(
            0, (grown, "had grown"), (mostly_changed, "most persons"), (a_table_made_whole, "a table was built whole")
        ),
    ],
)
def test_a_copy_that_cannot_be_built_upon_is_written_whole(published, monkeypatch, happened, why):
    happened(published, monkeypatch)
    told = run(published)
    assert told.whole and why in told.why_whole
    assert people(published) == [("x", START), ("x", START + DAY)]


@pytest.mark.slow
def test_a_changed_setting_or_a_new_window_is_written_whole(published):
    run(published)
    for environ in (
        {"GTM_ATTRIBUTION__MIN_HISTORY_DAYS": "14"},  # only fewer models are computed
        {"GTM_SESSIONS__TIMEOUT_MINUTES": "10"},
        {"GTM_SESSIONS__TIMEOUT_MINUTES": "10", "GTM_FUNNEL__STEPS": '["page_viewed", "signup_completed"]'},
        {"GTM_WAREHOUSE__STORAGE_COMPATIBILITY_VERSION": "latest"},
    ):
        changed = settings_for(published.state_dir, **environ)
        assert run(changed).whole, environ
        assert not run(changed).whole


def test_what_a_killed_publisher_had_not_noted_is_written_whole(published, monkeypatch):
    """Killed between the rename and the note of it: the file is not the one known."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "note_published", killed)
        run(published)
    assert people(published) == [("x", START), ("x", START + DAY)]
    assert run(published).whole
    assert not run(published).whole


@pytest.mark.slow
def test_a_table_that_is_gone_goes_from_the_copy_and_a_new_one_comes(published):
    with opened(published.warehouse_path, published) as con:
        con.execute("CREATE TABLE marts.mine AS SELECT 1 AS a")
    assert not run(published).whole
    assert query(published, "SELECT a FROM marts.mine")[1] == [(1,)]
    with opened(published.warehouse_path, published) as con:
        con.execute("DROP TABLE marts.mine")
        con.execute("CREATE TABLE marts.other AS SELECT 2 AS b")
    assert not run(published).whole
    tables = query(published, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts'")[1]
    assert ("other",) in tables and ("mine",) not in tables


@pytest.mark.slow
def test_the_quarantine_of_later_batches_is_taken_over_without_its_originals(published):
    bad = {"verdict": "quarantined", "reason_codes": "unknown_event", "errors": "[]", "raw": "{}", "sealed": b"s"}
    run(published)
    land(published, [event("q", START, **bad)], "import-3")
    assert not run(published).whole
    columns, rows = query(published, "SELECT * FROM staging.quarantine")
    assert "sealed" not in columns and [row[1] for row in rows] == ["q"]


def test_current_is_a_copy_nothing_has_changed_behind(published):
    with opened(published.warehouse_path, published) as con:
        assert is_current(con, published)
    ctx = BuildContext(published, PLAN)
    with opened(published.warehouse_path, published) as con:
        stage(con, ctx)
        build_identities(con, ctx)
        assert not is_current(con, published)
        publish(con, published)
        assert is_current(con, published)
        build_sessions(con, ctx)
        assert not is_current(con, published)


def test_a_copy_that_says_something_else_is_found(published):
    run(published)
    assert verify_served(published).ok
    with opened(published.warehouse_path, published) as con:
        con.execute("UPDATE core.sessions SET channel = 'by hand' WHERE start_us = ?", [START])
    told = verify_served(published)
    assert {table: n for table, n in told.differences.items() if n} == {"core.sessions": 2}
    assert told.first.startswith("core.sessions: ('only serving', 'x:")
    published.serving_path.touch()
    assert verify_served(published) is None
