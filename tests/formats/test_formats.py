"""A state directory as version 0.1.0 wrote it: this version reads all of it, and says of it what that version said."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest
from eventlog_cases import OLD_STATEMENTS

from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.eventlog import Position, open_log
from gtm_dagster.gate import kill_list
from gtm_dagster.privacy.pseudonyms import load_or_create_key
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.tracking.spool import Spool
from gtm_dagster.warehouse.build import all_checks, build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log, waiting_offsets
from gtm_dagster.warehouse.staging.books import books

WRITTEN = Path(__file__).parent / "unversioned"
EXPECTED = json.loads((WRITTEN / "expected.json").read_text())
LANDED, NEWEST = 979, 1067


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with tarfile.open(WRITTEN / "state.tar.xz") as archive:
        archive.extractall(tmp_path / "state", filter="data")
    return load_settings(WRITTEN / "gtm.toml", {"GTM_STATE_DIR": str(tmp_path / "state")})


def test_the_log_opens_with_every_frame_and_gets_an_identity(settings):
    with open_log(settings) as log:
        table, last = log.read_arrow(0, 1_000_000)
        waiting, _ = log.read_arrow(LANDED, 1_000_000)
        assert (log.first_seq(), log.last_seq(), last) == (1, NEWEST, NEWEST)
        assert table["row_no"].to_pylist() == list(range(1, NEWEST + 1))
        assert waiting.num_rows == NEWEST - LANDED
        assert table.slice(LANDED).equals(waiting)
        counts = [n for day in log.edge_counts().values() for status, n in day.items() if status not in ("duplicate", "conflict")]  # fmt: skip
        assert sum(counts) == NEWEST
        assert set(table["verdict"].to_pylist()) == {"accepted", "quarantined", "suppressed"}
        assert table["sealed"].null_count == NEWEST - table["verdict"].to_pylist().count("quarantined")
        assert log.resume(Position("", LANDED), from_start=True) == LANDED


def test_an_event_that_is_sent_again_after_the_upgrade_is_a_duplicate(settings):
    with open_log(settings) as log:
        records, _ = log.read_records(0, 1_000_000)
        accepted = [each for each in records if each.verdict == "accepted"]
        again = log.append(accepted)
        assert set(again.statuses) == {"duplicate"}, "and no conflict"
        assert log.last_seq() == NEWEST


def test_the_landing_zone_is_listed_and_goes_on_behind_its_last_offset(settings):
    landing = Landing(settings.landing_dir)
    files = landing.files()
    assert [position.seq for position in landing.log_positions()] == [LANDED]
    assert all(file.footer_rows() == file.rows for file in files)
    assert sum(file.rows for file in files) == sum(row["raw"] for row in EXPECTED["books"]) - (NEWEST - LANDED)
    assert waiting_offsets(settings)[:2] == (LANDED, NEWEST)
    pulled = land_log(BuildContext(settings, plan=None))
    assert (pulled.rows, pulled.first_seq, pulled.last_seq) == (NEWEST - LANDED, LANDED + 1, NEWEST)
    with open_log(settings) as log:
        assert [(position.log_id, position.seq) for position in landing.log_positions()] == [("", LANDED), (log.log_id, NEWEST)]  # fmt: skip
    assert land_log(BuildContext(settings, plan=None)).rows == 0


@pytest.mark.parametrize("full", [False, True], ids=["on the working file of before", "from the landing files alone"])
def test_a_refresh_says_what_the_version_before_it_did(settings, full):
    ctx = BuildContext(settings, load_plan(settings.plan_file), full)
    land_log(ctx)
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, ctx, True)
        build_all(con, ctx)
        for table, check in all_checks():
            if check.severity == "ERROR":
                assert check.run(con, ctx).passed, (table, check.name)
        rows = [
            {name: getattr(row, name) for name in EXPECTED["books"][0]} | {"ingest_date": str(row.ingest_date)}
            for row in books(con)
        ]
        assert sorted(rows, key=lambda row: row["ingest_date"]) == EXPECTED["books"]
        events = con.execute(
            "SELECT count(*) AS n, count(DISTINCT person_id) AS persons, min(epoch_us(event_time)) AS first_us, max(epoch_us(event_time)) AS last_us FROM staging.events"
        ).fetch_df().to_dict("records")  # fmt: skip
        assert events == EXPECTED["events"]
        quarantine = con.execute(
            "SELECT reason_codes, count(*) FROM staging.quarantine GROUP BY 1 ORDER BY 1"
        ).fetchall()
        assert quarantine == [(row["reason_codes"], row["n"]) for row in EXPECTED["quarantine"]]
        conversions = con.execute(
            "SELECT conversion_type, currency, count(*), sum(value) FROM core.conversions GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
        assert conversions == [(row["conversion_type"], row["currency"], row["n"], row["v"]) for row in EXPECTED["conversions"]]  # fmt: skip


def test_the_small_files_are_read_as_they_are(settings):
    assert [key.name for key in KeyStore(settings.keys_dir).list()] == ["site"]
    assert len(load_or_create_key(settings.keys_dir)) == 32
    assert set(kill_list.read(settings.state_dir / "killed.json")) == {"old-banner"}
    spool = Spool(settings.state_dir / "spool.ndjson")
    assert len(spool.load()) == 3
    spool.close()


def test_the_version_of_before_is_refused_by_what_this_one_wrote(settings):
    """Version 0.1.0 executes these statements when it opens the log, whichever command it runs."""
    land_log(BuildContext(settings, plan=None))
    con = sqlite3.connect(settings.log_path, isolation_level=None)
    with pytest.raises(sqlite3.Error, match=r"^written by a newer gtm-dagster; install that version$"):
        for statement in OLD_STATEMENTS:
            con.execute(statement)
    con.close()
