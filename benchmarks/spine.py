"""What each step of the pipeline costs: simulate, import, build, one day more, a full rebuild, and the limit beside it.

`python -m benchmarks.spine --events 1000000 [--days 30] [--bots 3] [--copies 10] [--limit] [--peers] [--memory 2GB] [--verify]`
`python -m benchmarks.spine --events 1000000 --frames`: credit by the warehouse against `attribute()` on a frame of paths.
Every step runs in a process of its own; the state directory is a temporary one. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.measuring import Cost, Meter, machine, run_apart, table

MODELS = ("first_touch", "last_touch", "linear", "position_based", "time_decay", "inverse_age", "last_non_direct")
"""Seven models, of the kinds that peers have and the two that look at channel and age; the figures of docs are of these."""
WINDOWS = [{"model": model, "lookback_hours": 720} for model in MODELS]
PACKAGES = ("duckdb", "dagster", "pandas", "pandera", "pyarrow")
SLOW_PEERS = {"pandas_naive": 1_000_000}
"""Most events a peer is asked to work on."""
_CHUNK = 1_000_000


def environ_of(folder: Path) -> dict[str, str]:
    """The benchmark's settings as variables: its state directory, seven models, 30 days of lookback, no history gate."""
    return {
        "GTM_STATE_DIR": str(folder / "state"),
        "GTM_ATTRIBUTION__MIN_HISTORY_DAYS": "0",
        "GTM_ATTRIBUTION__WINDOWS": json.dumps(WINDOWS),
        **{name: value for name, value in os.environ.items() if name.startswith("GTM_WAREHOUSE__")},
    }


def settings_of(folder: Path) -> Any:
    """The settings of `environ_of`."""
    from gtm_dagster.settings import load_settings

    return load_settings(None, environ_of(folder))


def step_simulate(folder: Path, meter: Meter, events: int, days: int, bots: int) -> None:
    """Events of `days` days, the last two days apart; `bots` persons get 1 % of the events each, on top of their own."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gtm_dagster.simulator import simulate

    traffic = meter.work("simulate", lambda: simulate(events, days, 7, datetime(2026, 1, 1, tzinfo=UTC)).events, events)
    if bots:
        place = traffic.schema.get_field_index("anonymous_id")
        dice = np.random.default_rng(7).integers(0, 100, traffic.num_rows)
        ids = traffic.column(place).to_numpy(zero_copy_only=False).copy()
        users = traffic.column("user_id").to_numpy(zero_copy_only=False).copy()
        for bot in range(bots):
            ids[dice == bot], users[dice == bot] = f"bot-{bot}", None
        traffic = traffic.set_column(place, "anonymous_id", pa.array(ids, pa.string()))
        traffic = traffic.set_column(traffic.schema.get_field_index("user_id"), "user_id", pa.array(users, pa.string()))
    day = events // days
    marks = [*range(0, events - 2 * day, _CHUNK), events - 2 * day, events - day, events]
    for number, (start, end) in enumerate(pairwise(marks)):
        name = {2 * day: "day-1", day: "day-2"}.get(events - start, f"history-{number:03d}")
        pq.write_table(traffic.slice(start, end - start), folder / f"{name}.parquet")


def step_import(folder: Path, meter: Meter, prefix: str) -> None:
    """Import the files whose name begins with `prefix`."""
    import pyarrow.parquet as pq

    from gtm_dagster.importing import import_file
    from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
    from gtm_dagster.privacy.sealing import Sealer
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.warehouse.landing import Landing

    settings, plan = settings_of(folder), load_plan()
    key = load_or_create_key(settings.keys_dir)
    files = sorted(folder.glob(f"{prefix}*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    with meter.measured(f"import {prefix}: validate, pseudonyms, land", rows):
        for file in files:
            import_file(file, landing=Landing(settings.landing_dir), plan=plan, pseudonymize=Pseudonymizer(key), sealer=Sealer(key), write_key="bench", mapping=None)  # fmt: skip


def step_copy(folder: Path, meter: Meter, copies: int) -> None:
    """Land the history again and again under other persons and event ids: more events than memory could simulate."""
    import duckdb

    from gtm_dagster.warehouse.landing import Landing

    landing = Landing(settings_of(folder).landing_dir)
    files = landing.files()
    with meter.measured(f"land {copies - 1} copies of the history", (copies - 1) * sum(file.rows for file in files)):
        with duckdb.connect() as con:
            for number in range(1, copies):
                for name in sorted({file.name for file in files}):
                    paths = [str(file.path) for file in files if file.name == name]
                    others = ", ".join(
                        f"{column} || '-{number}' AS {column}" for column in ("event_id", "user_id", "anonymous_id")
                    )
                    rows = con.sql(
                        f"SELECT * REPLACE ({others}) FROM read_parquet({paths!r}, hive_partitioning = false)"
                    )
                    landing.write(rows.to_arrow_table(), f"copy-{number}-{name}")


def step_build(folder: Path, meter: Meter, title: str, fresh: bool) -> None:
    """The library's steps without Dagster; then its checks and the serving copy, each measured apart."""
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.warehouse.build import all_checks
    from gtm_dagster.warehouse.build_context import BuildContext
    from gtm_dagster.warehouse.engine import opened
    from gtm_dagster.warehouse.fingerprints import check_settings
    from gtm_dagster.warehouse.publishing import publish
    from gtm_dagster.warehouse.schema import built
    from gtm_dagster.warehouse.staging.stage import stage

    settings = settings_of(folder)
    if fresh:
        for path in (settings.warehouse_path, settings.warehouse_path.with_name("warehouse.duckdb.wal")):
            path.unlink(missing_ok=True)
    ctx = BuildContext(settings, load_plan())
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, ctx, allow_rebuild=True)
        with meter.measured(f"{title}: pipeline, landed files to marts") as told:
            inner = Meter()
            staged = inner.work("stage", lambda: stage(con, ctx))
            for table in built():
                inner.work(table.table, lambda step=table.step: step(con, ctx))
            inner.work("checkpoint", lambda: con.execute("CHECKPOINT"))
            told.append(f"{staged.read:,} rows read")
            told.append("CPU " + ", ".join(f"{cost.title} {cost.cpu:.2f}" for cost in inner.costs))
        with meter.measured(f"{title}: checks"):
            results = [check.run(con, ctx) for _, check in all_checks() if check.severity == "ERROR"]
        assert all(result.passed for result in results), [r.description for r in results if not r.passed]
        with meter.measured(f"{title}: serving copy"):
            publish(con, settings)
            con.execute("CHECKPOINT")


def step_refresh(folder: Path, meter: Meter, title: str) -> None:
    """`gtm refresh` in process: the Dagster job with checks and publishing."""
    from gtm_dagster.definitions import build_defs
    from gtm_dagster.orchestration.refresh_run import run_refresh

    for name in (title, "the same again, in the same process"):
        result = meter.work(
            f"{name}: refresh by Dagster, with checks and serving copy",
            lambda: run_refresh(settings_of(folder), build_defs),
        )
        assert result.ok, result.error or [check for check in result.checks if not check.passed]


def step_verify(folder: Path, meter: Meter) -> None:
    """The comparisons behind `gtm doctor --verify`."""
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.warehouse.verify import verify, verify_served

    with meter.measured("doctor --verify") as told:
        rebuilt = verify(settings_of(folder), load_plan())
        copy = verify_served(settings_of(folder))
        for result in (rebuilt, copy):
            assert result is not None
            told.append(f"{sum(result.differences.values())} differences in {len(result.differences)} tables")


def step_frames(folder: Path, meter: Meter) -> None:
    """`attribute()` on a frame of the warehouse's own conversions and sessions, against the marts. Fails where they differ."""
    from benchmarks.frame_credit import compare_credit

    with meter.measured("frame path: join the touches, attribute them, compare") as told:
        compared = compare_credit(settings_of(folder))
        assert compared.agrees, compared
        told.append(
            f"{compared.conversions:,} conversions, {compared.sums:,} sums, largest difference {compared.difference:.1e}"
        )


STEPS = {"frames": step_frames, "simulate": step_simulate, "import": step_import, "copy": step_copy, "build": step_build, "refresh": step_refresh, "verify": step_verify}  # fmt: skip


class Bench:
    """Runs the steps one after another and keeps their costs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.costs: list[Cost] = []

    def run(self, step: str, environ: dict[str, str] | None = None, **options: Any) -> list[Cost]:
        """One step in a process of its own."""
        told = run_apart(["-m", "benchmarks.spine", "--step", step, "--folder", str(self.folder), "--options", json.dumps(options)], environ=environ)  # fmt: skip
        return self.keep(told)

    def keep(self, costs: list[Cost]) -> list[Cost]:
        """Add costs to the table, and print them as they come."""
        for cost in costs:
            print(f"{cost.title:<64}{cost.wall:>9.2f} s{cost.cpu:>9.2f} CPU s{cost.peak_gb:>7.2f} GB", flush=True)
        self.costs += costs
        return costs


def compared(costs: list[Cost]) -> list[Cost]:
    """Peers' answers against the first one's: what stands beside a peer is the largest difference, not the answer."""
    first = json.loads(costs[0].told)
    told = []
    for cost in costs:
        answer = json.loads(cost.told)
        keys = first["credits"].keys() | answer["credits"].keys()
        off = max(abs(first["credits"].get(key, 0.0) - answer["credits"].get(key, 0.0)) for key in keys)
        text = f"{answer['sessions']:,} sessions ({answer['sessions'] - first['sessions']:+d}), largest difference of a credit sum {off:.1e}"
        told.append(Cost(cost.title, cost.wall, cost.cpu, cost.peak_gb, cost.rows, text))
    return told


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--bots", type=int, default=0, help="persons that get 1 %% of all events each")
    options.add_argument("--copies", type=int, default=1, help="land the history so often, under other persons")
    options.add_argument("--limit", action="store_true", help="the unavoidable work, in the same run")
    options.add_argument("--peers", action="store_true", help="the narrow job by pandas, polars and nested windows")
    options.add_argument("--memory", help="build once more under this DuckDB memory limit, such as 2GB")
    options.add_argument("--verify", action="store_true", help="count the differences from a rebuild")
    options.add_argument(
        "--frames", action="store_true", help="build, and compare its credit with that of a frame of paths alone"
    )
    options.add_argument("--step", choices=sorted(STEPS), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    told = options.parse_args()
    if told.step:
        sys.modules["hypothesis"] = None  # type: ignore[assignment]  # of tests: pandera loads it where it is installed
        meter = Meter()
        STEPS[told.step](told.folder, meter, **told.options)
        meter.finish()
        return
    about = machine(PACKAGES)
    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as folder:
        bench = Bench(Path(folder))
        measure(bench, told)
    print(f"\n{told.events:,} events of {told.days} days, {told.copies} times, {told.bots} bots; {about}\n")
    print(table(bench.costs))


def measure(bench: Bench, told: argparse.Namespace) -> None:
    """The steps in their order."""
    landing, state = bench.folder / "state" / "landing", str(bench.folder / "state")
    bench.run("simulate", events=told.events, days=told.days, bots=told.bots)
    bench.run("import", prefix="history")
    if told.copies > 1:
        bench.run("copy", copies=told.copies)
    if told.limit:
        bench.keep(run_apart(["-m", "benchmarks.limit", state]))
    if told.memory:
        bench.run(
            "build", {"GTM_WAREHOUSE__MEMORY_LIMIT": told.memory}, title=f"first build, {told.memory}", fresh=True
        )
    bench.run("build", title="first build", fresh=True)
    if told.frames:
        bench.run("frames")
        return
    bench.run("import", prefix="day-1")
    bench.run("build", title="one day more", fresh=False)
    bench.run("build", title="nothing new", fresh=False)
    bench.run("refresh", title="nothing new")
    bench.run("import", prefix="day-2")
    bench.run("refresh", title="one day more")
    if told.verify:
        bench.run("verify")
    bench.run("build", title="full rebuild", fresh=True)
    if told.peers:
        bench.keep(compared(peers(told.events, landing)))


def peers(events: int, landing: Path) -> list[Cost]:
    """Each peer in a process of its own; polars in the environment that `scripts/install-peers` makes, if it is there."""
    found: list[Cost] = []
    script = str(Path(__file__).with_name("peers.py"))
    apart = Path(__file__).parents[1] / ".cache" / "peers" / "bin" / "python"
    for name in ("duckdb_ours", "duckdb_nested", "pandas_vectorised", "pandas_naive"):
        if events <= SLOW_PEERS.get(name, events):
            found += run_apart([script, name, str(landing)])
    if apart.exists():
        found += run_apart([script, "polars_streaming", str(landing)], python=str(apart))
    return found


if __name__ == "__main__":
    main()
