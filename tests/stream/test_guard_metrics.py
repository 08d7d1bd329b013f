"""Several metrics a guard: what is counted of each, in any order, live as in a backtest, and which one decides."""

from __future__ import annotations

import itertools
import random

import pytest
from stream_cases import DAY, HOUR, KEY, MINUTE, NOON, WINDOW, C, Deployment, T, exposure, record

from gtm_dagster.rollout.control.evaluation import counts_of
from gtm_dagster.rollout.guard.counts import EXPOSURES
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.rollout.guard.metric_values import LEVELS
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import Guard, GuardMetric

GUARD = Guard(
    "checkout",
    "payment_completed",
    conversion_window_minutes=10,
    metrics=(
        GuardMetric("errors", "error", "checkout_failed"),
        GuardMetric("slow", "value", "page_timed", value="seconds", limit=2.0),
        GuardMetric("revenue", "value", "payment_completed", value="amount", cap=200.0),
    ),
)
RULE = Rule.of(GUARD)
SLOT = NOON // SLOT_US


@pytest.fixture
def here(tmp_path):
    with_metrics = Deployment(tmp_path, GUARD)
    yield with_metrics
    with_metrics.close()


def failed(unit, at_us, **fields):
    return record("checkout_failed", at_us, unit, **fields)


def timed(unit, at_us, seconds, **fields):
    return record("page_timed", at_us, unit, {"seconds": seconds}, **fields)


def paid(unit, at_us, amount, **fields):
    return record("payment_completed", at_us, unit, {"amount": amount, "currency": "EUR"}, **fields)


def outcomes(deployment, watermark_us=NOON + DAY):
    counts = counts_of(deployment.store, KEY, 1, watermark_us, RULE)
    found = {name: [row for row in counts.of_metric(name).rows() if row[2] != EXPOSURES] for name in counts.metrics}
    return {name: rows for name, rows in found.items() if rows}


SHOWN = exposure("u", T, NOON)
CASES = [
    ([SHOWN, failed("u", NOON + MINUTE)], {"errors": [(SLOT, T, 4, 1)]}, "an error by its age"),
    ([SHOWN, failed("u", NOON + MINUTE), failed("u", NOON + 2 * MINUTE)], {"errors": [(SLOT, T, 4, 1)]}, "a unit fails once"),
    ([SHOWN, failed("u", NOON - 1)], {}, "before its exposure"),
    ([SHOWN, failed("u", NOON + WINDOW)], {"errors": [(SLOT, T, 39, 1)]}, "at the end of the window"),
    ([SHOWN, failed("u", NOON + WINDOW + 1)], {}, "after it"),
    ([SHOWN, failed("v", NOON + MINUTE)], {}, "of nobody exposed"),
    ([SHOWN, failed("u", NOON + MINUTE, write_key="web", key_role="client")], {}, "a client key is not believed"),
    ([SHOWN, timed("u", NOON + MINUTE, 2.5), timed("u", NOON, 1.0)], {"slow": [(SLOT, T, 4, 1)]}, "over the limit"),
    ([SHOWN, timed("u", NOON + MINUTE, 2.0)], {}, "exactly the limit is not over it"),
    ([SHOWN, timed("u", NOON + MINUTE, "fast"), timed("u", NOON, True)], {}, "no number"),
    ([SHOWN, paid("u", NOON + MINUTE, 50)], {"revenue": [(SLOT, T, LEVELS // 4, 1)]}, "a quarter of the cap"),
    ([SHOWN, paid("u", NOON, 50), paid("u", NOON + MINUTE, 25)], {"revenue": [(SLOT, T, 3 * LEVELS // 8, 1)]}, "payments add up"),
    ([SHOWN, paid("u", NOON, 150), paid("u", NOON + MINUTE, 150)], {"revenue": [(SLOT, T, LEVELS, 1)]}, "up to the cap"),
    ([SHOWN, paid("u", NOON, -5)], {}, "less than nothing is nothing"),
    ([SHOWN, exposure("u", C, NOON - MINUTE), failed("u", NOON + MINUTE)], {"errors": [(SLOT - 4, C, 8, 1)]}, "an earlier exposure moves it"),
    ([exposure(None, T, NOON, anonymous_id="a"), record("user_identified", NOON, "u", anonymous_id="a"), failed("u", NOON + MINUTE), paid("u", NOON + MINUTE, 50, anonymous_id="a")], {"errors": [(SLOT, T, 4, 1)], "revenue": [(SLOT, T, LEVELS // 4, 1)]}, "by a link, and a payment of both ids once"),
]  # fmt: skip


@pytest.mark.parametrize(("records", "expected", "reason"), CASES, ids=[row[-1] for row in CASES])
def test_what_is_counted_of_each_metric_in_any_order(here, tmp_path, records, expected, reason):

    orders = list(itertools.permutations(records))
    for number, order in enumerate(random.Random(2).sample(orders, min(3, len(orders)))):
        other = Deployment(tmp_path / str(number), GUARD, armed_us=NOON - HOUR)
        for each in order:
            other.count([each])
        assert outcomes(other) == expected, reason
        other.close()
