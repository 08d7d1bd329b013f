"""What the builds of both DuckDB versions left, made once for all tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conformance_engines import interpreter, on_spark, record, run_again
from conformance_jobs import recorded_jobs


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(scope="session")
def locked(folder: Path) -> dict:
    """Every scenario built with the DuckDB of the lock file."""
    return record(Path(sys.executable), folder / "locked")


@pytest.fixture(scope="session")
def older(locked: dict, folder: Path) -> dict:
    """Every scenario built with the last DuckDB 1.5, and the statements of `locked` run on it over the same Parquet."""
    python = interpreter("duckdb")
    run_again(python, folder / "locked")
    return record(python, folder / "older", kept=0)


@pytest.fixture(scope="session")
def spark(locked: dict, folder: Path) -> dict:
    """Recorded statements and bundles run on Spark: the version, the answers by id, what the runners said."""
    python = interpreter("spark")
    bundles = {scenario: folder / "locked" / scenario / "bundle" for scenario in locked["scenarios"]}
    jobs = recorded_jobs(locked)
    by_hand = next(iter(bundles))
    for scenario, bundle in bundles.items():
        if scenario != by_hand:
            jobs.append({"id": f"{scenario}/bundle", "bundle": str(bundle), "out": str(bundle / "out")})
    jobs.append({"id": f"{by_hand}/bundle", "program": str(bundles[by_hand] / "run.py")})
    answers = on_spark(python, jobs, folder / "spark")
    return {
        "version": answers["spark"],
        "answers": {answer["id"]: answer for answer in answers["answers"]},
        "tables": answers["tables"],
    }
