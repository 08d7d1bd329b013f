"""GD-08, GD-10, GD-14: whom a guard waits for, for how long, and how to end it; clocks that are off are said."""

from __future__ import annotations

import msgspec
import pytest
from stream_cases import GUARD, HOUR, KEY, MINUTE, NOON, C, Deployment, T, conversion, exposure

from gtm_dagster.opsstore import ProducerRow
from gtm_dagster.rollout.control.arming import Refused, forget
from gtm_dagster.rollout.control.evaluation import Evaluation, evaluate
from gtm_dagster.settings import DRILL_FLAG, Guard, Settings

OTHER = Guard("pricing", "signup_completed", conversion_window_minutes=10)
SETTINGS = msgspec.structs.replace(Settings(), guards=(GUARD, OTHER))
BEGIN = NOON + HOUR


@pytest.fixture
def here(tmp_path):
    """Two guards: `checkout` is served by the key shop, `pricing` by the key prices. All beat at BEGIN."""
    deployment = Deployment(tmp_path, GUARD, OTHER)
    for key, flag in (("shop", "checkout"), ("prices", "pricing")):
        deployment.append(
            [exposure(f"{key}{n}", (C, T)[n % 2], NOON + n * 1_000_000, flag, write_key=key) for n in range(600)]
        )
    for key, event in (("shop", GUARD.conversion), ("prices", OTHER.conversion)):
        deployment.append(
            [conversion(f"{key}{n}", NOON + MINUTE + n * 1_000_000, event, write_key=key) for n in range(0, 600, 7)]
        )
    for name, key in (("collector", ""), ("shop-1", "shop"), ("prices-1", "prices")):
        deployment.log.beat(name, BEGIN, BEGIN, write_key=key)
    yield deployment
    deployment.close()


def beat(here: Deployment, at_us: int, *producers: tuple[str, str]) -> None:
    for name, key in (("collector", ""), *producers):
        here.log.beat(name, at_us, at_us, write_key=key)


def seen(here: Deployment, now_us: int, guard: Guard = GUARD) -> Evaluation:
    here.worker().once()
    return evaluate(here.store, SETTINGS, guard, here.store.guard(guard.key), now_us)


def test_gd_10_a_vanished_producer_holds_the_guards_it_serves_for_ten_minutes(here):
    for minutes in (1, 2, 3, 9, 10):
        beat(here, BEGIN + minutes * MINUTE, ("prices-1", "prices"))
        now = BEGIN + minutes * MINUTE
        silent = seen(here, now).decision
        assert (silent.state == "BLIND") == (minutes > 2), (minutes, silent.reason)
        assert seen(here, now, OTHER).decision.state != "BLIND", "shop serves another guard"
    assert (
        "no heartbeat for two minutes from shop-1 (waited for at most ten minutes; `gtm guard forget shop-1"
        in silent.reason
    )
    beat(here, BEGIN + 11 * MINUTE, ("prices-1", "prices"))
    after = seen(here, BEGIN + 11 * MINUTE)
    assert after.decision.state == "ARMED" and after.signals.watermark_us == BEGIN + 11 * MINUTE
    assert "shop-1 is silent since 2026-03-01T13:00:00" in after.decision.reason
    assert "`gtm guard forget shop-1` ends this notice" in after.decision.reason
    claimed = evaluate(here.store, SETTINGS, GUARD, here.store.guard(KEY), BEGIN + 11 * MINUTE, BEGIN + 10 * MINUTE)
    assert "shop-1 is silent since" in claimed.decision.reason, "so the record of a rollback says it"
    beat(here, BEGIN + 12 * MINUTE, ("shop-1", "shop"))
    assert "shop-1" not in seen(here, BEGIN + 12 * MINUTE).decision.reason, "it is back"


def test_the_collector_never_vanishes(here):
    for name, key in (("shop-1", "shop"), ("prices-1", "prices")):
        here.log.beat(name, BEGIN + HOUR, BEGIN + HOUR, write_key=key)
    decision = seen(here, BEGIN + HOUR).decision
    assert decision.state == "BLIND" and "collector" in decision.reason and "gtm guard forget" not in decision.reason


@pytest.mark.parametrize(
    ("name", "ts_us", "key", "watermark", "words", "reason"),
    [
        ("zzz", 0, "laptop", BEGIN, "", "an invented producer of a key that serves no guard"),
        ("shop-1", 0, "laptop", BEGIN, "", "the name of another's producer: it is its key's"),
        ("zzz", 0, "shop", BEGIN, "zzz says it has sent only what happened up to 1970", "more than a day behind: said, not waited for"),
        ("zzz", BEGIN - HOUR, "shop", BEGIN - HOUR, "", "an hour behind: what it has not sent may still come"),
        ("drill/checkout", BEGIN + HOUR, "shop", BEGIN, "", "GD-09: no drill but the canary's takes over a clock"),
    ],
    ids=["GD-08", "GD-08 a name", "ts 0", "an hour", "GD-09"],
)  # fmt: skip
def test_gd_08_who_a_clock_waits_for(here, name, ts_us, key, watermark, words, reason):
    here.log.beat(name, ts_us, BEGIN, write_key=key)
    found = seen(here, BEGIN)
    assert found.signals.watermark_us == watermark, reason
    assert words in found.decision.reason if words else name not in found.decision.reason


def test_a_guard_that_has_counted_nothing_waits_for_everybody(here):
    fresh = Guard("fresh", "signup_completed")
    now = BEGIN + 3 * MINUTE
    beat(here, now)
    here.worker().once()
    assert here.store.waiting(fresh.flag, now, here.store.serving_keys(fresh.key)).missing == ("prices-1", "shop-1")


def test_gd_10_forget_ends_the_hold_and_stands_in_the_history(here):
    now = BEGIN + 4 * MINUTE
    beat(here, now, ("prices-1", "prices"))
    assert seen(here, now).decision.state == "BLIND"
    assert forget(here.store, SETTINGS, "shop-1", "ana", "scaled down", now) == (KEY,)
    assert seen(here, now).decision.state == "ARMED"
    moves = {guard.key: here.store.history(guard.key) for guard in (GUARD, OTHER)}
    assert moves[KEY][-1].reason == "scaled down" and moves[KEY][-1].actor == "ana"
    assert moves[KEY][-1].detail == {"forgot": "shop-1", "last_heartbeat_us": BEGIN}
    assert len(moves[OTHER.key]) == 1 and here.store.check_chain(KEY)
    here.log.beat("shop-1", now + 1, now + 1, write_key="shop")
    here.worker().once()
    assert seen(here, now + 3 * MINUTE).signals.missing == ("collector", "shop-1"), "back, so waited for"


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("shop", "gone", "'shop': there is no such producer; known: prices-1, shop-1"),
        ("collector", "gone", "every guard's clock waits for the collector"),
        ("shop-1", " ", "reason: say why"),
    ],
)
def test_what_is_not_forgotten(here, name, reason, words):
    here.worker().once()
    with pytest.raises(Refused, match=words):
        forget(here.store, SETTINGS, name, "ana", reason, BEGIN)


def test_a_forgotten_name_leaves_with_its_producer(here):
    here.worker().once()
    forget(here.store, SETTINGS, "shop-1", "ana", "gone", BEGIN)
    with here.store.transaction() as con:
        here.store.set_producers(con, [ProducerRow("collector", BEGIN, BEGIN)])
        here.store.set_producers(con, [ProducerRow("shop-1", 1, BEGIN)])
    assert [row.name for row in here.store.producers()] == ["shop-1"], "nothing of it is kept"


@pytest.mark.parametrize(
    ("skew_us", "words"),
    [(HOUR, "the clock of shop-1 is 60 minutes behind"), (-2 * MINUTE, "the clock of shop-1 is 2 minutes ahead"),
     (MINUTE // 2, ""), (None, "")],
)  # fmt: skip
def test_gd_14_skew_is_measured_and_shown(here, skew_us, words):
    here.log.beat("shop-1", BEGIN, BEGIN, write_key="shop", skew_us=skew_us)
    found = seen(here, BEGIN)
    assert words in found.decision.reason if words else "clock" not in found.decision.reason
    assert {row.name: row.skew_us for row in here.store.producers()}["shop-1"] == skew_us


def test_gd_14_conversions_before_their_exposure_are_counted_by_arm(here):
    """The treated service's clock is five minutes slow: what it sends is stamped before the exposures of its visitors."""
    units = [(f"t{n}", (C, T)[n % 2], BEGIN + n * 1_000_000) for n in range(200)]
    here.append([exposure(unit, arm, at_us, write_key="shop") for unit, arm, at_us in units])
    late = {C: MINUTE, T: MINUTE - 5 * MINUTE}
    here.append(
        [conversion(unit, at_us + late[arm], write_key="shop") for unit, arm, at_us in units if int(unit[1:]) % 5 < 2]
    )
    here.worker().once()
    assert here.store.early_conversions(KEY, 1, 10 * MINUTE) == {T: 40}
    assert here.store.early_conversions(KEY, 1, MINUTE) == {}, "further back they are another visit's"


def test_what_a_drill_counted_stays_to_be_seen_when_its_producer_has_vanished(tmp_path):
    canary = Guard(DRILL_FLAG, "guard_drill_converted", conversion_window_minutes=10)
    deployment = Deployment(tmp_path, canary)
    deployment.append(
        [exposure(f"d{n}", (C, T)[n % 2], NOON + n * 1_000_000, DRILL_FLAG, write_key="dev") for n in range(600)]
    )
    deployment.log.beat(f"drill/{DRILL_FLAG}", BEGIN, BEGIN, write_key="dev")
    now = BEGIN + 11 * MINUTE
    deployment.log.beat("collector", now, now)
    found = seen(deployment, now, canary)
    deployment.close()
    assert found.signals.watermark_us is None and found.decision.state == "BLIND", "nobody speaks for its events"
    assert found.verdict.control_exposed == found.verdict.treated_exposed == 300
