"""Runs recorded statements and bundles on one Spark session; started with the interpreter that has pyspark.

`python conformance_spark.py JOBS.json ANSWERS.json`. A job is {"id", "sql", "inputs": {view: parquet}, "out"} or
{"id", "bundle", "out"}; the answer to each is {"id", "seconds", "error"}.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession


def bundle_runner(bundle: Path):
    """`run` of the bundle's own run.py: what a user starts is what is tested."""
    spec = importlib.util.spec_from_file_location("bundle_run", bundle / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run


def main(jobs: Path, answers: Path) -> None:
    started = time.monotonic()
    spark = (
        SparkSession.builder.master("local[2]")
        .appName("conformance")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "3")  # more than one, so a window that forgot its partition is caught
        .config("spark.sql.warehouse.dir", str(answers.parent / "spark-warehouse"))
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    told = {"spark": spark.version, "start_seconds": round(time.monotonic() - started, 1), "answers": []}
    for job in json.loads(jobs.read_text()):
        begun, error = time.monotonic(), None
        try:
            if "bundle" in job:
                bundle = Path(job["bundle"])
                bundle_runner(bundle)(spark, bundle, str(bundle / "inputs"), job["out"])
            else:
                for view, path in job["inputs"].items():
                    spark.read.parquet(path).createOrReplaceTempView(view)
                spark.sql(job["sql"]).coalesce(1).write.mode("overwrite").parquet(job["out"])
        except Exception as problem:  # noqa: BLE001 - one statement that fails must not hide the others
            error = str(problem)[:2000]
        told["answers"].append({"id": job["id"], "seconds": round(time.monotonic() - begun, 2), "error": error})
    spark.stop()
    answers.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
