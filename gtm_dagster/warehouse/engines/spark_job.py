"""Runs a bundle (`gtm sql --bundle DIR`) on Spark: `spark-submit DIR/run.py` or `python DIR/run.py`.

Needs pyspark 3.4 or newer and nothing else. Every kept step is written as Parquet and read back, so a later step reads
the file and not the whole plan before it. Progress goes to stdout, one JSON object a step.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any


def run(spark: Any, bundle: Path, inputs: str, out: str) -> dict[str, int]:
    """Run the plan of `bundle` on the session `spark`; returns the rows of each table it wrote under `out`."""
    plan = json.loads((bundle / "plan.json").read_text(encoding="utf-8"))
    if plan["dialect"] != "spark":
        raise SystemExit(f"{bundle}: the statements are written for {plan['dialect']}, not for spark")
    for name in plan["inputs"]:
        spark.read.parquet(f"{inputs}/{name}").createOrReplaceTempView(name)
    rows = {}
    for step in plan["steps"]:
        begun = time.monotonic()
        frame = spark.sql((bundle / step["file"]).read_text(encoding="utf-8"))
        if step["kept"]:
            frame.write.mode("overwrite").parquet(f"{out}/{step['name']}")
            frame = spark.read.parquet(f"{out}/{step['name']}")
            rows[step["name"]] = frame.count()
            seconds = round(time.monotonic() - begun, 1)
            sys.stdout.write(json.dumps({"table": step["name"], "rows": rows[step["name"]], "seconds": seconds}) + "\n")
            sys.stdout.flush()
        frame.createOrReplaceTempView(step["name"])
    return rows


def main() -> None:
    """The command line; master, memory and other settings are Spark's own (`spark-submit --master ...`)."""
    parser = argparse.ArgumentParser(description="Sessions, touchpoints and credits of a bundle on Spark.")
    here = Path(__file__).resolve().parent
    parser.add_argument("--bundle", type=Path, default=here, help="folder of plan.json; default: where this file is")
    parser.add_argument("--inputs", help="folder or URL of the input tables; default: BUNDLE/inputs")
    parser.add_argument("--out", help="folder or URL for the results; default: BUNDLE/out")
    arguments = parser.parse_args()

    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("gtm sessions and credits").getOrCreate()
    try:
        # A path without a scheme belongs to this machine even where the cluster's default file system is another.
        local = arguments.bundle.resolve().as_uri()
        run(spark, arguments.bundle, arguments.inputs or f"{local}/inputs", arguments.out or f"{local}/out")
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
