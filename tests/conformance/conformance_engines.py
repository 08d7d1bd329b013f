"""Starts the other engines, each in the environment that scripts/install-engines made for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENGINES = ROOT / ".cache" / "engines"


def case_id(scenario: str, number: int, recording: dict) -> str:
    """The name of one recorded statement."""
    return f"{scenario}/{number:02d}-{recording['statement']}"


def interpreter(engine: str) -> Path:
    """The Python of `duckdb` or `spark`; skips when it is not installed."""
    python = ENGINES / engine / "bin" / "python"
    if not python.exists() or not (ENGINES / engine / "installed").exists():
        pytest.skip(f"{engine} is not installed: run scripts/install-engines (make test-real does)")
    return python


def pinned(engine: str) -> str:
    """The version that scripts/install-engines asks for."""
    script = (ROOT / "scripts" / "install-engines").read_text()
    if engine == "duckdb":
        return re.search(r"^DUCKDB=(\S+)$", script, re.M).group(1)  # type: ignore[union-attr]
    project = (ROOT / "pyproject.toml").read_text()
    return re.search(r'^spark = \["pyspark==([0-9.]+)"\]$', project, re.M).group(1)  # type: ignore[union-attr]


def record(python: Path, out: Path, kept: int = 2) -> dict:
    """Build every scenario with the DuckDB of `python`; the content of recordings.json. `kept`: see RecordingConnection."""
    out.mkdir(parents=True, exist_ok=True)
    _run(
        [str(python), str(HERE / "conformance_recording.py"), str(out), str(kept)],
        {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "GTM_SITE": sysconfig.get_paths()["purelib"]},
    )
    return json.loads((out / "recordings.json").read_text())


def run_again(python: Path, out: Path) -> None:
    """Run what was recorded under `out` with the DuckDB of `python`, over the same Parquet."""
    _run([str(python), str(HERE / "conformance_again.py"), str(out / "recordings.json")], {})


def on_spark(python: Path, jobs: list[dict], folder: Path) -> dict:
    """Run the jobs on one session; the content of answers.json, and what the bundles' runners said of each table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    program, answers = str(HERE / "conformance_spark.py"), folder / "answers.json"
    # The last tier of the compiler and a collector with threads cost half of the run's time and pay back after minutes.
    environ = {"SPARK_LOCAL_IP": "127.0.0.1", "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    said = _run([str(python), program, str(folder / "jobs.json"), str(answers)], environ)
    tables = [json.loads(line) for line in said.splitlines() if line.startswith('{"table"')]
    return {**json.loads(answers.read_text()), "tables": tables}


def _run(command: list[str], environ: dict[str, str]) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GTM_", "PYTHON", "SPARK_"))}
    done = subprocess.run(
        command, cwd=ROOT, env={**kept, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, "\n".join(done.stdout.splitlines()[-40:])
    return done.stdout
