"""The event log that is left open writes what Dagster's own storage reads, and leaves a storage that dagster.yaml names alone."""

import random

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from warehouse_cases import land, random_events, settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.event_history import OpenEventLog
from gtm_dagster.orchestration.instance import _reference, dagster_home
from gtm_dagster.orchestration.refresh_run import run_refresh
from gtm_dagster.orchestration.run_records import OpenedRunStorage


def test_dagsters_own_storage_reads_the_runs_events_and_the_next_refresh_adds_to_them(tmp_path, monkeypatch):
    settings = settings_for(tmp_path)
    land(settings, random_events(random.Random(5), 30), "import-1")
    first, second = run_refresh(settings, build_defs), run_refresh(settings, build_defs)
    assert first.ok and second.ok, first.error or second.error
    assert {check.asset for check in second.checks} == {check.asset for check in first.checks}
    assert sum(check.description.startswith("nothing changed since run") for check in second.checks) >= 15
    home = dagster_home(settings)
    assert not list((home / "history" / "runs").glob("*-wal")), "the files are closed"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as plain:
        for result in (first, second):
            kinds = {entry.dagster_event_type for entry in plain.all_logs(result.run_id)}
            assert {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.ASSET_CHECK_EVALUATION} <= kinds
        outputs = plain.all_logs(second.run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
        assert outputs and not any(entry.dagster_event.step_output_data.metadata for entry in outputs)
        assert all(entry.message.startswith("Yielded output") and not entry.user_message for entry in outputs)
        latest = plain.get_latest_materialization_event(dg.AssetKey(["marts", "daily"]))
        assert latest is not None and latest.run_id == second.run_id
        metadata = latest.asset_materialization.metadata
        assert metadata["rebuilt"].value.startswith("nothing") and "chart" in metadata and "picture" not in metadata


@pytest.mark.parametrize(
    ("dagster_yaml", "left_open"),
    [
        pytest.param("telemetry: {enabled: false}", True, id="none is named"),
        pytest.param("storage: {sqlite: {base_dir: HOME}}", False, id="a storage is named"),
        pytest.param(
            "event_log_storage: {module: dagster._core.storage.event_log, class: SqliteEventLogStorage, config: {base_dir: HOME}}",
            False,
            id="an event log is named",
        ),
    ],
)
def test_a_storage_that_dagster_yaml_names_decides(tmp_path, dagster_yaml, left_open):
    (tmp_path / "dagster.yaml").write_text(dagster_yaml.replace("HOME", str(tmp_path)))
    found = _reference(tmp_path)
    assert (found.event_storage_data.class_name == OpenEventLog.__name__) is left_open
    assert (found.run_storage_data.class_name == OpenedRunStorage.__name__) is left_open
