"""A run whose process is gone is marked failed, and no other: it would block the queue, and mute the event log sensor."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType
from dagster._core.events import EngineEventData
from profiles import slow_but

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration import dead_runs
from gtm_dagster.orchestration.dead_runs import Host, fail_dead_runs, process_tags
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.settings import load_settings
from gtm_dagster.warehouse.writer_lock import WarehouseLock

HIDDEN = ".dagster/gtm_"  # Dagster's web UI does not show a tag that begins so
PID, BORN = f"{HIDDEN}pid", f"{HIDDEN}born"
NOT_STARTED, STARTING, STARTED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)


@dg.job
def empty() -> None: ...


@pytest.fixture(scope="module")
def gone() -> str:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return str(process.pid)


@pytest.mark.parametrize(
    ("status", "own", "alive", "dead"),
    [
        pytest.param(STARTED, True, False, True, id="killed in the run"),
        pytest.param(STARTING, True, False, True, id="killed while it starts"),
        pytest.param(NOT_STARTED, True, False, True, id="gtm refresh killed while the run is being recorded"),
        pytest.param(STARTED, True, True, False, id="at work"),
        pytest.param(STARTING, False, False, False, id="a retry that starts carries the tags of its dead parent"),
        pytest.param(NOT_STARTED, False, False, False, id="just made, about to be queued"),
    ],
)
def test_a_run_is_dead_when_its_own_process_is_gone(gone, status, own, alive, dead):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=status)
        tags = process_tags(run.run_id if own else "its parent")
        instance.add_run_tags(run.run_id, tags if alive else {**tags, PID: gone})
        assert fail_dead_runs(instance) == ([run.run_id] if dead else [])
        assert (instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE) is dead


@pytest.mark.parametrize(
    ("changed", "dead"),
    [
        pytest.param({}, True, id="this machine, boot and namespace"),
        pytest.param({"pid_namespace": "pid:[1]"}, False, id="another container of this machine"),
        pytest.param({"machine": "other:1"}, False, id="another machine under the same boot id"),
        pytest.param({"machine": "other:1", "boot": "b"}, False, id="another machine"),
        pytest.param({"boot": "b"}, True, id="this machine before it was started anew"),
    ],
)
@pytest.mark.parametrize("prefix", [HIDDEN, "gtm/"], ids=["hidden tags", "tags of earlier versions"])
def test_a_run_is_judged_by_the_host_that_began_it(gone, changed, dead, prefix):
    host = replace(Host.here(), **changed)
    tags = {f"{prefix}pid": gone, f"{prefix}born": f"{host.boot}/1", f"{prefix}host": str(host)}
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=STARTED, tags=tags)
        assert fail_dead_runs(instance) == ([run.run_id] if dead else [])


@pytest.mark.parametrize(
    ("born", "dead"),
    [
        pytest.param(f"{Host.here().boot}/1", True, id="of this boot"),
        pytest.param("another-boot/1", False, id="of another boot, here or elsewhere"),
        pytest.param("", True, id="of a system without /proc"),
    ],
)
def test_tags_of_earlier_versions_are_believed_where_their_boot_is_this_one(gone, born, dead):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=STARTED, tags={"gtm/pid": gone, "gtm/born": born})
        assert fail_dead_runs(instance) == ([run.run_id] if dead else [])


def test_what_this_version_wrote_wins_over_the_tags_of_an_earlier_parent(gone):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=STARTED, tags={"gtm/pid": gone, "gtm/born": ""})
        instance.add_run_tags(run.run_id, process_tags(run.run_id))
        assert fail_dead_runs(instance) == []


def test_a_birth_of_another_boot_is_left_alone_whatever_the_host_says(gone):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=STARTED)
        instance.add_run_tags(run.run_id, {**process_tags(run.run_id), PID: gone, BORN: "another/1"})
        assert fail_dead_runs(instance) == []


def test_a_run_being_cancelled_whose_process_is_gone_is_cancelled(gone):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.CANCELING)
        instance.add_run_tags(run.run_id, {**process_tags(run.run_id), PID: gone})
        assert fail_dead_runs(instance) == [run.run_id]
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED


def test_another_process_under_the_same_number_does_not_keep_a_run_alive():
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=STARTED)
        tags = process_tags(run.run_id)
        instance.add_run_tags(run.run_id, {**tags, BORN: tags[BORN] + "0"})
        assert fail_dead_runs(instance) == ([run.run_id] if tags[BORN] else [])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a zombie is told by /proc")
def test_a_killed_process_nobody_has_waited_for_is_dead():
    with (
        dg.DagsterInstance.ephemeral() as instance,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child,
    ):
        run = instance.create_run_for_job(empty, status=STARTED)
        instance.add_run_tags(run.run_id, {**process_tags(run.run_id), PID: str(child.pid), BORN: ""})
        assert fail_dead_runs(instance) == []
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert fail_dead_runs(instance) == [run.run_id]


@pytest.mark.parametrize("alive", slow_but(1, False, True))
@pytest.mark.parametrize("begun", [True, False], ids=["started", "starting"])
def test_a_run_killed_before_it_could_tag_itself_is_known_by_dagsters_own_log(tmp_path, gone, begun, alive):
    """As Dagster writes it: the process of the run first, then its start."""
    pid = os.getpid() if alive else int(gone)
    with instance_of(load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})) as instance:
        run = instance.create_run_for_job(empty, status=STARTING)
        instance.report_engine_event("Started process for run.", run, EngineEventData.in_process(pid))
        if begun:
            start = DagsterEvent(DagsterEventType.PIPELINE_START.value, "empty", pid=pid)
            instance.report_dagster_event(start, run.run_id)
        assert instance.get_run_by_id(run.run_id).status == (STARTED if begun else STARTING)
        assert fail_dead_runs(instance) == ([] if alive else [run.run_id])


def test_a_run_that_was_never_submitted_is_given_up_after_a_while(monkeypatch):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty, status=NOT_STARTED)
        assert fail_dead_runs(instance) == []
        monkeypatch.setattr(dead_runs, "NEVER_SUBMITTED", timedelta(seconds=-1))
        assert fail_dead_runs(instance) == [run.run_id]


def test_a_run_names_its_process_before_it_waits_for_the_lock(tmp_path):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path), "GTM_REFRESH__LOCK_TIMEOUT_SECONDS": "0.1"})
    definitions = build_defs(settings=settings)
    with instance_of(settings) as instance, WarehouseLock(settings.state_dir).hold("another writer", 1):
        result = definitions.resolve_job_def("refresh").execute_in_process(instance=instance, raise_on_error=False)
        tags = instance.get_run_by_id(result.run_id).tags
    assert not result.success
    assert (tags[PID], tags[f"{HIDDEN}run"]) == (str(os.getpid()), result.run_id)
