"""The exported plan gives the tables of the warehouse; here on DuckDB, on Spark in test_engines.py."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from conformance_differences import differences
from conformance_recording import RecordingConnection
from conformance_traffic import SCENARIOS, WINDOWS, first_landing

from gtm_dagster.attribution.models import MULTI_TOUCH_MODELS
from gtm_dagster.cli import run as gtm
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse import statements
from gtm_dagster.warehouse.build import build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.engines import dialects as portable
from gtm_dagster.warehouse.engines.export import Bundle, export, steps
from gtm_dagster.warehouse.fingerprints import SettingsChangedError, check_settings
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing
from gtm_dagster.warehouse.writer_lock import WarehouseLock

PLAN = load_plan()
BERLIN = SCENARIOS[1]
KEPT = ("sessions", "touchpoints", "attribution_credits", "channel_attribution")
BY_HISTORY = {window.get("name", window["model"]) for window in WINDOWS if window["model"] in MULTI_TOUCH_MODELS}


def environ(folder: Path) -> dict[str, str]:
    """The one deployment these tests share."""
    return {
        "GTM_STATE_DIR": str(folder), "GTM_ATTRIBUTION__WINDOWS": json.dumps(WINDOWS),
        "GTM_ATTRIBUTION__MIN_HISTORY_DAYS": "0", **BERLIN.environ,
    }  # fmt: skip


def told(folder: Path, **other: str) -> Settings:
    """Its settings, some of them otherwise."""
    return load_settings(None, {**environ(folder), **other})


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of the deployment's first landing; nothing here writes it again."""
    folder = tmp_path_factory.mktemp("bundle")
    settings = told(folder)
    empty = dict.fromkeys(ARROW_SCHEMA.names)
    rows = [{**empty, **row, "row_no": i} for i, row in enumerate(first_landing(BERLIN, PLAN.version))]
    Landing(settings.landing_dir).write(pa.Table.from_pylist(rows, schema=ARROW_SCHEMA), "first")
    ctx = BuildContext(settings, PLAN)
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, ctx, allow_rebuild=True)
        build_all(con, ctx)
    return folder


def exported(settings: Settings, folder: Path) -> Bundle:
    with opened(settings.warehouse_path, settings, read_only=True) as con:
        return export(con, BuildContext(settings, PLAN), folder, "duckdb")


def run(folder: Path) -> dict[str, pa.Table]:
    """Run a bundle written for DuckDB by its plan; the kept tables."""
    plan = json.loads((folder / "plan.json").read_text())
    kept = {}
    with duckdb.connect() as con:
        for name in plan["inputs"]:
            con.execute(f"CREATE VIEW {name} AS FROM '{folder}/inputs/{name}/*.parquet'")
        for step in plan["steps"]:
            kind = "TABLE" if step["kept"] else "VIEW"
            con.execute(f"CREATE {kind} {step['name']} AS {(folder / step['file']).read_text()}")
            if step["kept"]:
                kept[step["name"]] = con.sql(f"FROM {step['name']}").to_arrow_table()
    return kept


def test_a_bundle_gives_the_tables_of_the_warehouse(state: Path, tmp_path: Path) -> None:
    settings = told(state)
    written = exported(settings, tmp_path / "bundle")
    kept = run(tmp_path / "bundle")
    assert tuple(kept) == written.tables == KEPT
    with opened(settings.warehouse_path, settings, read_only=True) as con:
        for name, found in kept.items():
            schema = "core" if name in ("sessions", "touchpoints") else "marts"
            expected = con.sql(f"SELECT {', '.join(found.column_names)} FROM {schema}.{name}").to_arrow_table()
            assert expected.num_rows > 100
            assert not differences(name, expected, found)


def test_the_history_gate_holds_in_a_bundle(state: Path, tmp_path: Path) -> None:
    written = exported(told(state, GTM_ATTRIBUTION__MIN_HISTORY_DAYS="500"), tmp_path / "bundle")
    assert written.rows["windows"] == sum(window["model"] not in MULTI_TOUCH_MODELS for window in WINDOWS)
    assert not set(run(tmp_path / "bundle")["attribution_credits"]["model"].to_pylist()) & BY_HISTORY


def test_no_window_is_an_empty_input(state: Path, tmp_path: Path) -> None:
    written = exported(told(state, GTM_ATTRIBUTION__WINDOWS="[]"), tmp_path / "bundle")
    assert written.rows["windows"] == 0
    assert run(tmp_path / "bundle")["attribution_credits"].num_rows == 0


def test_events_of_another_time_zone_are_not_exported(state: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsChangedError, match="report_timezone: built with Europe/Berlin, now UTC"):
        exported(told(state, GTM_REPORT_TIMEZONE="UTC"), tmp_path / "bundle")


@pytest.mark.parametrize(
    ("definition", "statement"),
    [("ga4", "sessions_unsplit"), ("ua", "sessions"), ("tracker", "sessions_tracker")],
)
def test_the_sessions_of_a_bundle_are_those_of_the_definition(definition: str, statement: str) -> None:
    settings = load_settings(None, {"GTM_SESSIONS__DEFINITION": definition})
    assert steps(settings)[0].sql == statements.text(statement)


@pytest.mark.parametrize("dialect", portable.DIALECTS)
def test_every_step_can_be_said_in_every_dialect(dialect: str) -> None:
    every = steps(load_settings(None, {"GTM_ATTRIBUTION__WINDOWS": json.dumps(WINDOWS)}))
    assert len(every) > len(steps(load_settings(None, {}))), "filters, transforms and stages are steps of their own"
    for step in every:
        told = portable.translate(step.sql, dialect, step.values, what=step.name, renamed=step.renamed)
        assert sqlglot.parse_one(told, read=dialect) is not None


def test_a_recording_that_was_never_executed_is_an_error(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        watched = RecordingConnection(con, tmp_path)
        watched.rendered("sessions", {}, "SELECT 1 AS one")
        with pytest.raises(AssertionError, match="sessions"):
            watched.finish()
        con.execute("CREATE TABLE t AS SELECT 1 AS one")
        watched.rendered("other", {}, "SELECT one FROM t")
        watched.execute("CREATE TABLE u AS SELECT * FROM (SELECT one FROM t) x")
        assert [(r.statement, r.inputs, r.rows) for r in watched.recordings] == [("other", ["t"], 1)]


def test_exporting_a_bundle(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command: it waits for the writer, writes once, and says how to run what it wrote."""
    for key, value in {**environ(state), "GTM_REFRESH__LOCK_TIMEOUT_SECONDS": "0"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    with WarehouseLock(state).hold("somebody", 0):
        assert gtm(["sql", "--bundle", "b"]) == 1
    assert "somebody" in capsys.readouterr().err
    assert gtm(["sql", "--bundle", "b"]) == 0
    assert "run it with: spark-submit b/run.py" in capsys.readouterr().out
    assert (tmp_path / "b" / "run.py").exists()
    assert gtm(["sql", "--bundle", "b"]) == 2
    assert "b is there and not empty" in capsys.readouterr().err
    assert gtm(["sql", "--bundle", "c", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == list(KEPT)
