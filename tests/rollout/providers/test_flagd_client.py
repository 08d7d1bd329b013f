"""Scenario 31: a running client that watches the file, as openfeature-provider-flagd does it, sees the rollback."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from gtm_dagster.rollout.providers.flagd import Flagd, set_split

FLAG = "checkout-v2"
POLL_SECONDS = 0.1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    set_split(path, FLAG, 1.0)
    return path


@pytest.fixture
def client(path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[FlagdProvider]:
    caplog.set_level(logging.CRITICAL, logger="openfeature.contrib")
    # The watcher sleeps `deadline_ms` between two looks at the file.
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE,
        offline_flag_source_path=str(path),
        deadline_ms=int(POLL_SECONDS * 1_000),
    )
    provider.initialize(EvaluationContext())
    yield provider
    provider.shutdown()


def new_flow(client: FlagdProvider) -> bool:
    return client.resolve_boolean_details(FLAG, False, EvaluationContext(targeting_key="u1")).value


def seconds_until(condition: Callable[[], bool], limit: float) -> float:
    began, pause = time.monotonic(), Event()
    while not condition():
        assert time.monotonic() - began < limit, f"not within {limit} s"
        pause.wait(0.005)
    return time.monotonic() - began


def several_polls(condition: Callable[[], bool]) -> bool:
    """Whether it holds all the while; long enough for the watcher to have looked several times."""
    until, pause = time.monotonic() + 5 * POLL_SECONDS, Event()
    while time.monotonic() < until:
        if not condition():
            return False
        pause.wait(0.01)
    return True


def turn_off(path: Path) -> None:
    Flagd(path).turn_off(FLAG, "production", comment="", expected=None)


def test_a_running_client_sees_the_rollback_within_a_second(
    path: Path, client: FlagdProvider, tell: Callable[[str], None]
) -> None:
    assert new_flow(client)
    began = time.monotonic()
    turn_off(path)
    written = time.monotonic() - began
    seen = seconds_until(lambda: not new_flow(client), 1.0)
    tell(f"off written in {written * 1000:.1f} ms, seen by the client {seen * 1000:.0f} ms later")
    assert written + seen <= 1.0


def test_a_client_with_default_settings_sees_it_within_a_second_too(path: Path, tell: Callable[[str], None]) -> None:
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    provider.initialize(EvaluationContext())
    try:
        assert new_flow(provider)
        turn_off(path)
        seen = seconds_until(lambda: not new_flow(provider), 1.0)
        tell(f"seen by a client with default settings after {seen * 1000:.0f} ms")
    finally:
        provider.shutdown()


def test_an_older_mtime_is_ignored_by_clients_and_cured_by_turning_off(path: Path, client: FlagdProvider) -> None:
    loaded = path.stat().st_mtime_ns
    document = json.loads(path.read_text())
    document["flags"][FLAG] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    path.write_text(json.dumps(document))
    os.utime(path, ns=(loaded - 10**9, loaded - 10**9))
    assert Flagd(path).evaluate(FLAG, "production", ["u1"]) == [False], "off on disk"
    assert several_polls(lambda: new_flow(client)), "and yet the running client serves the new flow"
    turn_off(path)
    seconds_until(lambda: not new_flow(client), 1.0)


@pytest.mark.parametrize("clock_ahead_s", [0, 86_400], ids=["clock right", "file from a clock a day ahead"])
def test_the_rollback_is_newer_than_what_the_client_loaded(path: Path, clock_ahead_s: int) -> None:
    ahead = time.time_ns() + clock_ahead_s * 10**9
    os.utime(path, ns=(ahead, ahead))
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=int(POLL_SECONDS * 1_000)
    )
    provider.initialize(EvaluationContext())
    try:
        assert new_flow(provider)
        turn_off(path)
        seconds_until(lambda: not new_flow(provider), 1.0)
    finally:
        provider.shutdown()


@pytest.mark.parametrize("broken", [b'{"flags": {"checkout', None], ids=["torn", "deleted"])
def test_a_broken_file_keeps_the_new_flow_until_it_is_restored(
    path: Path, client: FlagdProvider, broken: bytes | None
) -> None:
    good = path.read_bytes()
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken)
    assert several_polls(lambda: new_flow(client)), "clients keep what they loaded last"
    path.write_bytes(good)
    turn_off(path)
    seconds_until(lambda: not new_flow(client), 1.0)


def test_many_changes_in_a_row_end_in_the_last_one(path: Path, client: FlagdProvider) -> None:
    for _ in range(5):
        set_split(path, FLAG, 1.0)
        turn_off(path)
    seconds_until(lambda: not new_flow(client), 1.0)
    assert several_polls(lambda: not new_flow(client))
