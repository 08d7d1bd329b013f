"""GD-18: conversions are counted within the window a guard was armed with, whatever gtm.toml says meanwhile."""

from __future__ import annotations

from pathlib import Path

import msgspec
from stream_cases import GUARD, MINUTE, NOON, Deployment, T, cell, conversion, exposure

from gtm_dagster.rollout.control.armed_rule import to_store
from gtm_dagster.settings import Settings

SHORT = msgspec.structs.replace(GUARD, conversion_window_minutes=2)
BY_THE_LONG, BY_THE_SHORT = [cell(NOON, T), cell(NOON, T, 5 * MINUTE)], [cell(NOON, T)]


def arm(here: Deployment, since_us: int, guard=GUARD) -> None:
    here.store.ensure(guard.key, guard.flag, guard.conversion, guard.environment)
    version, rule = here.store.guard(guard.key).version, to_store(Settings(guards=(guard,)), guard)
    assert here.store.new_epoch(
        guard.key, version, since_us, actor="a", reason="r", fingerprint=None, at_us=since_us, rule=rule
    )


def test_gd_18_another_window_in_the_settings_waits_for_the_next_arming(tmp_path: Path, caplog) -> None:
    here = Deployment(tmp_path, armed_us=None)
    arm(here, NOON - MINUTE)
    assert here.count([exposure("u", T, NOON), conversion("u", NOON + 5 * MINUTE)]) == BY_THE_LONG
    here.guards = (SHORT,)
    assert here.count() == BY_THE_LONG
    assert "another conversion window" not in caplog.text
    arm(here, NOON - MINUTE + 1, SHORT)
    assert here.count() == BY_THE_SHORT
    assert "another conversion window" in caplog.text
    here.close()


def test_gd_18_a_worker_that_runs_takes_the_window_of_the_arming_not_of_its_own_settings(tmp_path: Path) -> None:
    here = Deployment(tmp_path, armed_us=None)
    arm(here, NOON - MINUTE)
    here.append([exposure("u", T, NOON), conversion("u", NOON + 5 * MINUTE)])
    worker = here.worker()
    worker.once()
    arm(here, NOON - MINUTE + 1, SHORT)
    worker.once()
    assert here.counts() == BY_THE_SHORT
    here.close()
