"""The gate over the real flagd provider in file mode: shares, stickiness, flips, torn and missing files."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gate_doubles import FLAG, Recorder, eventually, patient, split_flags, write
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

from gtm_dagster.rollout import RolloutController


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The watcher logs a traceback at every look at a torn file."""
    logger = logging.getLogger("openfeature.contrib")
    logger.disabled = True
    yield
    logger.disabled = False


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    write(path, split_flags())
    return path


@contextmanager
def gate_over(flags: Path, tracker: Recorder, **options: Any) -> Iterator[RolloutController]:
    # The file watcher sleeps its `deadline_ms` between looks.
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(flags), deadline_ms=20)
    with patient(provider, tracker, **options) as gate:
        yield gate


def served(gate: RolloutController, units: range = range(40)) -> list[bool]:
    return [gate.is_feature_enabled(f"user-{n}", FLAG) for n in units]


def test_half_of_the_units_are_treated_and_stay_so(flags: Path) -> None:
    units = range(20_000)
    tracker = Recorder()
    with gate_over(flags, tracker) as gate:
        first = served(gate, units)
    assert 0.49 <= sum(first) / len(first) <= 0.51
    with gate_over(flags, Recorder()) as gate:  # another process would say the same
        assert served(gate, range(0, 20_000, 20)) == first[::20]
    assert len(tracker.events) == 20_000
    assert set(tracker.emitted()) == {("treatment", "SPLIT", 3), ("control", "SPLIT", 3)}


def test_a_larger_share_moves_nobody_out_of_the_treatment(flags: Path) -> None:
    tracker = Recorder()
    with gate_over(flags, tracker) as gate:
        before = served(gate)
        write(flags, split_flags(90))
        eventually(lambda: sum(served(gate)) > sum(before))
        after = served(gate)
    assert all(late for early, late in zip(before, after, strict=True) if early)
    assert len(tracker.events) == 40, "the same epoch: whose exposure was emitted is not emitted again"


def test_turned_off_is_static_and_a_new_epoch_is_emitted_again(flags: Path) -> None:
    tracker = Recorder()
    with gate_over(flags, tracker) as gate:
        assert any(served(gate))
        off = split_flags()
        del off["flags"][FLAG]["targeting"]
        write(flags, off)
        eventually(lambda: not any(served(gate)))
        write(flags, split_flags(epoch=4))
        eventually(lambda: any(served(gate)))
        served(gate)
    reasons = [(reason, epoch) for _, reason, epoch in tracker.emitted()]
    assert [reasons.count(each) for each in (("SPLIT", 3), ("STATIC", 3), ("SPLIT", 4))] == [40, 40, 40]


def test_disabled_is_the_old_flow(flags: Path) -> None:
    document = split_flags(100)
    document["flags"][FLAG]["state"] = "DISABLED"
    write(flags, document)
    with gate_over(flags, Recorder()) as gate:
        assert not any(served(gate))
        assert gate.stats().answers == {"STATIC": 40}


@pytest.mark.parametrize("break_it", [lambda p: write(p, '{"flags": {"check'), Path.unlink], ids=["torn", "deleted"])
def test_a_broken_file_is_served_until_the_staleness_limit(flags: Path, break_it: Any) -> None:
    write(flags, split_flags(100))
    tracker = Recorder()
    with gate_over(flags, tracker, staleness_seconds=0.5) as gate:
        assert all(served(gate))
        newest = flags.stat().st_mtime
        broken = time.monotonic()
        break_it(flags)
        eventually(lambda: not any(served(gate)))
        assert time.monotonic() - broken >= 0.5, "within the limit the last good file is served"
        assert gate.stats().stale
        write(flags, split_flags(100), newer_than=newest + 1)
        eventually(lambda: all(served(gate)))
    reasons = [reason for _, reason, _ in tracker.emitted()]
    assert (reasons.count("SPLIT"), reasons.count("STALE")) == (40, 40)


def test_no_file_at_the_start_is_the_old_flow_until_there_is_one(tmp_path: Path) -> None:
    flags = tmp_path / "flags.json"
    with gate_over(flags, Recorder()) as gate:
        assert not any(served(gate))
        assert gate.stats().answers == {"STALE": 40}
        write(flags, split_flags(100))
        eventually(lambda: all(served(gate)))


def test_a_flag_that_is_no_boolean_is_the_old_flow(flags: Path) -> None:
    document = split_flags(100)
    document["flags"][FLAG]["variants"] = {"on": "true", "off": "false"}
    write(flags, document)
    with gate_over(flags, Recorder()) as gate:
        assert not any(served(gate))
