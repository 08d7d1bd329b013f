"""What ends a thread elsewhere ends no request, and nobody is treated whom no guard could count (GD-22, GD-23)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gate_doubles import FLAG, Recorder, Says, eventually, on, patient

from gtm_dagster.gate import controller as gate
from gtm_dagster.gate.identity import FirstPartyIdentity, Unit, Visitor
from gtm_dagster.rollout import RolloutController
from gtm_dagster.taxonomy.envelope import ID_LIMITS
from gtm_dagster.tracking import GtmTracker


class EndsThreads(BaseException):
    """As those of greenlets and test runners: no Exception, and not SystemExit either."""


ENDS: list[BaseException] = [SystemExit(3), EndsThreads("now"), GeneratorExit()]


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


class Fails:
    """An identity or a tracker that raises."""

    def __init__(self, error: BaseException) -> None:
        self.unit = self.track = raising(error)


@pytest.mark.parametrize("error", [*ENDS, KeyboardInterrupt()], ids=repr)
def test_gd_22_what_a_provider_raises_in_its_thread_ends_no_request(error: BaseException) -> None:
    tracker = Recorder()
    with patient(Says(raising(error)), tracker) as asked:
        assert asked.is_feature_enabled("u1", FLAG) is False
        assert asked.stats().answers == {"ERROR": 1}
    assert tracker.emitted() == [("control", "ERROR", 0)]


@pytest.mark.parametrize("error", ENDS, ids=repr)
def test_gd_22_nor_what_the_identity_raises(error: BaseException) -> None:
    with patient(Says(lambda flag, key: on()), Recorder(), identity=Fails(error)) as asked:
        assert asked.is_feature_enabled("u1", FLAG) is False
        assert asked.stats().answers == {"ERROR": 1}


@pytest.mark.parametrize("error", ENDS, ids=repr)
def test_gd_22_nor_what_the_tracker_raises(error: BaseException) -> None:
    with patient(Says(lambda flag, key: on()), Fails(error)) as asked:
        assert asked.is_feature_enabled("u1", FLAG) is True
        assert (asked.stats().untracked, asked.stats().emitted) == (1, 0)


@pytest.mark.parametrize("error", ENDS, ids=repr)
def test_gd_22_nor_what_the_hook_of_the_last_fetch_raises(error: BaseException) -> None:
    with patient(Says(lambda flag, key: on()), Recorder(), synced_at=raising(error)) as asked:
        assert asked.is_feature_enabled("u1", FLAG) is False
        assert asked.stats().answers == {"STALE": 1}


@pytest.mark.parametrize("part", ["identity", "tracker"])
def test_gd_22_a_keyboard_interrupt_of_the_callers_own_thread_passes(part: str) -> None:
    fails = Fails(KeyboardInterrupt())
    options: dict[str, Any] = {"identity": fails} if part == "identity" else {}
    tracker: Any = fails if part == "tracker" else Recorder()
    with (
        RolloutController(Says(lambda flag, key: on()), tracker, **options) as asked,
        pytest.raises(KeyboardInterrupt),
    ):
        asked.is_feature_enabled("u1", FLAG)


def test_gd_22_a_probe_that_raises_anything_is_an_answer_of_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAUSE", 0.01)
    ends = [SystemExit()] * 5
    provider = Says(lambda flag, key: raising(ends.pop())() if ends else on())
    with patient(provider, Recorder()) as asked:
        eventually(lambda: asked.is_feature_enabled("u1", FLAG))
        assert not ends and not asked.stats().breaker_open


LIMIT = ID_LIMITS["user_id"]
IDS = [
    ("the longest the plan takes", "u" * LIMIT, True),
    ("one more", "u" * (LIMIT + 1), False),
    ("longest, of several bytes each", "ü" * LIMIT, True),
    ("a word for nothing", "undefined", False),
    ("half a surrogate pair, which no JSON carries", "u\ud800", False),
]


@pytest.mark.parametrize("anonymous", [False, True], ids=["user id", "anonymous id"])
@pytest.mark.parametrize(("key", "served"), [case[1:] for case in IDS], ids=[case[0] for case in IDS])
def test_gd_23_nobody_is_treated_whom_no_guard_counts(key: str, served: bool, anonymous: bool) -> None:
    """The plan itself is the judge: what is served is what the SDK takes."""
    sdk = GtmTracker("http://127.0.0.1:9", "k")
    try:
        taken = True
        sdk.track(
            "flag_exposed",
            **{"anonymous_id" if anonymous else "user_id": key},
            properties={"flag": FLAG, "variant": "treatment", "served": "treatment", "reason": "SPLIT", "epoch": 1},
        )  # fmt: skip
    except ValueError:
        taken = False
    finally:
        sdk.close(timeout=0)
    tracker, provider = Recorder(), Says(lambda flag, key: on())
    more: dict[str, Any] = {"identity": FirstPartyIdentity()} if anonymous else {}
    with patient(provider, tracker, **more) as asked:
        assert asked.is_feature_enabled(key, FLAG) is served is taken
        assert asked.stats().answers == ({"SPLIT": 1} if served else {"ERROR": 1})
    assert (len(tracker.events), provider.asked) == ((1, 1) if served else (0, 0))


def test_gd_23_an_identity_of_the_product_gives_no_longer_id_either() -> None:
    class Long:
        def unit(self, visitor: str | Visitor) -> Unit:
            return Unit("x" * 5_000)

    with patient(Says(lambda flag, key: on()), Recorder(), identity=Long()) as asked:
        assert asked.is_feature_enabled("u1", FLAG) is False


def test_gd_23_the_memory_keeps_a_hash_of_a_long_id() -> None:
    tracker, long = Recorder(), [f"{n:0200d}" for n in range(3)]
    with patient(Says(lambda flag, key: on()), tracker) as asked:
        for key in (*long, *long, "short"):
            assert asked.is_feature_enabled(key, FLAG)
        assert [event["user_id"] for event in tracker.events] == [*long, "short"], "each once"
        remembered = asked._exposures._young
        assert len(remembered) == 4
        assert max(len(part) for key in remembered for part in key if isinstance(part, str | bytes)) <= 16
