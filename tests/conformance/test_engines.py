"""Every statement of the warehouse gives the same result on every engine it is promised for.

The statements are not listed here: the build runs, and what it executed out of `sql/` is run again elsewhere over the
same rows. Keys, moments and counts are equal exactly, credits and values to 1e-9.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import duckdb
import pytest
from conformance_differences import differences, read, told
from conformance_engines import case_id, interpreter, pinned
from conformance_jobs import is_core
from conformance_recording import compared
from conformance_traffic import SCENARIOS, WINDOWS

from gtm_dagster.settings import load_settings
from gtm_dagster.warehouse import statements
from gtm_dagster.warehouse.engines import dialects as portable

pytestmark = pytest.mark.real
NAMES = [scenario.name for scenario in SCENARIOS]
KEPT = {
    "sessions": "core.sessions",
    "touchpoints": "core.touchpoints",
    "attribution_credits": "marts.attribution_credits",
}


def test_the_build_executed_every_statement_and_found_rows(locked: dict) -> None:
    """A statement that no scenario reaches, or that is only ever empty, would be proven by nothing."""
    rows = dict.fromkeys(statements.names(), 0)
    for recordings in locked["scenarios"].values():
        for one in recordings:
            rows[one["statement"]] = max(rows[one["statement"]], one["rows"])
    assert not [name for name, most in rows.items() if most < 20], rows


def test_the_engines_are_the_ones_pinned(locked: dict, older: dict, spark: dict) -> None:
    assert locked["duckdb"] == duckdb.__version__
    assert older["duckdb"] == pinned("duckdb") != duckdb.__version__
    assert spark["version"] == pinned("spark")


@pytest.mark.parametrize("scenario", NAMES)
def test_older_duckdb_gives_the_same_results(locked: dict, older: dict, scenario: str) -> None:
    """Each executed statement of the full and of the incremental build, over the same Parquet."""
    lines = []
    for number, one in enumerate(locked["scenarios"][scenario]):
        home = Path(one["folder"])
        found = differences(one["statement"], read(home / "result.parquet"), read(home / "again.parquet"))
        lines += [f"{case_id(scenario, number, one)}: {line}" for line in found]
    assert not lines, told(lines)


@pytest.mark.parametrize("scenario", NAMES)
def test_older_duckdb_builds_the_same_tables(locked: dict, older: dict, folder: Path, scenario: str) -> None:
    """Staging, core and marts after both landings."""
    lines = []
    for table in compared():
        sides = [read(folder / side / scenario / "tables" / f"{table}.parquet") for side in ("locked", "older")]
        lines += differences(table.partition(".")[2], *sides)
    assert not lines, told(lines)


def test_spark_gives_the_same_results(locked: dict, spark: dict) -> None:
    """The recorded statements over the recorded Parquet, every statement at least once."""
    lines, ran = [], set()
    for scenario, recordings in locked["scenarios"].items():
        for number, one in enumerate(recordings):
            case, home = case_id(scenario, number, one), Path(one["folder"])
            if case not in spark["answers"]:
                continue
            assert spark["answers"][case]["error"] is None, f"{case}: {spark['answers'][case]['error']}"
            found = differences(one["statement"], read(home / "result.parquet"), read(home / "spark"))
            lines += [f"{case}: {line}" for line in found]
            ran.add(one["statement"])
    assert ran == set(statements.names())
    assert not lines, told(lines)


@pytest.mark.parametrize("statement", [name for name in statements.names() if is_core(name)])
def test_a_wrong_statement_on_spark_is_seen(spark: dict, statement: str) -> None:
    """The comparison bites: the same rows, the same way, one thing wrong."""
    answer = spark["answers"][f"planted/{statement}"]
    assert answer["error"] is None, answer["error"]
    home = Path(answer["out"]).parent
    assert differences(statement, read(home / "result.parquet"), read(home / "planted")), answer["change"]


@pytest.mark.parametrize("scenario", NAMES)
def test_a_bundle_on_spark_gives_the_tables_of_the_warehouse(
    locked: dict, spark: dict, folder: Path, scenario: str
) -> None:
    """From the browsing events alone to sessions, touchpoints and credits, by the runner that a user starts.

    The warehouse was built in two landings, one of them late; Spark computes everything at once.
    """
    answer = spark["answers"][f"{scenario}/bundle"]
    assert answer["error"] is None, answer["error"]
    home = folder / "locked" / scenario
    lines = []
    for name, table in {**KEPT, "channel_attribution": "marts.channel_attribution"}.items():
        found = read(home / "bundle" / "out" / name)
        expected = read(home / "tables" / f"{table}.parquet")
        assert set(found.column_names) <= set(expected.column_names), (name, found.column_names)
        lines += differences(name, expected.select(found.column_names), found)
        assert expected.num_rows > 100
    assert not lines, told(lines)


def test_an_older_duckdb_reads_the_files(locked: dict, older: dict, folder: Path) -> None:
    """The working file and the published copy of the locked version open in 1.5 and hold what they say."""
    home = folder / "locked" / "ga4"
    program = """
import duckdb, json, sys
told = []
for path in sys.argv[1:]:
    con = duckdb.connect(path, read_only=True)
    told.append([con.execute(f"SELECT count(*) FROM {t}").fetchall()[0][0] for t in ("core.sessions", "core.touchpoints", "marts.attribution_credits")])
print(json.dumps(told))
"""
    files = [str(home / "state" / name) for name in ("warehouse.duckdb", "serving.duckdb")]
    command = [str(interpreter("duckdb")), "-c", program, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [read(home / "tables" / f"{table}.parquet").num_rows for table in KEPT.values()]
    assert json.loads(done.stdout) == [rows, rows]


def test_the_program_of_a_bundle_says_what_it_wrote(spark: dict, folder: Path) -> None:
    """`python DIR/run.py` without any option: a JSON line a table, the results under DIR/out."""
    out = folder / "locked" / NAMES[0] / "bundle" / "out"
    said = spark["tables"][-4:]
    assert [(one["table"], one["rows"]) for one in said] == [
        (table, read(out / table).num_rows) for table in (*KEPT, "channel_attribution")
    ]


@pytest.mark.parametrize("scenario", NAMES)
def test_what_the_build_used_is_what_a_bundle_uses(locked: dict, scenario: str) -> None:
    """The deployment's sessions statement and the values the settings decide are those the build rendered."""
    environ = next(one.environ for one in SCENARIOS if one.name == scenario)
    settings = load_settings(None, {"GTM_ATTRIBUTION__WINDOWS": json.dumps(WINDOWS), **environ})
    known = portable.parameters(settings)
    for one in locked["scenarios"][scenario]:
        assert {key: value for key, value in one["params"].items() if key in known}.items() <= known.items()
    used = {one["statement"] for one in locked["scenarios"][scenario] if one["statement"].startswith("sessions")}
    assert used == {portable.session_statement(settings)}
