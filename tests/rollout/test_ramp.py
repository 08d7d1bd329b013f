"""A ramp goes forward only when a loss would have been seen, the guard sees none and a person approved; else it stays."""

from __future__ import annotations

import msgspec
import pytest
from acting_cases import GUARD, settings_for
from ramp_cases import RAMP, RAMPED, STEPS, RampWorld

from gtm_dagster.gate import kill_list
from gtm_dagster.rollout.control import ramping
from gtm_dagster.rollout.control.acting import claim
from gtm_dagster.rollout.control.arming import Refused, rearm
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.evidence import from_json
from gtm_dagster.rollout.control.messages import moment
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.rollout.providers.flagd import Flagd, set_split
from gtm_dagster.settings import GuardMetric


def ramped(tmp_path, monkeypatch, store, metrics=(), **ramp) -> RampWorld:
    """A guard with a ramp over a flag file; the flag is off and the guard armed."""
    guard = msgspec.structs.replace(RAMPED, metrics=metrics, ramp=msgspec.structs.replace(RAMP, **ramp))
    settings = settings_for(tmp_path, guard)
    flagd = Flagd(settings.flags_path)
    flagd.create(GUARD.flag, GUARD.environment, 0.0)
    world = RampWorld(monkeypatch, settings, store, flagd, guard)
    world.arm()
    world.go(2)
    return world


@pytest.fixture
def world(tmp_path, monkeypatch, store) -> RampWorld:
    return ramped(tmp_path, monkeypatch, store)


def test_a_healthy_ramp_reaches_everybody_step_by_step(world):
    for share in STEPS:
        assert world.kinds == ["approval"] and world.standing.next_share == share
        assert world.take().outcome == "taken"
        assert world.share == share
        world.go(90)
    assert world.standing.next_share is None and world.kinds == []
    with pytest.raises(Refused, match="complete at 100 %"):
        world.take()
    steps = world.store.ramp_steps(RAMPED.key, 1)
    assert [(s.number, s.from_share, s.to_share, s.state, s.approved_by) for s in steps] == [
        (n + 1, before, to, "taken", "ana") for n, (before, to) in enumerate(zip((0.0, *STEPS), STEPS, strict=False))
    ]
    assert world.store.check_chain(RAMPED.key)
    taken = [m.detail["ramp_taken"] for m in world.store.history(RAMPED.key) if "ramp_taken" in (m.detail or {})]
    assert [(t["from"], t["to"]) for t in taken] == list(zip((0.0, *STEPS), STEPS, strict=False))
    assert taken[2]["evidence"]["needed_minutes"] <= taken[2]["evidence"]["elapsed_minutes"]


def test_the_first_step_needs_no_visitors_and_each_later_one_what_a_loss_takes_to_be_seen(world):
    assert world.kinds == ["approval"], "nothing was exposed, nothing could have been lost"
    world.take()
    assert world.kinds == ["unhealthy", "time", "power", "approval"], "no visitor of the step yet: WARMUP"
    world.go(20)
    assert world.kinds == ["power", "approval"], "six minutes are over, a loss of 30 % takes longer"
    text = world.standing.waits[0].text
    assert "a loss of 30% would not have been seen at 1 % yet: with 1,00" in text and ", another " in text
    needed = world.standing.power.needed_minutes
    assert world.standing.ready_us == pytest.approx(world.clock + (needed - 20) * 60e6, rel=1e-6, abs=2e7)
    world.go(round(needed) - 20 + 2)
    assert world.kinds == ["approval"]


def test_a_suspicion_begins_the_time_anew(world, monkeypatch):
    world.take()
    world.go(90)
    assert world.kinds == ["approval"]
    until = world.clock - 60_000_000
    monkeypatch.setattr("gtm_dagster.rollout.control.ramp_readiness.suspected_until", lambda *_: until)
    assert world.kinds == ["power", "approval"]
    assert f"at 1 % yet since the guard was suspicious last ({moment(until)})" in world.standing.waits[0].text


def test_a_step_at_which_no_loss_can_be_seen_says_so_and_has_no_end(tmp_path, monkeypatch, store):
    world = ramped(tmp_path, monkeypatch, store, loss=None)
    world.take()
    world.go(30, per_minute=40)
    assert world.kinds == ["power", "approval"] and world.standing.ready_us is None
    assert "a loss of 15% cannot be seen at 1 % within the five days" in world.standing.waits[0].text


def silent_web(world: RampWorld) -> None:
    world.sleep(300)


def suspect(world: RampWorld) -> None:
    world.go(30, factor=0.0)


def drifted(world: RampWorld) -> None:
    set_split(world.context.settings.flags_path, GUARD.flag, 0.3)


def switched_off(world: RampWorld) -> None:
    world.context.writer.turn_off(GUARD.flag, GUARD.environment, comment="", expected=None)


def targeted(world: RampWorld) -> None:
    path = world.context.settings.flags_path
    path.write_text(path.read_text().replace('"fractional"', '"sem_ver"'))


def torn(world: RampWorld) -> None:
    world.context.settings.flags_path.write_text("{")


def killed(world: RampWorld) -> None:
    from datetime import UTC, datetime

    kill_list.add(world.context.settings.kill_list_path, GUARD.flag, "by hand", datetime.now(UTC))


def alarmed(world: RampWorld) -> None:
    world.store.raise_alarm("conversion_guard", 0)


HELD_UP = [
    (silent_web, "unhealthy", "the guard is BLIND: no heartbeat"),
    (suspect, "unhealthy", "the guard is "),
    (drifted, "drift", "flagd serves 30 %, the ramp wrote 1 %: somebody changed the flag"),
    (switched_off, "drift", "flagd serves 0 %, the ramp wrote 1 %"),
    (targeted, "drift", "reports no single share"),
    (torn, "drift", "flagd does not say what it serves"),
    (killed, "unhealthy", "the kill list holds the flag off"),
    (alarmed, "unhealthy", "conversion_guard has been silent"),
]


@pytest.mark.parametrize(("happens", "kind", "words"), HELD_UP, ids=[case[0].__name__ for case in HELD_UP])
def test_what_holds_a_step_up_holds_it_up_for_everybody(world, happens, kind, words):
    world.take()
    world.go(90)
    ramping.approve(world.context, "ana", "go on")
    assert world.standing.ready
    happens(world)
    assert kind in world.kinds and not world.standing.ready
    assert any(words in wait.text for wait in world.standing.waits)
    before = world.context.settings.flags_path.read_bytes()
    result = world.take(step=world.standing.id)
    assert (result.proceed, result.outcome) == (False, "waits") and words in result.reason
    with pytest.raises(Refused) as refused:
        world.take()
    assert words in str(refused.value)
    assert world.context.settings.flags_path.read_bytes() == before
    assert [step.state for step in store_steps(world)] == ["taken", "approved"]


def store_steps(world: RampWorld, epoch: int = 1):
    return world.store.ramp_steps(RAMPED.key, epoch)


@pytest.mark.parametrize(
    ("ramp", "persons"),
    [
        ({}, [True] * 5),
        ({"auto": True}, [False] * 5),
        ({"auto": True, "approval": (True, False, False, False, True)}, [True, False, False, False, True]),
    ],
    ids=["a person each", "auto", "auto, but for the first and the last"],
)
def test_who_has_to_approve(tmp_path, monkeypatch, store, ramp, persons):
    world = ramped(tmp_path, monkeypatch, store, **ramp)
    for share, person in zip(STEPS[:3], persons[:3], strict=True):
        assert world.standing.needs_person is person and world.kinds == ["approval"] * person
        if person:
            assert world.take(step=world.standing.id).outcome == "waits"
            ramping.approve(world.context, "ana", "go on")
        assert world.take(step=world.standing.id).outcome == "taken"
        assert world.share == share
        world.go(90)
    assert [bool(step.approved_by) for step in store_steps(world)] == persons[:3]
    actors = [m.actor for m in world.store.history(RAMPED.key) if "ramp_taken" in (m.detail or {})]
    assert actors == ["ana" if person else "ramp" for person in persons[:3]]


def test_an_approval_is_of_one_share_in_one_epoch(world):
    ramping.approve(world.context, "ana", "go on")
    assert world.standing.approver == "ana"
    steps = msgspec.structs.replace(RAMP, steps=(0.1, 0.5))
    object.__setattr__(world.context, "guard", msgspec.structs.replace(RAMPED, ramp=steps))
    assert world.standing.approver is None and world.kinds == ["approval"], "1 % was approved, 10 % was not"
    rearm(world.context, "ana", "release 13")
    assert world.standing.approver is None


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ana", " ")], ids=["nobody", "no reason"])
def test_a_person_says_who_and_why(world, actor, reason):
    for ask in (ramping.approve, ramping.begin):
        with pytest.raises(Refused, match="kept in the guard's history"):
            ask(world.context, actor, reason)


def test_a_guard_that_writes_nothing_raises_nothing(tmp_path, monkeypatch, store):
    world = ramped(tmp_path, monkeypatch, store)
    object.__setattr__(world.context, "guard", msgspec.structs.replace(RAMPED, dry_run=True))
    with pytest.raises(Refused, match="dry_run = true"):
        world.take()


def test_another_guard_of_the_flag_has_to_be_armed_and_well_too(tmp_path, monkeypatch, store):
    other = msgspec.structs.replace(GUARD, conversion="signup_completed")
    settings = settings_for(tmp_path, RAMPED, other)
    flagd = Flagd(settings.flags_path)
    flagd.create(GUARD.flag, GUARD.environment, 0.0)
    world = RampWorld(monkeypatch, settings, store, flagd)
    world.arm()
    with pytest.raises(Refused, match="signup_completed:production of the same flag is DISARMED"):
        world.take()


def test_a_planted_loss_at_25_percent_is_rolled_back_and_the_ramp_ends(world):
    world.climb(to=0.25, minutes=90)
    assert world.lose().outcome == "rolled_back"
    assert world.share == 0.0 and world.context.row.state == "ROLLED_BACK"
    record = world.store.rollback(episode_id(RAMPED.key, 1))
    assert record.verified and record.estimate == pytest.approx(0.5, abs=0.15)
    assert from_json(record.bundle).guard.conversion == "payment_completed"
    assert world.kinds[0] == "ended"
    with pytest.raises(Refused, match="the guard is ROLLED_BACK, so its ramp is over; `gtm guard rearm"):
        world.take()
    rearm(world.context, "ana", "fixed in release 13")
    assert (world.standing.next_share, world.standing.number) == (0.01, 1)
    assert world.take().outcome == "taken" and world.share == 0.01


def test_a_step_taken_during_a_loss_is_no_change_by_somebody(world):
    world.climb(to=0.05, minutes=90)
    world.go(3, factor=0.3)
    # Not seen yet: the step is taken while the loss goes on, and the rollback must not take it for a person's change.
    assert world.take().outcome == "taken" and world.share == 0.25
    world.go(15, factor=0.3)
    claimed = claim(world.context, episode_id(RAMPED.key, 1), 1, world.clock)
    assert claimed.outcome == "claimed", claimed


def test_each_step_is_known_to_the_detector_as_a_planned_share(world):
    world.climb(to=0.25, minutes=90)
    assert [share for _, share in world.store.shares(RAMPED.key)] == [0.01, 0.05, 0.25]
    taken = [step.taken_us for step in store_steps(world)]
    assert [since for since, _ in world.store.shares(RAMPED.key)] == taken
    evaluation = evaluate(world.store, world.context.settings, world.context.guard, world.context.row, world.clock)
    assert evaluation.verdict.srm_log_e < 5, "the split is the planned one at each step"


def test_the_same_units_stay_treated_while_a_flagd_file_is_ramped(world):
    units = [f"user-{n}" for n in range(2000)]
    treated: set[str] = set()
    for share in STEPS:
        world.context.writer.set_share(GUARD.flag, GUARD.environment, share)
        served = world.context.writer.evaluate(GUARD.flag, GUARD.environment, units)
        now = {unit for unit, on in zip(units, served, strict=True) if on}
        assert treated <= now and len(now) == pytest.approx(share * len(units), abs=45)
        treated = now


def test_a_ramp_waits_for_each_further_metric_too(tmp_path, monkeypatch, store):
    metrics = (
        GuardMetric("errors", "error", "churn_flagged"),
        GuardMetric("revenue", "value", "payment_completed", value="amount", cap=200.0),
    )
    world = ramped(tmp_path, monkeypatch, store, metrics, auto=True)
    assert world.take(step=world.standing.id).outcome == "taken"
    world.go(240)
    texts = [wait.text for wait in world.standing.waits]
    assert world.kinds == ["power", "power"] and [power.metric for power in world.standing.powers] == [
        "conversion",
        "errors",
    ]
    assert texts[0].startswith("a rise of 50% of errors cannot be seen at 1 %") and "metric_loss.errors" in texts[0]
    assert "nothing to compare at 1 % yet" in texts[1] and "no revenue of the control" in texts[1]
