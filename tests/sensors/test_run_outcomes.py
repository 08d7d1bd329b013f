"""Who is notified of what: the first failure of a row, the run that works again, a check that held until now."""

import dagster as dg
import pytest

from gtm_dagster.definitions import build_defs
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.orchestration.run_outcomes import NO_SINK, notify_job
from gtm_dagster.settings import load_settings
from sensors.run_outcomes import failed_runs, finished_runs

STATE = {"works": True, "holds": True}


@dg.asset(check_specs=[dg.AssetCheckSpec("share_of_refused", asset="table")])
def table() -> dg.MaterializeResult:
    if not STATE["works"]:
        raise dg.Failure(description="the disk is full", allow_retries=False)
    check = dg.AssetCheckResult(
        passed=STATE["holds"], severity=dg.AssetCheckSeverity.WARN, description="7 % of the rows were refused"
    )
    return dg.MaterializeResult(check_results=[check])


JOB = dg.define_asset_job("refresh", selection=[table])
DEFS = dg.Definitions(assets=[table], jobs=[JOB])


@pytest.fixture
def settings(tmp_path):
    sinks = '[{"kind": "webhook", "url": "http://127.0.0.1:9/"}]'
    return load_settings(None, {"GTM_STATE_DIR": str(tmp_path), "GTM_NOTIFY": sinks})


def _asked_after(settings, *states):
    """What the sensors ask for after the last of the runs: (event, text), or why nothing."""
    with dg.DagsterInstance.ephemeral() as instance:
        for works, holds in states:
            STATE.update(works=works, holds=holds)
            done = DEFS.resolve_job_def("refresh").execute_in_process(instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(done.run_id)
        sensor = (finished_runs if done.success else failed_runs)(settings, [JOB], notify_job(settings))
        ended = next(event for event in done.all_events if event.is_job_success or event.is_job_failure)
        context = dg.build_run_status_sensor_context(sensor.name, ended, instance, run)
        answer = sensor(context if done.success else context.for_run_failure())
    if isinstance(answer, dg.SkipReason):
        return answer.skip_message
    assert run.run_id in answer.run_key
    config = answer.run_config["ops"]["notify"]["config"]
    return config["event"], config["text"].replace(run.run_id[:8], "RUN")


GOOD, BAD, REFUSES = (True, True), (False, True), (True, False)
CHECK = "table share_of_refused (WARN): 7 % of the rows were refused"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([GOOD], "ended well, as the one before", id="the first run"),
        pytest.param([GOOD, GOOD], "ended well, as the one before", id="all is well"),
        pytest.param([GOOD, BAD], ("run_failed", "refresh failed (run RUN): table: the disk is full"), id="a failure"),
        pytest.param([BAD], ("run_failed", "refresh failed (run RUN): table: the disk is full"), id="the first run fails"),
        pytest.param([BAD, BAD], "failed, too: people know", id="a row of failures is one message"),
        pytest.param([BAD, GOOD], ("run_well_again", "refresh works again (run RUN)"), id="well again"),
        pytest.param([GOOD, REFUSES], ("check_failed", f"checks that held do not hold any more: {CHECK}"), id="a warning"),
        pytest.param([REFUSES, REFUSES], "ended well, as the one before", id="a warning that stands is one message"),
        pytest.param([REFUSES, GOOD], "ended well, as the one before", id="the warning is over"),
        pytest.param([REFUSES, GOOD, REFUSES], ("check_failed", f"checks that held do not hold any more: {CHECK}"), id="anew"),
    ],
)  # fmt: skip
def test_what_people_are_notified_of(settings, states, expected):
    asked = _asked_after(settings, *states)
    assert asked == expected if isinstance(expected, tuple) else expected in asked


def test_without_a_sink_nobody_is_asked_for(tmp_path):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})
    assert _asked_after(settings, BAD) == NO_SINK == _asked_after(settings, REFUSES)


def test_the_message_is_written_down_once_a_run_and_kept_until_it_is_sent(settings):
    config = {"event": "run_failed", "job": "refresh", "run_id": "r1", "text": "refresh failed: the disk is full"}
    with instance_of(settings) as instance:
        for _ in range(2):
            job = build_defs(settings=settings).resolve_job_def("notify_people")
            done = job.execute_in_process(instance=instance, run_config={"ops": {"notify": {"config": config}}})
            assert done.success
    with OpsStore.of(settings) as store:
        (message,) = store.notifications()
    assert "the disk is full" in message.payload and str(settings.state_dir) in message.payload
    assert message.status == "pending"
