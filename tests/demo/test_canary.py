"""The drill: synthetic visitors through gate, collector, worker, sensor and run, until the flag is off."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from gtm_dagster.collector.address import announced
from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.definitions import build_defs
from gtm_dagster.demo.canary import DrillError, _pipeline, _write_key, run_drill
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.guard_tick import guard_once
from gtm_dagster.rollout.providers.flagd import set_split
from gtm_dagster.settings import DRILL_FLAG, FlagProvider, Guard, Settings


def tick(settings: Settings) -> None:
    guard_once(settings, build_defs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_planted_drop_is_found_and_the_flag_is_off_twice_over(tmp_path: Path) -> None:
    """The second drill follows at once: what the first counted is no evidence in it."""
    settings = Settings(state_dir=tmp_path / ".gtm")
    keys = KeyStore(settings.keys_dir)
    results = [run_drill(settings, tick, per_minute=150, seed=1)]
    keys.add("site")  # from now on `dev` opens nothing
    results.append(run_drill(settings, tick, per_minute=150, seed=2))
    assert [key.name for key in keys.list()] == ["site"]
    for one in results:
        assert one.verified and one.served_new_after == 0
        assert 5.0 <= one.detected_after_minutes <= 20.0
        assert one.estimate >= 0.15, (
            "no rollback below the threshold; arms differ by key, and some visitors were before the drop"
        )
        assert one.requested_seconds <= one.off_seconds <= one.verified_seconds <= one.seconds
    assert results[0].episode != results[1].episode
    flags = json.loads(settings.flags_path.read_text())["flags"]
    assert flags[DRILL_FLAG]["defaultVariant"] == "off" and not flags[DRILL_FLAG].get("targeting")
    with OpsStore.of(settings) as store:
        (guard,) = store.guards()
        assert (guard.state, guard.epoch) == ("ROLLED_BACK", 2) and store.check_chain(guard.guard)
        exposed = sum(n for _, _, age, n in store.counts(guard.guard, 2) if age < 0)
        assert exposed <= results[1].visitors
    log = SqliteEventLog(settings.log_path)
    try:
        verdicts = {record.verdict for record in log.read_records(0)[0]}
    finally:
        log.close()
    assert verdicts == {"suppressed"}, "no table ever holds a drill's event"


def test_the_drill_brings_a_key_where_dev_opens_nothing(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path, allow_dev=True)
    with _write_key(keys) as secret:
        assert secret == "dev" and keys.list() == ()
    keys.add("site")
    keys.add("guard-drill-0badc0de")  # of a drill that was killed
    with _write_key(keys) as secret:
        assert keys.find(secret) and keys.name_of(secret) != "guard-drill-0badc0de"
        assert len(keys.list()) == 2
    assert [key.name for key in keys.list()] == ["site"]


def test_a_running_deployment_gets_the_drill_at_its_own_collectors_address(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    with announced(tmp_path, "http://127.0.0.1:45678"), _pipeline(settings, running=True) as endpoint:
        assert endpoint == "http://127.0.0.1:45678"
    with pytest.raises(DrillError, match=r"no collector whose events it counts: start `gtm collect`"):
        with _pipeline(settings, running=True):
            pass


def test_a_drill_needs_a_flag_it_may_switch_on(tmp_path: Path) -> None:
    settings = Settings(
        state_dir=tmp_path,
        providers=(FlagProvider("u", "unleash", url="http://127.0.0.1:9"),),
        guards=(Guard(DRILL_FLAG, "guard_drill_converted", provider="u"),),
    )
    with pytest.raises(DrillError, match="needs its flag in a flag file, and guard-drill is at unleash"):
        run_drill(settings, tick)


def test_a_flag_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(Settings(), state_dir=tmp_path)
    set_split(settings.flags_path, "other", 0.5)
    settings.flags_path.write_text("{")
    with pytest.raises(DrillError, match=r"flags\.json"):
        run_drill(settings, tick)
