"""What the web UI's list of runs says of each, and that its Timeline finds the runs of commands."""

import random

import dagster as dg
import pytest
from warehouse_cases import land, random_events, settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.orchestration.refresh_run import run_refresh
from gtm_dagster.orchestration.run_labels import news_tags, run_tags
from gtm_dagster.orchestration.run_origin import job_origin, recorded_as

HIDDEN = ".dagster/"  # Dagster's web UI does not show tags that begin so


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param({}, "by hand", id="the UI's button, gtm refresh"),
        pytest.param({"dagster/sensor_name": "event_log_sensor"}, "event log", id="the sensor"),
        pytest.param({"dagster/schedule_name": "daily_refresh"}, "schedule", id="the schedule"),
        pytest.param({"trigger": "demo"}, "demo", id="who asks says so"),
    ],
)
def test_a_run_says_what_asked_for_it_and_hides_its_plumbing(tags, expected):
    labels = run_tags("run", tags)
    assert {name: value for name, value in labels.items() if not name.startswith(HIDDEN)} == {"trigger": expected}


@pytest.mark.parametrize(
    ("trigger", "only_imported", "quarantined", "new", "expected"),
    [
        pytest.param("event log", False, 0, 1984, {"events": "1,984 new"}, id="from the log"),
        pytest.param("by hand", True, 3, 1984, {"events": "1,984 new, 3 refused", "trigger": "import"}, id="after an import"),
        pytest.param("by hand", False, 0, 1984, {"events": "1,984 new"}, id="an import and the log"),
        pytest.param("schedule", True, 0, 1984, {"events": "1,984 new"}, id="a schedule that finds an import"),
        pytest.param("event log", False, 0, 0, {"events": "0 new, 5,827 suppressed"}, id="a drill of a guard alone"),
    ],
)  # fmt: skip
def test_a_run_says_what_was_new(trigger, only_imported, quarantined, new, expected):
    assert news_tags({"trigger": trigger}, new, quarantined, 5827, only_imported=only_imported) == expected


@pytest.mark.parametrize(
    ("workspace", "expected"),
    [
        pytest.param(None, "gtm_dagster", id="no workspace here: as the packaged one"),
        pytest.param("load_from:\n- python_module: {module_name: gtm_dagster.definitions, location_name: shop}", "shop",
                     id="a name of one's own"),
        pytest.param("load_from:\n- python_module: {module_name: gtm_dagster.definitions}", "gtm_dagster.definitions",
                     id="without a name Dagster takes the module's"),
        pytest.param("load_from:\n- python_file: other.py\n- 3", "gtm_dagster", id="other locations alone"),
        pytest.param("load_from: [", "gtm_dagster", id="not readable"),
    ],
)  # fmt: skip
def test_a_run_of_a_command_stands_under_the_name_of_the_code_location(tmp_path, workspace, expected):
    if workspace is not None:
        (tmp_path / "workspace.yaml").write_text(workspace)
    assert job_origin("refresh", tmp_path).location_name == expected


def test_a_refresh_after_an_import_is_in_the_timeline_with_its_trigger_and_its_news(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, random_events(random.Random(5), 60), "import-1")
    with_news, without = run_refresh(settings, build_defs), run_refresh(settings, build_defs)
    with instance_of(settings) as instance:
        runs = [instance.get_run_by_id(result.run_id) for result in (with_news, without)]
    for run in runs:
        assert run.remote_job_origin.repository_origin.get_selector().location_name == "gtm_dagster"
        assert run.tags["dagster/max_retries"] == "0"
    assert (runs[0].tags["trigger"], runs[0].tags["events"]) == ("import", "60 new")
    assert runs[1].tags["trigger"] == "by hand" and "events" not in runs[1].tags


def test_an_instance_is_as_before_when_the_run_is_recorded():
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(RuntimeError), recorded_as(instance, "refresh"):
            raise RuntimeError
        assert "create_run_for_job" not in vars(instance)
