"""The gate over a provider that hangs, fails and heals: deadline, breaker, bounded threads, fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from gate_doubles import FLAG, Hangs, Recorder, Says, eventually, off, on, patient
from lateness import Lateness

from gtm_dagster.gate import controller as gate
from gtm_dagster.gate.breaker import Breaker, Permit
from gtm_dagster.gate.freshness import Freshness
from gtm_dagster.gate.workers import DeadlineExceeded, Workers
from gtm_dagster.rollout import RolloutController


@pytest.fixture
def hangs() -> Iterator[Hangs]:
    provider = Hangs()
    yield provider
    provider.hung = False
    provider.release.set()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def seconds(ask: RolloutController, user: str) -> float:
    begin = time.monotonic()
    assert ask.is_feature_enabled(user, FLAG) is False
    return time.monotonic() - begin


def test_scenario_21_hung_evaluation_serves_the_old_flow_and_recovers(hangs: Hangs) -> None:
    tracker = Recorder()
    with Lateness() as late, RolloutController(hangs, tracker) as asked:
        took = [seconds(asked, f"u{n}") for n in range(3)]
        assert all(0.19 < each < 1.0 + late.lost for each in took), took
        assert asked.stats().breaker_open
        begin, lost = time.monotonic(), late.lost
        for n in range(100):
            asked.is_feature_enabled(f"v{n}", FLAG)
        assert time.monotonic() - begin < 0.2 + late.lost - lost, "an open breaker asks nobody"
        hangs.hung = False  # the calls that hang go on hanging
        healed = time.monotonic()
        eventually(lambda: asked.is_feature_enabled("w", FLAG))
        assert time.monotonic() - healed <= 5.0 + late.lost
        assert hangs.waiting == asked.stats().stuck >= 3
        assert asked.stats().answers["TIMEOUT"] == 3
    reasons = [reason for _, reason, _ in tracker.emitted()]
    assert (reasons.count("TIMEOUT"), reasons.count("SPLIT")) == (3, 1)
    assert reasons.count("BREAKER") == 101, "once for each unit, however often it asked"


def test_a_hang_under_many_callers_is_bounded_and_heals(hangs: Hangs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAUSE", 0.1)
    with Lateness() as late, RolloutController(hangs, Recorder(), deadline_ms=50) as asked:
        stop = threading.Event()
        longest: list[float] = []

        def visit(name: str) -> None:
            worst = 0.0
            while not stop.is_set():
                begin = time.monotonic()
                asked.is_feature_enabled(name, FLAG)
                worst = max(worst, time.monotonic() - begin)
            longest.append(worst)

        threads = [threading.Thread(target=visit, args=(f"u{n}",)) for n in range(40)]
        for thread in threads:
            thread.start()
        eventually(lambda: asked.stats().breaker_open)
        eventually(lambda: hangs.waiting > 3)
        hangs.hung = False
        eventually(lambda: asked.stats().treated > 100)
        stop.set()
        for thread in threads:
            thread.join()
        assert asked.stats().stuck <= gate.CONCURRENT + gate.STUCK
        assert max(longest) < 1.5 + late.lost


def test_probes_stop_when_too_many_calls_never_come_back(hangs: Hangs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAUSE", 0.0)
    monkeypatch.setattr(gate, "LONG_PAUSE", 0.0)
    monkeypatch.setattr(gate, "STUCK", 6)
    with RolloutController(hangs, Recorder(), deadline_ms=10) as asked:
        for n in range(100):
            asked.is_feature_enabled(f"u{n}", FLAG)
        eventually(lambda: hangs.waiting == 6)
        assert asked.stats().stuck == 6
        hangs.hung = False
        assert asked.is_feature_enabled("u", FLAG) is False, "nobody is left to ask"
        hangs.release.set()
        eventually(lambda: asked.is_feature_enabled("u", FLAG))


def test_errors_of_one_flag_open_its_own_breaker_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAUSE", 0.05)
    broken = {"torn"}
    provider = Says(lambda flag, key: RuntimeError(flag) if flag in broken else on())
    tracker = Recorder()
    with patient(provider, tracker) as asked:
        for _ in range(20):
            assert asked.is_feature_enabled("u1", "torn") is False
            assert asked.is_feature_enabled("u1", FLAG) is True
        assert asked.stats().answers["ERROR"] == 3
        assert not asked.stats().breaker_open
        broken.clear()
        eventually(lambda: asked.is_feature_enabled("u1", "torn"))
    reasons = [reason for _, reason, _ in tracker.emitted()]
    assert reasons == ["ERROR", "SPLIT", "BREAKER", "SPLIT"]


def test_a_late_answer_in_between_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    late = iter([True, True, False] * 4)
    released = threading.Event()
    provider = Says(lambda flag, key: released.wait(5) and off() if next(late) else on())
    with RolloutController(provider, Recorder(), deadline_ms=150) as asked:
        answers = [asked.is_feature_enabled(f"u{n}", FLAG) for n in range(12)]
        released.set()
        assert answers == [False, False, True] * 4
        assert not asked.stats().breaker_open


def test_a_provider_that_hangs_while_starting_delays_nobody_for_long() -> None:
    release = threading.Event()

    class Starts(Says):
        def initialize(self, context: object) -> None:
            release.wait(30)

    begin = time.monotonic()
    with Lateness() as late, RolloutController(Starts(lambda flag, key: on()), Recorder(), start_seconds=0.05) as asked:
        assert asked.is_feature_enabled("u1", FLAG) is False
        assert time.monotonic() - begin < 1.0 + late.lost
        assert asked.stats().answers == {"STALE": 1}
        release.set()
        eventually(lambda: asked.is_feature_enabled("u1", FLAG))


class Threaded(Says):
    """A provider that needs to be started, as one with threads of its own."""

    def __init__(self) -> None:
        super().__init__(lambda flag, key: on())

    def initialize(self, context: object) -> None:
        self.started_in = os.getpid()


FORKS = [
    ("started in the parent: nobody refreshes it", lambda: Threaded(), False),
    ("a function that makes one", lambda: Threaded, True),
    ("nothing to start", lambda: Says(lambda flag, key: on()), True),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("make", "served"), [case[1:] for case in FORKS], ids=[case[0] for case in FORKS])
def test_a_forked_child(make, served: bool) -> None:
    with patient(make(), Recorder()) as asked:
        assert asked.is_feature_enabled("u1", FLAG) is True
        child = os.fork()
        if child == 0:
            end = time.monotonic() + 5
            while not (answer := asked.is_feature_enabled("u2", FLAG)) and time.monotonic() < end and served:
                time.sleep(0.01)
            os._exit(0 if answer is served else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert asked.is_feature_enabled("u3", FLAG) is True


def test_breaker_states() -> None:
    clock = Clock()
    breaker = Breaker(3, lambda: 4.0, clock)
    assert [breaker.failed(), breaker.failed()] == [False, False]
    breaker.succeeded()
    assert [breaker.failed(), breaker.failed(), breaker.failed()] == [False, False, True]
    assert breaker.permit() is Permit.REFUSED
    breaker.succeeded()
    assert breaker.is_open, "an answer that was under way does not close it"
    clock.now += 4
    assert [breaker.permit(), breaker.permit()] == [Permit.PROBE, Permit.REFUSED]
    clock.now += 4
    assert breaker.permit() is Permit.PROBE, "the probe before never came back"
    assert [breaker.probed(), breaker.probed()] == [True, False]
    assert breaker.permit() is Permit.ASK


def test_freshness_over_time() -> None:
    clock = Clock()
    fresh = Freshness(60.0, clock=clock)
    assert fresh.stale(), "never healthy"
    fresh.unhealthy()
    assert fresh.stale(), "still never healthy"
    fresh.healthy()
    clock.now += 1000
    assert not fresh.stale(), "a provider that says nothing is as it was"
    fresh.unhealthy()
    clock.now += 59
    fresh.unhealthy()
    assert not fresh.stale()
    clock.now += 1
    assert fresh.stale(), "since the first sign, not the last"
    fresh.healthy()
    assert not fresh.stale()


def test_workers_reuse_threads_and_hand_errors_on() -> None:
    workers = Workers(2, 4)
    names = {workers.call(lambda: threading.current_thread().name, 1.0) for _ in range(50)}
    assert len(names) == 1
    with pytest.raises(KeyError, match="x"):
        workers.call(lambda: {}["x"], 1.0)
    workers.close()
    with pytest.raises(DeadlineExceeded):
        workers.call(lambda: 1, 1.0)


def test_a_full_pool_is_a_deadline_too() -> None:
    workers, release = Workers(1, 4), threading.Event()
    busy = threading.Thread(target=lambda: workers.call(lambda: release.wait(5), 5.0))
    busy.start()
    eventually(lambda: bool(workers._slots._value == 0))
    with pytest.raises(DeadlineExceeded, match="busy"):
        workers.call(lambda: 1, 0.01)
    release.set()
    busy.join()
    assert workers.call(lambda: 1, 1.0) == 1
    workers.close()
