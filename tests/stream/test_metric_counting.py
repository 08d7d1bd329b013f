"""Several metrics a guard: what is counted of each, in any order, live as in a backtest; and segments, which are shown alone."""

from __future__ import annotations

import random

import msgspec
import pytest
from stream_cases import DAY, HOUR, KEY, MINUTE, NOON, WINDOW, C, Deployment, T, exposure, record

from gtm_dagster.opsstore import metric_tables
from gtm_dagster.rollout.control.evaluation import counts_of
from gtm_dagster.rollout.control.past_counts import read_past_counts
from gtm_dagster.rollout.guard.counts import EXPOSURES, SLOT_US
from gtm_dagster.rollout.guard.mean_evidence import LEVELS
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import Guard, GuardMetric, Settings
from gtm_dagster.stream.guard_pruning import GuardPruning

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


def failed(unit, at_us, **fields):
    return record("checkout_failed", at_us, unit, **fields)


def timed(unit, at_us, seconds, **fields):
    return record("page_timed", at_us, unit, {"seconds": seconds}, **fields)


def paid(unit, at_us, amount, **fields):
    return record("payment_completed", at_us, unit, {"amount": amount, "currency": "EUR"}, **fields)


def linked(u, at):
    names = {"anonymous_id": f"{u}-a"}
    return [
        exposure(None, T, at, **names),
        record("user_identified", at, u, **names),
        failed(u, at + MINUTE),
        paid(u, at + MINUTE, 50, **names),
    ]


CASES = [
    (lambda u, at: [failed(u, at + MINUTE)], {"errors": (0, T, 4)}, "an error by its age"),
    (lambda u, at: [failed(u, at + MINUTE), failed(u, at + 2 * MINUTE)], {"errors": (0, T, 4)}, "a unit fails once"),
    (lambda u, at: [failed(u, at - 1)], {}, "before its exposure"),
    (lambda u, at: [failed(u, at + WINDOW)], {"errors": (0, T, 39)}, "at the end of the window"),
    (lambda u, at: [failed(u, at + WINDOW + 1)], {}, "after it"),
    (lambda u, at: [failed(f"not-{u}", at + MINUTE)], {}, "of nobody exposed"),
    (lambda u, at: [failed(u, at + MINUTE, write_key="web", key_role="client")], {}, "a client key is not believed"),
    (lambda u, at: [timed(u, at + MINUTE, 2.5), timed(u, at, 1.0)], {"slow": (0, T, 4)}, "over the limit"),
    (lambda u, at: [timed(u, at + MINUTE, 2.0)], {}, "exactly the limit is not over it"),
    (lambda u, at: [timed(u, at, "fast"), timed(u, at, True)], {}, "no number"),
    (lambda u, at: [paid(u, at + MINUTE, 50)], {"revenue": (0, T, LEVELS // 4)}, "a quarter of the cap"),
    (lambda u, at: [paid(u, at, 50), paid(u, at + MINUTE, 25)], {"revenue": (0, T, 3 * LEVELS // 8)}, "payments add up"),
    (lambda u, at: [paid(u, at, 150), paid(u, at + MINUTE, 150)], {"revenue": (0, T, LEVELS)}, "up to the cap"),
    (lambda u, at: [paid(u, at, -5)], {}, "less than nothing is nothing"),
    (lambda u, at: [exposure(u, C, at - MINUTE), failed(u, at + MINUTE)], {"errors": (-4, C, 8)}, "an earlier exposure moves it"),
    (linked, {"errors": (0, T, 4), "revenue": (0, T, LEVELS // 4)}, "by a link, and a payment of both ids once"),
]  # fmt: skip


def all_cases():
    """Records of all cases, each an hour after the one before, and the outcomes they come to by metric."""
    records, expected = [], {metric.name: [] for metric in GUARD.metrics}
    for number, (events, outcomes, _) in enumerate(CASES):
        at = NOON + (number + 1) * HOUR
        records += events(f"u{number}", at) + ([] if events is linked else [exposure(f"u{number}", T, at)])
        for metric, (slots, arm, age) in outcomes.items():
            expected[metric].append((at // SLOT_US + slots, arm, age, 1))
    return [msgspec.structs.replace(each, received_us=NOON + 18 * HOUR) for each in records], expected


def outcomes(deployment, watermark_us=NOON + DAY):
    counts = counts_of(deployment.store, KEY, 1, watermark_us, RULE)
    shown = {name: counts.of_metric(name).rows() for name in counts.metrics}
    return {name: [list(row) for row in rows if row[2] != EXPOSURES] for name, rows in shown.items()}


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Two deployments that counted all cases in other orders and batches, one of them a second time."""
    found = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("counted")
        records, _ = all_cases()
        random.Random(seed).shuffle(records)
        deployment = Deployment(folder, GUARD)
        deployment.count(records, batch=7 * seed)
        if seed == 2:
            deployment.rewind({"stream": 0, f"guard:{KEY}": 0})
            deployment.count(batch=5)
        found.append((folder, deployment))
    yield found
    for _, deployment in found:
        deployment.close()


@pytest.mark.parametrize("which", [0, 1], ids=["shuffled", "shuffled, and counted twice"])
@pytest.mark.parametrize("metric", ["errors", "slow", "revenue"])
def test_what_is_counted_of_each_metric(counted, which, metric):
    _, expected = all_cases()
    assert [tuple(row) for row in outcomes(counted[which][1])[metric]] == sorted(expected[metric])


def test_a_backtest_counts_the_same(counted):
    folder, deployment = counted[0]
    settings = msgspec.structs.replace(Settings(), state_dir=folder)
    past = read_past_counts(settings, GUARD.flag, GUARD.conversion, 10, rule=RULE)
    live = counts_of(deployment.store, KEY, 1, NOON + DAY, RULE).to_json()
    assert {**past.counts.to_json(), "watermark_us": 0} == {**live, "watermark_us": 0}


def test_an_outcome_is_known_when_it_happens_and_a_value_when_its_window_is_over(tmp_path):
    here = Deployment(tmp_path, GUARD)
    here.count([exposure("u", T, NOON), failed("u", NOON + MINUTE), paid("u", NOON + MINUTE, 50)])
    known = [
        {name for name, rows in outcomes(here, NOON + minutes * MINUTE).items() if rows} for minutes in (1, 2, 10, 11)
    ]
    assert known == [set(), {"errors"}, {"errors"}, {"errors", "revenue"}]
    here.close()


def test_metrics_are_counted_as_the_guard_was_armed_and_bounded(tmp_path):
    here = Deployment(tmp_path, GUARD)
    days = 12
    for day in range(days):
        at = NOON + day * DAY
        here.append([exposure(f"u{day}", T, at), failed(f"u{day}", at + MINUTE), paid(f"u{day}", at + MINUTE, 50)])
    here.count()
    with here.store.transaction() as con:
        GuardPruning(here.store).after_batch(con, GUARD, [(1, NOON)], NOON + days * DAY, [KEY])
    with here.store.reading() as con:
        events = con.execute(metric_tables.guard_metric_events.select()).all()
        cells = con.execute(metric_tables.guard_metric_counts.select()).all()
    assert {row.unit for row in events} == {"u11"}, "events are kept as long as their units"
    assert len(cells) == 2 * 8, "and cells as long as a cohort is evaluated, and a day"
    assert [n for *_, n in outcomes(here, NOON + days * DAY)["errors"]] == [1] * 7
    again = msgspec.structs.replace(GUARD, metrics=GUARD.metrics[:1])
    other = Deployment(tmp_path, again, armed_us=None)
    other.arm(NOON + (days + 1) * DAY)
    other.count()
    with other.store.reading() as con:
        left = con.execute(metric_tables.guard_metric_counts.select()).all()
    assert {row.metric for row in left} == {"errors"}, "other metrics are another rule: all is counted anew"
    other.close()
    here.close()


def test_segments_are_counted_in_any_order_and_bounded(tmp_path):
    numbers = []
    for seed in (1, 2):
        here = Deployment(tmp_path / str(seed), GUARD)
        records = [
            exposure("a", T, NOON, country="DE", device_type="web"),
            exposure("a", T, NOON + MINUTE, country="FR", device_type="web"),
            exposure("b", T, NOON, country="de", device_type="mobile"),
            exposure("c", C, NOON),
            *(exposure(f"x{n}", C, NOON, country=f"land {n}", device_type="web") for n in range(40)),
            paid("a", NOON + MINUTE, 5),
        ]
        random.Random(seed).shuffle(records)
        here.count(records, batch=6)
        numbers.append(here.store.segments(KEY, 1))
        here.close()
    assert numbers[0] == numbers[1]
    assert numbers[0] == [
        ("country", "(other)", C, 40, 0),
        ("country", "(unknown)", C, 1, 0),
        ("country", "DE", T, 2, 1),
        ("device", "(unknown)", C, 1, 0),
        ("device", "mobile", T, 1, 0),
        ("device", "web", C, 40, 0),
        ("device", "web", T, 1, 1),
    ]
