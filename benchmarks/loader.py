"""How fast the log lands: records appended as the collector appends them, read and written to Parquet as a run does.

`python -m benchmarks.loader --events 500000`: frames of one request (50 events) and full frames, in events a second of
wall time, beside the same rows written to Parquet from memory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from benchmarks.kafka_node import running_node
from benchmarks.measuring import Cost, Meter, machine, table
from gtm_dagster.admission.single_event import Judge
from gtm_dagster.eventlog import open_log
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import load_settings
from gtm_dagster.simulator.traffic import as_event, simulate
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log


def measured(events: int, frame: int, meter: Meter, servers: str | None = None) -> None:
    """Append `events` in calls of `frame`, then land them."""
    with tempfile.TemporaryDirectory(prefix="gtm-loader-") as folder:
        environ = {"GTM_STATE_DIR": folder, "GTM_KAFKA__ACK_SECONDS": "60"}
        if servers:
            environ["GTM_EVENT_LOG"] = f"kafka://{servers}/bench-{frame}"
        where = "the topic" if servers else "the log"
        settings = load_settings(None, environ)
        plan = load_plan()
        key = load_or_create_key(settings.keys_dir)
        judge = Judge(plan, Pseudonymizer(key), Sealer(key), settings.collector.max_event_bytes)
        log = open_log(settings)
        now_us = time.time_ns() // 1000
        rows = simulate(events, 30, 7).events
        # Judging costs more than appending, so it is done before the clock starts.
        judged = [
            judge([json.dumps(as_event(row)).encode() for row in rows.slice(start, frame).to_pylist()], write_key="dev", received_us=now_us)
            for start in range(0, rows.num_rows, frame)
        ]  # fmt: skip
        with meter.measured(f"append to {where}, {frame} a call", events):
            for batch in judged:
                log.append([one.record for one in batch])
        log.close()
        landed = meter.work(f"land {where}, frames of {frame}", lambda: land_log(BuildContext(settings, plan)), events)
        assert landed.rows == landed.log_count > 0
        parts = [pa.parquet.read_table(file.path) for file in Landing(settings.landing_dir).files()]
        whole = pa.concat_tables(parts)
        copy = Landing(Path(folder) / "copy")
        meter.work("the same rows from memory to Parquet", lambda: copy.write(whole, "copy"), whole.num_rows)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=500_000)
    options.add_argument("--kafka", action="store_true", help="also with a topic of a real Kafka as the log")
    told = options.parse_args()
    meter = Meter()
    for frame in (50, 1000):
        measured(told.events, frame, meter)
    if told.kafka:
        with running_node() as node:
            for frame in (50, 1000):
                measured(told.events, frame, meter, node.servers)
    costs: list[Cost] = meter.costs
    print(machine(("pyarrow",)) + "\n")
    print(table(costs))


if __name__ == "__main__":
    main()
