"""What each step of the pipeline costs: simulate, import, first refresh, a day more, a full rebuild.

`python -m benchmarks.spine --events 1000000`; the state directory is a temporary one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gtm_dagster.importing import import_file
from gtm_dagster.orchestration.refresh import run_refresh
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import load_settings
from gtm_dagster.simulator import simulate
from gtm_dagster.taxonomy import load_plan


def timed(title: str, rows: int, work: Callable[[], Any]) -> Any:
    """Run `work`, print its seconds and rows per second, return its result."""
    begin = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begin
    print(f"{title:<34}{seconds:>9.2f} s{rows / seconds:>14,.0f} rows/s", flush=True)
    return result


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--days", type=int, default=60)
    told = options.parse_args()
    print(f"{told.events:,} events of {told.days} days, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as folder:
        settings = load_settings(None, {"GTM_STATE_DIR": f"{folder}/state", "GTM_ATTRIBUTION__MIN_HISTORY_DAYS": "0"})
        plan = load_plan()
        key = load_or_create_key(settings.keys_dir)
        end = datetime(2026, 1, 1, tzinfo=UTC)
        traffic = timed("simulate", told.events, lambda: simulate(told.events, told.days, 7, end))
        last = told.events // told.days
        parts = {
            "history": traffic.events.slice(0, told.events - last),
            "day": traffic.events.slice(told.events - last),
        }

        def bring(name: str) -> None:
            file = Path(folder) / f"{name}.parquet"
            pq.write_table(parts[name], file)
            import_file(file, settings=settings, plan=plan, pseudonymize=Pseudonymizer(key), sealer=Sealer(key), write_key="bench", mapping=None)  # fmt: skip

        def refresh(full: bool = False) -> None:
            result = run_refresh(settings, full=full)
            assert result.ok, result.error or [c for c in result.checks if not c.passed]

        timed("import the history", told.events - last, lambda: bring("history"))
        timed("first refresh", told.events - last, refresh)
        timed("import one day", last, lambda: bring("day"))
        timed("refresh with one day more", last, refresh)
        timed("refresh with nothing new", 1, refresh)
        timed("full rebuild", told.events, lambda: refresh(full=True))


if __name__ == "__main__":
    main()
