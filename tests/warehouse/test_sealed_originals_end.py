"""A sealed original ends everywhere when `quarantine.days` are over, and never lies beside the rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from warehouse_cases import DAY, PLAN, START, event, landing_table, refresh, settings_for

from gtm_dagster.admission.single_event import Judge
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import NoSeal, Sealer, sealer_for
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing import Landing, log_name
from gtm_dagster.warehouse.landing.sealed_originals import first_kept_day
from gtm_dagster.warehouse.landing.upkeep import keep_up
from gtm_dagster.warehouse.quarantine_replay import replay_quarantine
from gtm_dagster.warehouse.verify import verify

FIRST_DAY = datetime(2026, 1, 31, 12, tzinfo=UTC)
MARKER = b"the original of a refused event, sealed"


def refused(event_id: str, received_us: int = START + 30 * DAY) -> dict:
    columns = {"verdict": "quarantined", "reason_codes": "type", "errors": "[]", "raw": "{}", "event_us": None}
    return {**event(event_id, START, received_us=received_us), **columns, "sealed": MARKER, "properties": None}


def holders(settings: Settings) -> list[str]:
    """Files of the state directory in which the marker stands."""
    files = sorted(path for path in settings.state_dir.rglob("*") if path.is_file())
    return [str(path.relative_to(settings.state_dir)) for path in files if MARKER in path.read_bytes()]


def write_old(settings: Settings, rows: list[dict], name: str) -> None:
    """A batch as earlier versions wrote it, with the originals beside the rows."""
    folder = settings.landing_dir / "ingest_date=2026-01-31"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(landing_table(rows), folder / f"{name}.parquet", use_dictionary=False, compression="none")
    (settings.landing_dir / "_batches").mkdir(exist_ok=True)
    manifest = {"name": name, "format": 1, "days": {"2026-01-31": len(rows)}}
    (settings.landing_dir / "_batches" / f"{name}.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("days", "later", "is_kept"),
    [(30, 0, True), (30, 30, True), (30, 31, False), (1, 1, True), (1, 2, False), (0, 0, False)],
    ids=["at once", "on the last day", "a day later", "one day", "one day is over", "none is kept"],
)
def test_an_original_is_in_one_file_until_its_day_is_over(tmp_path: Path, days: int, later: int, is_kept: bool) -> None:
    settings = settings_for(tmp_path, GTM_QUARANTINE__DAYS=str(days))
    rows = [refused("a"), event("b", START, user_id="u", received_us=START + 30 * DAY)]
    Landing(settings.landing_dir).write(landing_table(rows), "import-a")
    Landing(settings.landing_dir).write(landing_table([refused("c")]), log_name("0" * 16, 1, 1))
    refresh(settings)
    assert all(name.startswith("landing/sealed/2026-01-31/") for name in holders(settings)) and holders(settings)
    keep_up(settings, FIRST_DAY + timedelta(days=later))
    assert bool(holders(settings)) == is_kept
    assert refresh(settings).read == 0 and verify(settings, PLAN).ok


@pytest.mark.parametrize(
    ("days", "expected"),
    [(30, "2026-01-01"), (1, "2026-01-30"), (0, "2026-02-01")],
    ids=["a month", "a day", "none is kept"],
)
def test_the_first_day_that_is_kept(days: int, expected: str) -> None:
    assert first_kept_day(days, FIRST_DAY).isoformat() == expected


def test_a_withdrawn_imports_originals_end_as_the_others(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    Landing(settings.landing_dir).write(landing_table([refused("a")]), "import-a")
    Landing(settings.landing_dir).withdraw("import-a", by="me", reason="wrong")
    assert holders(settings) == ["landing/sealed/2026-01-31/import-a.parquet"]
    keep_up(settings, FIRST_DAY + timedelta(days=31))
    assert holders(settings) == []


@pytest.mark.parametrize("later", [2, 31], ids=["kept by itself from then on", "over"])
def test_files_of_earlier_versions_are_written_again_without_originals(tmp_path: Path, later: int) -> None:
    settings = settings_for(tmp_path)
    write_old(settings, [refused("a"), event("b", START, received_us=START + 30 * DAY, user_id="u")], "import-a")
    write_old(settings, [refused("c")], "log-000000000000001-000000000000001")
    write_old(settings, [refused("d")], "log-000000000000002-000000000000002")
    refresh(settings)
    done = keep_up(settings, FIRST_DAY + timedelta(days=later))
    assert (done.compacted, done.unsealed) == (2, 1)
    sealed = ["import-a", "log-000000000000001-000000000000002"] if later == 2 else []
    assert holders(settings) == [f"landing/sealed/2026-01-31/{name}.parquet" for name in sealed]
    assert refresh(settings).read == 0 and verify(settings, PLAN).ok


def test_a_replay_says_which_originals_have_ended(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, GTM_QUARANTINE__DAYS="10000")
    sealer = Sealer(b"k" * 32)
    now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
    rows = [refused("old"), {**refused("damaged", now_us)}, {**refused("none", now_us), "sealed": None}]
    Landing(settings.landing_dir).write(landing_table(rows), "import-a")
    settings = settings_for(tmp_path)
    keep_up(settings)
    judge = Judge(PLAN, Pseudonymizer(b"k" * 32), sealer, 65_536, OFF)
    result = replay_quarantine(settings, judge, sealer, by="ann")
    assert (result.rows, result.ended, result.unsealed, result.unopened) == (3, 1, 1, 1)


def test_no_door_seals_when_nothing_is_kept(tmp_path: Path) -> None:
    assert isinstance(sealer_for(0, b"k" * 32), NoSeal)
    judge = Judge(PLAN, Pseudonymizer(b"k" * 32), sealer_for(0, b"k" * 32), 65_536, OFF)
    [judged] = judge([b'{"event_name": "nope"}'], write_key="w", received_us=START)
    assert judged.record.verdict == "quarantined" and judged.record.sealed is None
