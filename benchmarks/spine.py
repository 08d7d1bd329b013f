"""What each step of the pipeline costs here, beside the floor: `make bench`, or `python -m benchmarks.spine --events 1e6`.

The floor is the unavoidable work on the same rows in the same run: scan, hash of the ids, sort by person and time,
write. Prints a markdown table; wall and CPU seconds, peak memory of the process.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import duckdb
import msgspec
from gtm_dagster.importing import import_file

from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import load_settings
from gtm_dagster.simulator import simulate, write
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse import build
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.serving import publish


class Clock:
    """Collects (step, wall, CPU) in seconds."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []

    def measure(self, name, work, *arguments):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work(*arguments)
        self.rows.append((name, time.perf_counter() - wall, time.process_time() - cpu))
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=float, default=200_000)
    parser.add_argument("--days", type=int, default=31)
    options = parser.parse_args()
    events = int(options.events)
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as folder:
        root = Path(folder)
        settings = load_settings(None, {"GTM_STATE_DIR": str(root / "state")})
        plan, key = load_plan(None), bytes(32)
        traffic = clock.measure("simulate", simulate, events, options.days, 7)
        files = write(traffic, root / "traffic")
        clock.measure(
            "import",
            lambda: import_file(
                files[0],
                settings=settings,
                plan=plan,
                pseudonymize=Pseudonymizer(key),
                sealer=Sealer(key),
                write_key="bench",
            ),
        )
        ctx = build.BuildContext(settings, plan)
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        with opened(settings.warehouse_path, settings) as con:
            build.check_settings(con, ctx, True)
            clock.measure("stage", build.stage, con, ctx)
            for step in build.STEPS_IN_ORDER:
                clock.measure(step.__name__, step, con, ctx)
            clock.measure("publish", publish, con, settings)
        clock.measure("floor: scan, hash, sort, write", floor, settings, root)
    print(
        f"{events:,} events, {options.days} days, {os.cpu_count()} cores, DuckDB {duckdb.__version__}, msgspec {msgspec.__version__}\n"
    )
    print("| step | wall s | CPU s |\n|---|---|---|")
    for name, wall, cpu in clock.rows:
        print(f"| {name} | {wall:.2f} | {cpu:.2f} |")
    print(f"\npeak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def floor(settings, root: Path) -> None:
    """The same landed rows: read them, hash the ids, sort by person and time, write."""
    source = f"read_parquet('{settings.landing_dir}/ingest_date=*/*.parquet')"
    with opened(":memory:", settings) as con:
        con.execute(
            f"SELECT count(*) FROM (SELECT hash(event_id) h FROM {source} GROUP BY 1 HAVING count(*) > 1)"
        ).fetchall()
        con.execute(
            f"COPY (SELECT * EXCLUDE (errors, raw, sealed) FROM {source} ORDER BY coalesce(user_id, anonymous_id), event_us) TO '{root}/floor.parquet'"
        )


if __name__ == "__main__":
    main()
