"""Runs recorded statements and bundles on one Spark session; started with the interpreter that has pyspark.

`python conformance_spark.py JOBS.json ANSWERS.json`. A job is {"id", "sql", "inputs": {view: parquet}, "out"},
{"id", "bundle", "out"} or {"id", "program"}: a bundle's run.py as its user starts it, which ends the session and so comes
last. The answer to each is the job with "seconds" and "error".
"""

import importlib.util
import json
import runpy
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession


def bundle_runner(bundle: Path):
    """`run` of the bundle's own run.py."""
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
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(answers.parent / "spark-warehouse"))
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    told = {"spark": spark.version, "start_seconds": round(time.monotonic() - started, 1), "answers": []}
    for job in json.loads(jobs.read_text()):
        begun, error = time.monotonic(), None
        # Adaptive execution, which is Spark's default, puts tables as small as these into one partition; the statements
        # by themselves run in two, so a window whose partition is wrong is caught.
        spark.conf.set("spark.sql.adaptive.enabled", str("sql" not in job).lower())
        try:
            if "program" in job:
                sys.argv = [job["program"]]
                runpy.run_path(job["program"], run_name="__main__")
            elif "bundle" in job:
                bundle = Path(job["bundle"])
                bundle_runner(bundle)(spark, bundle, (bundle / "inputs").as_uri(), Path(job["out"]).as_uri())
            else:
                for view, path in job["inputs"].items():
                    spark.read.parquet(path).createOrReplaceTempView(view)
                spark.sql(job["sql"]).write.mode("overwrite").parquet(job["out"])
        except Exception as problem:  # noqa: BLE001 - one statement that fails must not hide the others
            error = str(problem)[:2000]
        told["answers"].append({**job, "seconds": round(time.monotonic() - begun, 2), "error": error})
    spark.stop()
    answers.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
