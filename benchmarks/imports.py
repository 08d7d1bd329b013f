"""What an imported row costs: the same simulated events as native CSV, NDJSON and Parquet, and as a CSV in a shop's words.

`python -m benchmarks.imports --rows 1000000 --rounds 3`: each import in a process of its own, rows a second of wall and of
CPU seconds, medians. Beside it the limit of the same run: pyarrow reads the CSV as text and writes it as Parquet.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import Cost, Meter, machine, run_apart

FILES = {"native CSV": "native.csv", "native NDJSON": "native.ndjson", "native Parquet": "native.parquet", "mapped CSV": "shop.csv"}  # fmt: skip
LIMIT = "limit: CSV as text to Parquet"
_MAPPING = """
[columns]
event_id = "no"
event_name = "action"
user_id = "customer"
anonymous_id = "visitor"
session_id = "visit"
device_type = "device"
source = "utm_source"
medium = "utm_medium"
campaign = "utm_campaign"
page_url = "page"

[values.event_name]
view = "page_viewed"
use = "feature_used"
buy = "payment_completed"

[timestamp]
column = "at"
format = "%d.%m.%Y %H:%M:%S"
timezone = "Europe/Berlin"

[properties]
path = { column = "path" }
feature = { column = "feature" }
amount = { column = "sum", type = "number" }
currency = { column = "currency" }
"""
_ACTIONS = {"page_viewed": "view", "feature_used": "use", "payment_completed": "buy"}


def write_files(folder: Path, rows: int) -> None:
    """The files of FILES, each with `rows` rows."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
    import pyarrow.parquet

    from gtm_dagster.simulator.traffic import simulate, write

    traffic = simulate(rows, 30, 7)
    for form in ("parquet", "ndjson"):
        next(path for path in write(traffic, folder, form=form) if path.suffix != ".json").rename(
            folder / f"native.{form}"
        )
    events = traffic.events
    for name in ("timestamp", "received_at"):
        text = pc.strftime(events[name], "%Y-%m-%dT%H:%M:%SZ")
        events = events.set_column(events.schema.get_field_index(name), name, text)
    pyarrow.csv.write_csv(events, folder / "native.csv")
    many = simulate(rows * 2, 30, 8).events
    kept = many.filter(pc.is_in(many["event_name"], pa.array(list(_ACTIONS)))).slice(0, rows)
    pyarrow.csv.write_csv(_shop(kept), folder / "shop.csv")
    (folder / "shop.toml").write_text(_MAPPING)


def _shop(events: Any) -> Any:
    import msgspec
    import pyarrow as pa
    import pyarrow.compute as pc

    properties = [msgspec.json.decode(text or "{}") for text in events["properties"].to_pylist()]
    same = {"no": "event_id", "customer": "user_id", "visitor": "anonymous_id", "visit": "session_id", "device": "device_type", "utm_source": "source", "utm_medium": "medium", "utm_campaign": "campaign", "page": "page_url"}  # fmt: skip
    columns = {name: events[field] for name, field in same.items()}
    columns["at"] = pc.strftime(events["timestamp"].cast(pa.timestamp("s", "UTC"), safe=False), "%d.%m.%Y %H:%M:%S")
    columns["action"] = pa.array([_ACTIONS[name] for name in events["event_name"].to_pylist()])
    for name, field in {"path": "path", "feature": "feature", "sum": "amount", "currency": "currency"}.items():
        columns[name] = pa.array([None if (value := each.get(field)) is None else str(value) for each in properties])
    return pa.table(columns)


def step(folder: Path, title: str, meter: Meter) -> None:
    """One import, or the limit."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if title == LIMIT:
        with meter.measured(title) as notes:
            names = pyarrow.csv.open_csv(folder / "native.csv").schema.names
            options = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names})
            table = pyarrow.csv.read_csv(folder / "native.csv", convert_options=options)
            pyarrow.parquet.write_table(table, folder / "limit.parquet", compression="zstd")
            notes.append(str(table.num_rows))
        return
    from gtm_dagster.importing import import_file
    from gtm_dagster.importing.mapping import load_mapping
    from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
    from gtm_dagster.privacy.sealing import Sealer
    from gtm_dagster.settings import load_settings
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.warehouse.landing import Landing

    with tempfile.TemporaryDirectory(dir=folder) as state:
        settings, plan = load_settings(None, {"GTM_STATE_DIR": state}), load_plan()
        key = load_or_create_key(settings.keys_dir)
        mapping = load_mapping(folder / "shop.toml") if title == "mapped CSV" else None
        with meter.measured(title) as notes:
            result = import_file(folder / FILES[title], landing=Landing(settings.landing_dir), plan=plan, pseudonymize=Pseudonymizer(key), sealer=Sealer(key), write_key="bench", mapping=mapping, gates_consent=True)  # fmt: skip
            notes.append(str(result.read))
        if result.accepted < 0.95 * result.read:
            raise RuntimeError(f"{title}: only {result.accepted:,} of {result.read:,} rows were accepted: {result}")


def report(costs: dict[str, list[Cost]]) -> str:
    """Medians as a Markdown table."""
    lines = [
        "| file | rows per s of wall | lowest to highest | rows per CPU s | peak GB |",
        "|---|---:|---:|---:|---:|",
    ]
    for title, rounds in costs.items():
        rows = int(rounds[0].told)
        by_wall = [rows / cost.wall for cost in rounds]
        lines.append(
            f"| {title} | {median(by_wall):,.0f} | {min(by_wall):,.0f} to {max(by_wall):,.0f} "
            f"| {rows / median(cost.cpu for cost in rounds):,.0f} | {max(cost.peak_gb for cost in rounds):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--checkout", type=Path, default=Path(__file__).parents[1], help="measure the import of this one"
    )
    options.add_argument("--step", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.step:
        meter = Meter()
        if given.step == "files":
            write_files(given.folder, given.rows)
        else:
            step(given.folder, given.step, meter)
        meter.finish()
        return
    print(machine(("pyarrow", "pandas", "pandera")) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as folder:
        run = ["-m", "benchmarks.imports", "--folder", folder, "--rows", str(given.rows), "--step"]
        path = os.pathsep.join([str(given.checkout), str(Path(__file__).parents[1])])
        run_apart([*run, "files"])
        costs = {
            title: [run_apart([*run, title], environ={"PYTHONPATH": path})[0] for _ in range(given.rounds)]
            for title in (*FILES, LIMIT)
        }
    print(report(costs))


if __name__ == "__main__":
    main()
