"""Old runs end; what people look back at, and what shows the present state, does not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.runs.schema import RunTagsTable
from sqlalchemy import select

from gtm_dagster.orchestration.history_jobs import history_pruning_job
from gtm_dagster.orchestration.history_pruning import prune
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.settings import load_settings

LATER = datetime.now(UTC) + timedelta(days=20)


@dg.asset
def table() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"seconds": 1.0})


@dg.asset
def other() -> None: ...


@dg.asset_check(asset=other)
def holds() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.job(name="rollback_flag")
def rollback() -> None: ...


@dg.job(name="mine")
def mine() -> None: ...


REFRESH = dg.define_asset_job("refresh", selection=dg.AssetSelection.all())
DEFS = dg.Definitions(assets=[table, other], asset_checks=[holds], jobs=[REFRESH, rollback, mine])


@pytest.fixture
def instance(tmp_path):
    with instance_of(load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})) as opened:
        yield opened


def _run(instance, name="refresh", **options):
    return DEFS.resolve_job_def(name).execute_in_process(instance=instance, **options).run_id


def _shards(instance):
    return {path.stem for path in Path(instance.event_log_storage.path_for_shard("x")).parent.glob("*.db")}


def test_old_refreshes_end_with_their_files_and_what_shows_the_present_stays(instance):
    rolled_back, own = _run(instance, "rollback_flag"), _run(instance, "mine")
    old = [_run(instance, tags={"trigger": "event log"}) for _ in range(3)]
    only_table = _run(instance, asset_selection=[table.key])
    under_way = instance.create_run_for_job(mine, status=dg.DagsterRunStatus.STARTED, tags={"a": "tag"}).run_id
    pruned = prune(instance, days=14, most=100, now=LATER)
    left = {run.run_id for run in instance.get_runs()}
    # The last refresh has the last materialisation of `other` and the last outcome of its check.
    assert left == {rolled_back, own, under_way, old[-1], only_table}
    assert (pruned.runs, pruned.more) == (2, False)
    assert _shards(instance) & {*old, only_table} == {old[-1], only_table}
    assert instance.get_latest_materialization_event(other.key).run_id == old[-1]
    assert instance.get_latest_materialization_event(table.key).run_id == only_table
    checks = instance.event_log_storage.get_asset_check_execution_history(holds.check_key, limit=10)
    assert [record.run_id for record in checks] == [old[-1]]
    assert len(instance.fetch_materializations(table.key, limit=10).records) == 2
    with instance.run_storage.connect() as con:
        assert {row[0] for row in con.execute(select(RunTagsTable.c.run_id))} <= left


def test_what_is_younger_stays(instance):
    runs = {_run(instance) for _ in range(2)}
    assert prune(instance, days=14, most=100).runs == 0
    assert {run.run_id for run in instance.get_runs()} == runs


def test_a_slice_ends_the_oldest_and_the_next_goes_on(instance, monkeypatch):
    monkeypatch.setattr("gtm_dagster.orchestration.history_pruning._PAGE", 2)
    runs = [_run(instance) for _ in range(6)]
    first = prune(instance, days=14, most=3, now=LATER)
    assert (first.runs, first.more) == (3, True)
    assert {run.run_id for run in instance.get_runs()} == set(runs[3:])
    second = prune(instance, days=14, most=3, now=LATER)
    assert (second.runs, second.more) == (2, False)
    assert [run.run_id for run in instance.get_runs()] == runs[5:]


def test_events_of_no_run_end_but_the_newest_of_an_asset(instance):
    for key in (table.key, table.key, other.key):
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
    assert prune(instance, days=14, most=1, now=LATER).events == 1
    assert instance.get_latest_materialization_event(table.key) is not None
    assert prune(instance, days=14, most=1, now=LATER).events == 0


def test_the_job_prunes_by_the_setting_and_says_so(tmp_path, instance):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path), "GTM_HISTORY__DAYS": "7"})
    job = history_pruning_job(settings)
    done = job.execute_in_process(instance=instance)
    assert done.success
    logged = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert any("older than 7 days" in line for line in logged)
