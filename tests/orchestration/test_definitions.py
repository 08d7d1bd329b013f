"""The Dagster layer as a user meets it: every asset described, every law a check, refresh a run the instance knows."""

import json
import random
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from warehouse_cases import START, event, land, random_events, settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.dead_runs import fail_dead_runs, process_of
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.orchestration.refresh_run import run_refresh
from gtm_dagster.warehouse.build import all_checks
from gtm_dagster.warehouse.last_refresh import last_refresh
from gtm_dagster.warehouse.schema import built
from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

ROOT = Path(__file__).parents[2]
TABLES = {table.name.replace(".", "/") for table in built()} | {
    "ingestion/landing_events", "staging/events", "staging/quarantine", "serving/warehouse_copy", "ops/rollbacks",
}  # fmt: skip
PAGES = {"ops/guards", "ops/ramp_steps"}
"""What is looked at in the web UI and is no table."""
SOURCES = {"ingestion/event_log", "ingestion/imports", "ops/flag_provider"}
"""What is made elsewhere: assets without which Lineage would begin in the middle."""


def test_every_asset_is_described(tmp_path):
    defs = build_defs(settings=settings_for(tmp_path))
    specs = {"/".join(spec.key.path): spec for spec in defs.resolve_all_asset_specs()}
    assert set(specs) == TABLES | PAGES | SOURCES
    for key, spec in specs.items():
        assert spec.description, key
        assert spec.group_name == {"ops": "rollout"}.get(key.split("/")[0], key.split("/")[0]), key
        assert spec.owners, key
        assert spec.kinds or key in SOURCES, key
        assert "`gtm " in spec.description or key in {"ingestion/landing_events", "serving/warehouse_copy"}, key
    for key in TABLES - {"ingestion/landing_events", "serving/warehouse_copy"}:
        columns = specs[key].metadata.get("dagster/column_schema") or specs[key].metadata["columns"]
        assert columns.columns, key
        assert [column.name for column in columns.columns if not column.description] == [], key
        if not key.startswith("ops/"):
            assert specs[key].metadata["dagster/code_references"].code_references, key


def test_lineage_is_one_graph(tmp_path):
    graph = build_defs(settings=settings_for(tmp_path)).resolve_asset_graph()
    keys = graph.get_all_asset_keys()
    reached, waiting = set(), [next(iter(keys))]
    while waiting:
        key = waiting.pop()
        if key not in reached:
            reached.add(key)
            waiting += [*graph.get(key).parent_keys, *graph.get(key).child_keys]
    assert reached == keys


def test_every_check_can_be_run_alone(tmp_path):
    """The web UI's button runs a check that is in no set of assets and checks which only run together."""
    graph = build_defs(settings=settings_for(tmp_path)).resolve_asset_graph()
    assert {
        key for key in graph.asset_check_keys if len(graph.get_execution_set_asset_and_check_keys(key)) > 1
    } == set()


def test_every_library_check_is_an_asset_check(tmp_path):
    defs = build_defs(settings=settings_for(tmp_path))
    known = {(tuple(key.asset_key.path), key.name) for key in defs.resolve_asset_graph().asset_check_keys}
    assert {(tuple(table.split(".")), check.name) for table, check in all_checks()} <= known
    assert (("staging", "events"), "contract") in known


def test_refresh_is_a_run_with_books_and_checks(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, random_events(random.Random(5), 60), "import-1")
    told: list[tuple] = []
    result = run_refresh(settings, build_defs, progress=lambda *progress: told.append(progress))
    assert result.ok, result.error
    assert ("staging",) in told and told[-1][0] == told[-1][1] == len(result.steps), "the bar ends full"
    assert sum(row.clean for row in result.books) == 60
    assert {check.check for check in result.checks} >= {check.name for _, check in all_checks()}
    left = last_refresh(settings)
    assert left is not None and left.seconds > 0 and left.failed_checks == []
    assert set(left.books_difference.values()) <= {0}
    with instance_of(settings) as instance:
        run = instance.get_run_by_id(result.run_id)
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert process_of(run.tags)["pid"]


def test_a_broken_contract_is_a_failed_check_without_a_materialisation(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], "import-1")
    manifest = settings.landing_dir / "_batches" / "import-1.json"
    batch = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**batch, "rows": dict.fromkeys(batch["rows"], 5)}))
    result = run_refresh(settings, build_defs)
    assert not result.ok
    contract = next(check for check in result.checks if check.check == "contract")
    assert not contract.passed
    assert last_refresh(settings) is None, "it has published nothing"
    assert "its manifest says 5 rows" in contract.description
    with instance_of(settings) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey(["staging", "events"])) is None


@pytest.mark.slow
def test_a_plain_run_refuses_changed_settings_and_refresh_says_what_it_rebuilt(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x")], "import-1")
    assert run_refresh(settings, build_defs).ok
    other = settings_for(tmp_path, GTM_SESSIONS__TIMEOUT_MINUTES="10")
    refused = run_refresh(other, build_defs, allow_rebuild=False)
    assert not refused.ok
    assert "sessions.timeout_minutes: built with 30, now 10" in refused.error
    allowed = run_refresh(other, build_defs)
    assert allowed.ok
    assert any("sessions.timeout_minutes" in line for line in allowed.rebuilt)


def test_a_busy_warehouse_is_named(tmp_path):
    settings = settings_for(tmp_path, GTM_REFRESH__LOCK_TIMEOUT_SECONDS="0.2")
    with (
        WarehouseLock(settings.state_dir).hold("somebody's erasure", 1),
        pytest.raises(LockHeldError, match="somebody's erasure"),
    ):
        run_refresh(settings, build_defs)
    with instance_of(settings) as instance:
        assert instance.get_runs() == []  # an answer, not a failed run


def test_a_run_in_which_no_step_came_to_run_says_why(tmp_path, monkeypatch):
    def broken(self, context):
        raise RuntimeError("no lock to be had on this file system")

    monkeypatch.setattr("gtm_dagster.orchestration.resources.WarehouseResource.yield_for_execution", broken)
    result = run_refresh(settings_for(tmp_path), build_defs)
    assert not result.ok
    assert result.error == "RuntimeError: no lock to be had on this file system"


def test_runs_of_dead_processes_are_marked_failed(tmp_path):
    settings = settings_for(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with instance_of(settings) as instance:
        job = build_defs(settings=settings).resolve_job_def("refresh")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={"gtm/pid": str(gone.pid)})
        assert fail_dead_runs(instance) == [run.run_id]
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    ("logged", "running", "expected"),
    [(0, False, "nothing new"), (3, False, "request"), (3, True, "under way")],
    ids=["no news", "news", "news while a refresh runs"],
)
def test_event_log_sensor(tmp_path, logged, running, expected):
    from gtm_dagster.admission.record import Record
    from gtm_dagster.eventlog.sqlite import SqliteEventLog

    settings = settings_for(tmp_path)
    if logged:
        log = SqliteEventLog(settings.log_path)
        log.append(
            [
                Record(
                    write_key="w",
                    event_id=f"e{i}",
                    event_name="page_viewed",
                    event_us=START,
                    received_us=START,
                    anonymous_id="x",
                )
                for i in range(logged)
            ]
        )
        log.close()
    defs = build_defs(settings=settings)
    with dg.DagsterInstance.ephemeral() as instance:
        if running:
            instance.create_run_for_job(defs.resolve_job_def("refresh"), status=dg.DagsterRunStatus.STARTED)
        context = dg.build_sensor_context(instance=instance, definitions=defs)
        tick = defs.resolve_sensor_def("event_log_sensor").evaluate_tick(context)
    if expected == "request":
        assert [request.run_key for request in tick.run_requests] == [f"log-{log.log_id}-3"]
    else:
        assert expected in tick.skip_message
        assert tick.run_requests == []


def test_the_library_does_not_import_dagster():
    """One after the other in one program, which names the first that does."""
    modules = ("warehouse.build", "attribution", "taxonomy.landing_schema", "simulator")
    code = "".join(f"import gtm_dagster.{name}\nassert 'dagster' not in sys.modules, '{name}'\n" for name in modules)
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
