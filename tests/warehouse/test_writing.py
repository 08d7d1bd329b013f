"""One writer, batches that are whole or absent, the contract before the write, and the serving copy."""

import json
import os
import signal
import subprocess
import sys

import pytest
from warehouse_cases import PLAN, START, event, land, landing_table, refresh, rows_of, settings_for

from gtm_dagster.taxonomy.landing_schema import ContractBreak
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import SettingsChangedError
from gtm_dagster.warehouse.landing import Landing, log_name
from gtm_dagster.warehouse.serving import QueryError, query
from gtm_dagster.warehouse.state import set_state
from gtm_dagster.warehouse.verify import verify
from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

LOG_ID = "0123456789abcdef"
HOLD = """
import sys
from gtm_dagster.warehouse.writer_lock import WarehouseLock
from pathlib import Path
with WarehouseLock(Path(sys.argv[1])).hold("a test", 1):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_scenario_22_the_lock_names_its_holder_and_dies_with_it(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(LockHeldError, match=rf"pid {holder.pid} \(a test\)"):
            with WarehouseLock(tmp_path).hold("us", timeout_s=0.2):
                pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with WarehouseLock(tmp_path).hold("us", timeout_s=5):
            assert "us" in WarehouseLock(tmp_path).holder()
    finally:
        holder.kill()
        holder.communicate()


def test_a_batch_without_its_manifest_does_not_count(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], log_name(LOG_ID, 1, 1))
    (settings.landing_dir / "_batches" / f"{log_name(LOG_ID, 1, 1)}.json").unlink()
    assert Landing(settings.landing_dir).files() == []
    assert Landing(settings.landing_dir).log_positions() == []
    land(settings, [event("a", START, anonymous_id="x"), event("b", START, anonymous_id="x")], log_name(LOG_ID, 1, 2))
    assert refresh(settings).clean == 2


def test_landing_the_same_batch_twice_is_a_no_op(tmp_path):
    landing = Landing(tmp_path)
    table = landing_table([event("a", START, anonymous_id="x")])
    first = landing.write(table, "import-1")
    before = first[0].stat().st_mtime_ns
    assert landing.write(table, "import-1") == first
    assert first[0].stat().st_mtime_ns == before


def test_a_row_count_that_is_not_the_writers_stops_before_the_write(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], "import-1")
    refresh(settings)
    land(settings, [event("b", START, anonymous_id="x")], "import-2")
    manifest = settings.landing_dir / "_batches" / "import-2.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "rows": {day: rows + 1 for day, rows in told["rows"].items()}}))
    with pytest.raises(ContractBreak, match="its manifest says 2 rows, the file holds 1"):
        refresh(settings)
    assert rows_of(settings, "SELECT count(*) FROM staging.events") == [(1,)]


def test_an_event_the_plan_refuses_is_quarantined_with_its_reason(tmp_path):
    settings = settings_for(tmp_path)
    bad = event(
        "bad", START, anonymous_id="x", event_name="payment_completed", properties='{"amount": -1, "currency": "USD"}'
    )
    land(settings, [bad, event("ok", START, anonymous_id="x")], "import-1")
    staged = refresh(settings)
    assert (staged.clean, staged.quarantined) == (1, 1)
    [(event_id, codes, errors)] = rows_of(settings, "SELECT event_id, reason_codes, errors FROM staging.quarantine")
    assert event_id == "bad"
    assert codes
    assert "amount" in errors


def test_changed_settings_fail_a_plain_run_and_rebuild_when_allowed(tmp_path):
    settings = settings_for(tmp_path)
    land(
        settings,
        [event("a", START, anonymous_id="x"), event("b", START + 20 * 60_000_000, anonymous_id="x")],
        "import-1",
    )
    refresh(settings)
    shorter = settings_for(tmp_path, GTM_SESSIONS__TIMEOUT_MINUTES="10")
    with pytest.raises(SettingsChangedError, match=r"sessions\.timeout_minutes: built with 30, now 10"):
        refresh(shorter, allow_rebuild=False)
    refresh(shorter)
    assert rows_of(shorter, "SELECT count(*) FROM core.sessions") == [(2,)]
    refresh(settings)
    assert rows_of(settings, "SELECT count(*) FROM core.sessions") == [(1,)]


def test_readers_of_the_serving_copy_get_answers_or_the_way_out(tmp_path):
    settings = settings_for(tmp_path)
    with pytest.raises(QueryError, match="gtm refresh"):
        query(settings, "SELECT 1")
    land(settings, [event("a", START, anonymous_id="x")], "import-1")
    refresh(settings)
    assert query(settings, "SELECT count(*) AS n FROM core.sessions") == (["n"], [(1,)])
    with pytest.raises(QueryError, match="--work"):
        query(settings, "SELECT * FROM staging.events")
    with pytest.raises(QueryError, match="read-only"):
        query(settings, "DELETE FROM core.sessions")
    assert query(settings, "SELECT count(*) AS n FROM staging.events", work=True)[1] == [(1,)]


def test_the_serving_copy_never_holds_sealed_originals(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], "import-1")
    refresh(settings)
    columns = query(settings, "SELECT * FROM staging.quarantine")[0]
    assert "sealed" not in columns
    assert "reason_codes" in columns


def test_full_refresh_equals_the_incremental_one(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], "import-1")
    refresh(settings)
    before = rows_of(settings, "SELECT * FROM core.sessions")
    refresh(settings, full=True)
    assert rows_of(settings, "SELECT * FROM core.sessions") == before
    assert verify(settings, PLAN).ok


def test_a_working_file_of_an_older_layout_is_refused_or_rebuilt_from_landing(tmp_path):
    """Before layout 3 `staging.events` was a table, and the tables of core held no numbers."""
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x"), event("b", START + 1, user_id="u", anonymous_id="x")], "one")
    refresh(settings)
    with opened(settings.warehouse_path, settings) as con:
        con.execute("CREATE TABLE staging.old AS SELECT * FROM staging.events LIMIT 1")
        con.execute("DROP VIEW staging.events")
        con.execute("ALTER TABLE staging.old RENAME TO events")
        con.execute("DROP TABLE meta.ids")
        con.execute("DROP TABLE meta.events")
        con.execute("ALTER TABLE core.sessions DROP COLUMN person_no")
        set_state(con, "fingerprints", json.dumps({"staging": {"layout": "2", "report_timezone": "UTC"}}))
    with pytest.raises(SettingsChangedError, match="format: built with 2, now"):
        refresh(settings, allow_rebuild=False)
    refresh(settings)
    assert rows_of(settings, "SELECT event_id, person_id FROM staging.events ORDER BY 1") == [("a", "u"), ("b", "u")]
    assert rows_of(settings, "SELECT person_id, n_events FROM core.sessions") == [("u", 2)]
