"""The gate's answers and what it tells: cases in, variant and exposure out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gate_doubles import FLAG, Recorder, Says, off, on, patient
from openfeature import api
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, FlagNotFoundError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from gtm_dagster.gate.answers import FALLBACKS
from gtm_dagster.gate.breaker import Breaker
from gtm_dagster.gate.exposures import Exposures
from gtm_dagster.gate.identity import FirstPartyIdentity, Unit, Visitor
from gtm_dagster.gate.memory import INTERRUPTED, FlagMemory
from gtm_dagster.rollout import RolloutController
from gtm_dagster.taxonomy import EventValidator, Rejected, load_plan

ANSWERS = [
    ("a split, treated", on(), True, ("treatment", "SPLIT", 0)),
    ("a split, control", off(), False, ("control", "SPLIT", 0)),
    ("flagd's word for a split", on(Reason.TARGETING_MATCH), True, ("treatment", "SPLIT", 0)),
    ("GO Feature Flag's word for a split", off("TARGETING_MATCH_SPLIT"), False, ("control", "SPLIT", 0)),
    ("on for everybody", on(Reason.STATIC), True, ("treatment", "STATIC", 0)),
    ("rolled back", off(Reason.DEFAULT), False, ("control", "STATIC", 0)),
    ("disabled: the default comes back", off(Reason.DISABLED), False, ("control", "STATIC", 0)),
    ("from the provider's cache", on(Reason.CACHED), True, ("treatment", "STATIC", 0)),
    ("no reason given", on(None), True, ("treatment", "STATIC", 0)),
    ("epoch in the metadata", on(flag_metadata={"epoch": 4}), True, ("treatment", "SPLIT", 4)),
    ("epoch as JSON's number", on(flag_metadata={"epoch": 4.0}), True, ("treatment", "SPLIT", 4)),
    ("epoch as text", on(flag_metadata={"epoch": "4"}), True, ("treatment", "SPLIT", 4)),
    ("no epoch: a text", on(flag_metadata={"epoch": "new"}), True, ("treatment", "SPLIT", 0)),
    ("no epoch: a truth value", on(flag_metadata={"epoch": True}), True, ("treatment", "SPLIT", 0)),
    ("no epoch: below zero", on(flag_metadata={"epoch": -1}), True, ("treatment", "SPLIT", 0)),
    ("no epoch: infinite", on(flag_metadata={"epoch": float("inf")}), True, ("treatment", "SPLIT", 0)),
    ("no metadata at all", SimpleNamespace(value=True, reason="SPLIT"), True, ("treatment", "SPLIT", 0)),
    ("raises: no such flag", FlagNotFoundError("gone"), False, ("control", "ERROR", 0)),
    ("raises anything", RuntimeError("broken"), False, ("control", "ERROR", 0)),
    ("an error code beside a True", on(error_code=ErrorCode.GENERAL), False, ("control", "ERROR", 0)),
    ("reason ERROR beside a True", on(Reason.ERROR), False, ("control", "ERROR", 0)),
    ("a text is no boolean", FlagResolutionDetails("true", reason=Reason.SPLIT), False, ("control", "ERROR", 0)),
    ("one is no boolean", FlagResolutionDetails(1, reason=Reason.SPLIT), False, ("control", "ERROR", 0)),
    ("nothing", FlagResolutionDetails(None, reason=Reason.SPLIT), False, ("control", "ERROR", 0)),
    ("no details", None, False, ("control", "ERROR", 0)),
]


@pytest.mark.parametrize(("details", "answer", "exposure"), [case[1:] for case in ANSWERS], ids=[c[0] for c in ANSWERS])
def test_an_answer_and_its_exposure(details: Any, answer: bool, exposure: tuple[str, str, int]) -> None:
    tracker = Recorder()
    with patient(Says(lambda flag, key: details), tracker) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is answer
        assert tracker.emitted() == [exposure]
        assert gate.stats().answers == {exposure[1]: 1}


def memory(clock: Callable[[], float] = time.monotonic) -> FlagMemory:
    return FlagMemory(Breaker(3, lambda: 4.0), clock)


@pytest.mark.parametrize("reason", ["SPLIT", "STATIC", *FALLBACKS])
def test_the_exposure_passes_the_tracking_plan(reason: str) -> None:
    tracker = Recorder()
    Exposures(tracker, 10).note(FLAG, memory(), Unit("u1"), reason, True)
    (event,) = tracker.events
    judged = {"event_id": "e1", "timestamp": "2026-11-24T12:00:00Z", **event}
    assert not isinstance(EventValidator(load_plan()).validate(judged), Rejected)


def sent(details: Any) -> dict[str, Any]:
    tracker = Recorder()
    with patient(Says(lambda flag, key: details), tracker) as gate:
        gate.is_feature_enabled("u1", FLAG)
    (event,) = tracker.events
    assert event == {"event_name": "flag_exposed", "user_id": "u1", "properties": event["properties"]}
    return event["properties"]


def test_what_is_emitted() -> None:
    assert sent(on(flag_metadata={"epoch": 2})) == {
        "flag": FLAG, "variant": "treatment", "served": "treatment", "reason": "SPLIT", "epoch": 2,
    }  # fmt: skip


def test_gate_checkout_asks_for_the_flag_of_the_checkout() -> None:
    asked: list[tuple[str, str]] = []
    provider = Says(lambda flag, key: asked.append((flag, key)) or on())
    with patient(provider, Recorder(), checkout_flag="pay-fast") as gate:
        assert gate.gate_checkout("u1") is True
    assert asked == [("pay-fast", "u1")]


NOBODY = [("", FLAG), (" ", FLAG), (None, FLAG), (17, FLAG), (b"u1", FLAG), (Visitor(), FLAG), ("u1", ""), ("u1", None)]


@pytest.mark.parametrize(("user", "flag"), NOBODY, ids=repr)
def test_a_call_that_names_nobody_or_nothing_is_the_old_flow_and_counted(user: Any, flag: Any) -> None:
    tracker = Recorder()
    provider = Says(lambda flag, key: on())
    with patient(provider, tracker) as gate:
        assert gate.is_feature_enabled(user, flag) is False
        assert (gate.stats().answers, gate.stats().fallbacks) == ({"ERROR": 1}, 1)
    assert (tracker.events, provider.asked) == ([], 0)


def test_an_identity_that_fails_is_the_old_flow() -> None:
    class Fails:
        def unit(self, visitor: str | Visitor) -> None:
            raise KeyError("session")

    with patient(Says(lambda flag, key: on()), Recorder(), identity=Fails()) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is False
        assert gate.stats().answers == {"ERROR": 1}


def test_an_anonymous_unit_is_emitted_as_anonymous() -> None:
    tracker = Recorder()
    with patient(Says(lambda flag, key: on()), tracker, identity=FirstPartyIdentity()) as gate:
        assert gate.is_feature_enabled(Visitor(user_id="u1", first_party_id="c9"), FLAG)
    assert [(e.get("user_id"), e.get("anonymous_id")) for e in tracker.events] == [(None, "c9")]


WRONG = [
    ("deadline of nothing", {"deadline_ms": 0}, "deadline_ms=0"),
    ("staleness of nothing", {"staleness_seconds": 0}, "staleness_seconds=0"),
    ("staleness that is no number", {"staleness_seconds": float("nan")}, "staleness_seconds=nan"),
    ("negative start", {"start_seconds": -1}, "start_seconds=-1"),
    ("no memory", {"remember": 0}, "remember=0"),
    ("checkout flag without a name", {"checkout_flag": ""}, "checkout_flag=''"),
    ("a text for a collection", {"split_reasons": "SPLIT"}, "split_reasons='SPLIT'"),
    ("no tracker", {"tracker": None}, "tracker=None"),
    ("no provider", {"provider": None}, "provider=None"),
    ("a function that makes no provider", {"provider": object}, "resolve_boolean_details"),
]


@pytest.mark.parametrize(("wrong", "named"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_arguments_are_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RolloutController(**{"provider": Says(lambda flag, key: on()), "tracker": Recorder(), **wrong})


def test_there_is_no_default_to_choose() -> None:
    with pytest.raises(TypeError):
        RolloutController(Says(lambda flag, key: on()), Recorder(), default=True)  # type: ignore[call-arg]
    with patient(Says(lambda flag, key: on()), Recorder()) as gate, pytest.raises(TypeError):
        gate.is_feature_enabled("u1", FLAG, True)  # type: ignore[call-arg]


def test_each_exposure_is_emitted_once_under_many_threads() -> None:
    tracker = Recorder()
    together = threading.Barrier(8)
    with patient(Says(lambda flag, key: on()), tracker) as gate:

        def visit() -> None:
            together.wait()
            for n in range(200):
                gate.is_feature_enabled(f"u{n}", FLAG)

        threads = [threading.Thread(target=visit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert gate.stats().answers == {"SPLIT": 1600}
        assert gate.stats().emitted == 200
    assert sorted(e["user_id"] for e in tracker.events) == sorted(f"u{n}" for n in range(200))


def test_a_static_answer_does_not_hide_the_split_that_follows() -> None:
    answers = iter([on(Reason.STATIC), on(Reason.STATIC), off(), on(), off()])
    tracker = Recorder()
    with patient(Says(lambda flag, key: next(answers)), tracker) as gate:
        for _ in range(5):
            gate.is_feature_enabled("u1", FLAG)
    # the assignment changed twice within the epoch: the first one counts, nothing more is emitted
    assert tracker.emitted() == [("treatment", "STATIC", 0), ("control", "SPLIT", 0)]


def test_a_new_epoch_emits_again_and_fallbacks_carry_the_last_one() -> None:
    answers = iter([on(flag_metadata={"epoch": 1}), on(flag_metadata={"epoch": 2}), RuntimeError(), RuntimeError()])
    tracker = Recorder()
    with patient(Says(lambda flag, key: next(answers)), tracker) as gate:
        for _ in range(4):
            gate.is_feature_enabled("u1", FLAG)
    assert tracker.emitted() == [("treatment", "SPLIT", 1), ("treatment", "SPLIT", 2), ("control", "ERROR", 2)]


RUNS = [
    ("never off", "split split", None, 0),
    ("off and on again", "split off wait split", None, 1),
    ("killed and spared again", "split kill wait split", None, 1),
    ("twice", "split off wait split off wait split", None, 2),
    ("off before it was ever on", "off wait split", None, 0),
    ("some units by a rule, all the time", "split off split off split", None, 0),
    ("the epoch says it", "split off wait split", {"epoch": 1}, 0),
]


@pytest.mark.parametrize(("steps", "metadata", "run"), [case[1:] for case in RUNS], ids=[case[0] for case in RUNS])
def test_a_split_that_comes_back_is_a_new_one_where_no_epoch_is_given(steps: str, metadata: Any, run: int) -> None:
    now = [0.0]
    flag = memory(lambda: now[0])
    for step in steps.split():
        now[0] += INTERRUPTED + 1 if step == "wait" else 0.1
        {
            "split": lambda: flag.split(metadata),
            "off": lambda: flag.static(metadata),
            "kill": flag.killed,
            "wait": lambda: None,
        }[step]()
    assert flag.run == run


def test_the_memory_of_exposures_is_bounded_and_keeps_who_comes_often() -> None:
    tracker = Recorder()
    with patient(Says(lambda flag, key: on()), tracker, remember=10) as gate:
        for n in range(100):
            gate.is_feature_enabled(f"u{n}", FLAG)
            gate.is_feature_enabled("often", FLAG)
        gate.is_feature_enabled("u0", FLAG)
    names = [e["user_id"] for e in tracker.events]
    assert (names.count("often"), names.count("u0")) == (1, 2)


@pytest.mark.parametrize(
    ("error", "emitted"), [(RuntimeError("closed"), 1), (ValueError("breaks the plan"), 0)], ids=["later", "never"]
)
def test_a_tracker_that_fails_changes_no_answer(error: Exception, emitted: int) -> None:
    tracker = Recorder(error=error)
    with patient(Says(lambda flag, key: on()), tracker) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is True
        assert (gate.stats().untracked, gate.stats().emitted) == (1, 0)
        tracker.error = None
        assert gate.is_feature_enabled("u1", FLAG) is True
    assert len(tracker.events) == emitted  # what the plan refuses is not tried again


def test_split_reasons_are_the_providers_own_words() -> None:
    tracker = Recorder()
    provider = Says(lambda flag, key: on("FALLTHROUGH"))
    with patient(provider, tracker, split_reasons={"FALLTHROUGH", "RULE_MATCH"}) as gate:
        gate.is_feature_enabled("u1", FLAG)
    assert tracker.emitted() == [("treatment", "SPLIT", 0)]


def test_after_close_the_answer_is_the_old_flow() -> None:
    gate = RolloutController(Says(lambda flag, key: on()), Recorder())
    gate.close()
    gate.close()
    assert gate.is_feature_enabled("u1", FLAG) is False
    assert gate.stats().answers == {"ERROR": 1}


class Eventful(AbstractProvider):
    """Says on, and emits what the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = self.ended = 0

    def initialize(self, evaluation_context: Any) -> None:
        self.begun += 1

    def shutdown(self) -> None:
        self.ended += 1

    def get_metadata(self) -> Metadata:
        return Metadata("eventful")

    def resolve_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: Any = None) -> Any:
        return on()

    resolve_string_details = resolve_integer_details = resolve_float_details = resolve_object_details = None  # type: ignore[assignment]


EVENTS = ProviderEventDetails()
FATAL = ProviderEventDetails(error_code=ErrorCode.PROVIDER_FATAL)
STALENESS = [
    ("healthy", lambda p: None, True),
    ("stale just now: within the limit", lambda p: p.emit_provider_stale(EVENTS), True),
    ("failed just now: within the limit", lambda p: p.emit_provider_error(EVENTS), True),
    ("fatal: at once", lambda p: p.emit_provider_error(FATAL), False),
    ("fatal, then ready", lambda p: (p.emit_provider_error(FATAL), p.emit_provider_ready(EVENTS)), True),
    ("fatal, then changed", lambda p: (p.emit_provider_error(FATAL), p.emit_provider_configuration_changed(EVENTS)), True),
]  # fmt: skip


@pytest.mark.parametrize(("emit", "served"), [case[1:] for case in STALENESS], ids=[case[0] for case in STALENESS])
def test_provider_events_decide_staleness(emit: Any, served: bool) -> None:
    provider, tracker = Eventful(), Recorder()
    with patient(provider, tracker) as gate:
        emit(provider)
        assert gate.is_feature_enabled("u1", FLAG) is served
        assert [reason for _, reason, _ in tracker.emitted()] == ["SPLIT" if served else "STALE"]
    assert (provider.begun, provider.ended) == (1, 1)


@pytest.mark.parametrize(
    ("age", "served"),
    [(0.0, True), (50.0, True), (61.0, False), (-61.0, False), (None, False)],
    ids=["now", "within", "too old", "in the future", "never"],
)
def test_the_time_of_the_last_fetch_decides_staleness(age: float | None, served: bool) -> None:
    synced = None if age is None else time.time() - age
    tracker = Recorder()
    with patient(Says(lambda flag, key: on()), tracker, synced_at=lambda: synced) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is served
        assert gate.stats().stale is not served


def test_a_hook_that_fails_tells_nothing() -> None:
    def hook() -> float:
        raise OSError("no disk")

    with patient(Says(lambda flag, key: on()), Recorder(), synced_at=hook) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is False
        assert gate.stats().answers == {"STALE": 1}


def test_a_provider_that_does_not_start_is_the_old_flow_until_it_is_ready() -> None:
    class Fails(Eventful):
        def initialize(self, evaluation_context: Any) -> None:
            raise ConnectionError("no server")

    provider = Fails()
    with patient(provider, Recorder()) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is False
        assert gate.stats().answers == {"STALE": 1}
        provider.emit_provider_ready(EVENTS)
        assert gate.is_feature_enabled("u1", FLAG) is True


def test_a_registered_provider_stays_the_apis() -> None:
    provider = Eventful()
    heard = threading.Event()
    try:
        api.set_provider_and_wait(provider)
        api.add_handler(ProviderEvent.PROVIDER_STALE, lambda details: heard.set())
        with patient(provider, Recorder()) as gate:
            assert gate.is_feature_enabled("u1", FLAG) is True
            provider.emit_provider_stale(EVENTS)
            assert heard.wait(5)
        assert (provider.begun, provider.ended) == (1, 0)
    finally:
        api.shutdown()
        api.clear_providers()
    assert provider.ended >= 1


def test_openfeatures_own_provider_and_its_hooks() -> None:
    flags = {FLAG: InMemoryFlag("on", {"on": True, "off": False}, flag_metadata={"epoch": 6})}
    tracker = Recorder()
    with patient(InMemoryProvider(flags), tracker) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is True
        assert gate.is_feature_enabled("u1", "other") is False
    assert tracker.emitted() == [("treatment", "STATIC", 6), ("control", "ERROR", 0)]
