"""Several metrics a guard: one budget by stakes, the metric that fired is named, and each verdict is replayed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import exp
from pathlib import Path

import msgspec
import numpy as np
import pytest
from metric_cases import GUARD, RULE, drawn

from gtm_dagster.rollout.control.chart import curves
from gtm_dagster.rollout.control.evidence import FORMAT, Evidence, from_json, to_json
from gtm_dagster.rollout.control.metric_sight import hidden_metrics
from gtm_dagster.rollout.control.replay import compare
from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import ARMED, BLIND, BREACH, Signals, decide
from gtm_dagster.rollout.guard.judge import judge, leading, metric_names, metric_trace, page_verdict
from gtm_dagster.rollout.guard.mean_evidence import _factors
from gtm_dagster.rollout.guard.metric_rule import MetricRule, declared, metric_rules
from gtm_dagster.rollout.guard.metric_simulation import MetricFlow, simulate_metrics
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Scenario
from gtm_dagster.rollout.guard.verdict import detect
from gtm_dagster.settings import Guard, GuardMetric

FORMAT_3 = Path(__file__).parents[1] / "formats" / "evidence" / "format-3.json"
"""Evidence of a guard as the version before several metrics wrote it."""
LOSSES = [
    ({}, None, "nothing differs"),
    ({"conversion": 0.6}, "conversion", "fewer convert"),
    ({"error": 4.0}, "errors", "more fail, as many convert"),
    ({"revenue": 0.5}, "revenue", "as many convert, for half of the money"),
    ({"error": 0.2, "revenue": 1.5}, None, "fewer errors and more revenue are no harm"),
]


@pytest.mark.parametrize(("change", "fires", "reason"), LOSSES, ids=[row[-1] for row in LOSSES])
def test_the_metric_that_lost_is_the_one_that_fires(change, fires, reason):
    counts = drawn(1, **change)
    verdict = judge(counts, RULE)
    assert verdict.fires == (fires is not None), reason
    decision = decide(ARMED, verdict, Signals(counts.watermark_us), RULE)
    assert decision.act == verdict.fires
    if fires:
        assert verdict.metric == fires
        assert fires == "conversion" or decision.reason.startswith(f"{fires}: "), "the reason names it"


def test_the_stakes_add_up_to_the_budget_of_the_guard():
    one = Rule.of(msgspec.structs.replace(GUARD, metrics=()))
    level = exp(one.log_budget)
    parts = [RULE.of_metric(name) for name in metric_names(RULE)]
    stakes = [metric.stake for metric in RULE.metrics]
    assert sum(stakes) == pytest.approx(1.0)
    assert [exp(part.log_budget) for part in parts] == pytest.approx([level / stake for stake in stakes])
    assert [part.start_hours for part in parts] == pytest.approx([one.start_hours] * 3)
    assert sum(part.start_risk for part in parts) == pytest.approx(one.start_risk)


def test_a_guard_of_one_metric_is_judged_as_before():
    rule = Rule.of(Guard("f", "p"))
    counts = drawn(1, conversion=0.6)
    assert judge(counts, rule) == detect(counts, rule)
    assert not {"metrics", "page", "figure"} & rule.to_json().keys()
    assert not {"metric", "metrics"} & judge(counts, rule).to_json().keys()


def test_a_rise_is_judged_as_the_loss_of_the_other_arm():
    rise = MetricRule("errors", "share", "e", "up", 0.5, 0.5, 0.5)
    assert rise.drop == pytest.approx(1 / 3), "1.5 times as many is a third fewer of the control"
    assert rise.drop * rise.drop_margin == pytest.approx(0.2), "1.25 times as many is a fifth fewer"
    assert rise.change(1 / 3) == pytest.approx(0.5)
    assert rise.change(1.0) == 99.0, "a control without any has no size of a rise"
    counts = drawn(1, error=4.0)
    verdict = judge(counts, RULE).of_metric("errors")
    (control, treated), failed = counts.exposed_by_arm(), np.bincount(counts.metrics["errors"].arm)
    assert (verdict.control_exposed, verdict.control_converted) == (control, failed[0])
    assert (verdict.treated_exposed, verdict.treated_converted) == (treated, failed[1])
    assert verdict.low < 3.0 < verdict.high, "4 times as many is a rise of 300 %"


def test_what_blinds_the_conversion_blinds_no_other_metric():
    counts = drawn(1, error=4.0, conversion=0.0)
    verdicts = judge(counts, RULE).metrics
    hidden = ("conversion", "revenue")
    for blind, verdict, state, act in (
        ("no ids match", leading(verdicts, without=hidden), BREACH, True),
        ("no ids match", verdicts[0], BLIND, False),
        ("no ids match", verdicts[2], BLIND, False),
        ("", verdicts[0], BREACH, True),
    ):
        decision = decide(ARMED, verdict, Signals(counts.watermark_us, blind=blind, blind_metrics=hidden), RULE)
        assert (decision.state, decision.act) == (state, act)
        assert blind in decision.reason


REFUSED = {"metric errors": 10, "refused metric errors/unknown_event": 30, "exposures": 900}
HIDDEN = [
    ({}, "", [], [], "all is seen"),
    ({}, "no ids match", ["conversion", "revenue"], [], "what hides the conversion hides what is of its event"),
    ({"metric revenue": 15, "refused metric revenue/bad_type": 10}, "", ["revenue"], ["revenue: 40% of the payment_completed of the last hour never counted (10 payment_completed refused (bad_type 10))"], "a fall may be one of the tracking"),
    (REFUSED, "", [], ["errors: 30 subscription_cancelled refused (unknown_event 30)"], "refused errors make no rise, and are said"),
    ({"metric errors": 500}, "", [], ["errors: 500 subscription_cancelled seen, none of an exposed visitor in time"], "errors of others"),
]  # fmt: skip


@pytest.mark.parametrize(("records", "blind", "names", "notes", "reason"), HIDDEN, ids=[row[-1] for row in HIDDEN])
def test_what_hides_a_metric_hides_no_other(records, blind, names, notes, reason):
    counts = replace(drawn(1), metrics={})
    hidden, said = hidden_metrics(RULE, counts, {"": records, "of the last hour": records}, blind)
    assert list(hidden) == names, reason
    assert len(said) == len(notes) and all(line.startswith(start) for line, start in zip(said, notes, strict=True))


def test_the_page_line_proves_what_is_too_small_to_roll_back():
    counts = drawn(3, minutes=300, conversion=0.9, per_minute=200)
    assert not judge(counts, RULE).fires
    page = page_verdict(counts, RULE)
    assert page.fires and page.metric == "conversion"
    assert page_verdict(drawn(3, minutes=300), RULE).fires is False
    assert page_verdict(counts, Rule.of(msgspec.structs.replace(GUARD, page=None))) is None


def test_evidence_of_several_metrics_gives_its_decision_again():
    counts = drawn(1, revenue=0.5)
    verdict = judge(counts, RULE)
    by = (("country", "DE", "control", 40, 9), ("country", "DE", "treatment", 41, 8))
    text = to_json(
        Evidence(GUARD, RULE, counts, verdict, "e", 1, counts.watermark_us, None, reason=verdict.reason, segments=by)
    )
    again = from_json(text)
    assert (again.rule, again.verdict, again.guard, again.segments) == (RULE, verdict, GUARD, by)
    assert compare(again).same
    assert to_json(again) == text
    before = json.loads(text) | {"format": 4}
    outcomes = {name: [row for row in counts.of_metric(name).rows() if row[2] >= 0] for name in counts.metrics}
    before["counts"] = {name: before["counts"][name] for name in ("slot_us", "watermark_us")} | {
        "rows": counts.rows(),
        "metrics": outcomes,
    }
    assert to_json(from_json(json.dumps(before))) == text, "format 4 had a list a cell"
    broken = json.loads(text)
    broken["counts"]["metrics"]["revenue"] = {}
    assert not compare(from_json(json.dumps(broken))).same
    drawing = curves(again.counts, again.rule, verdict.log_budget, metric=verdict.metric)
    assert drawing.log_e.max() >= verdict.log_budget
    assert np.nanmean(drawing.treatment) == pytest.approx(np.nanmean(drawing.control) / 2, rel=0.3), (
        "the mean, not who paid"
    )


def test_evidence_of_an_earlier_format_is_replayed_and_written_again_with_its_cells_in_columns():
    text = FORMAT_3.read_text()
    recorded = from_json(text)
    assert compare(recorded).same and recorded.verdict.fires
    before, after = json.loads(text), json.loads(to_json(recorded))
    assert (before.pop("format"), after.pop("format")) == (3, FORMAT)
    counts, again = before.pop("counts"), after.pop("counts")
    assert {**before, "product_version": ""} == {**after, "product_version": ""}
    assert Counts.from_json(again).to_json() == Counts.from_json(counts).to_json() == again


def test_counts_with_metrics_come_back_from_json():
    counts = drawn(1, minutes=5)
    assert Counts.from_json(counts.to_json()).to_json() == counts.to_json()


def test_a_rule_is_turned_into_the_settings_it_came_from():
    metrics, stake = declared(RULE.metrics)
    guard = msgspec.structs.replace(GUARD, metrics=metrics, conversion_stake=stake)
    assert metric_rules(guard) == RULE.metrics


def test_a_guard_of_two_means_and_a_limit_is_named_by_its_figures():
    guard = Guard("f", "p", metrics=(GuardMetric("slow", "value", "page", value="seconds", limit=2.0, direction="up"), GuardMetric("cost", "value", "p", value="amount", cap=9.0, direction="up", threshold=0.2)))  # fmt: skip
    assert [(m.name, m.figure, m.bad, m.threshold) for m in metric_rules(guard)] == [
        ("conversion", "share", "down", 0.15), ("slow", "share", "up", 0.5), ("cost", "mean", "up", 0.2),
    ]  # fmt: skip


def test_no_unit_takes_all_that_was_won_and_the_expectation_of_a_block_is_at_most_one():
    """E[e] of a block under nulls of every kind, exactly: the factors are linear, so only the means matter."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        units = rng.integers(1, 60, (2, 1)).astype(float)
        c = rng.uniform(0.001, 0.9, 1)
        ratio, share = rng.uniform(0.5, 1.0), rng.choice([0.75, 0.6, 0.25])
        (c0, up), (t0, down) = _factors(units, c * share * ratio, c, ratio, rng.uniform(1e-6, 0.25, 1))
        assert down[0] < 0 < up[0]
        assert 1 + down[0] * (1 - t0[0]) >= 0.2 - 1e-12 and 1 - up[0] * c0[0] >= 0.2 - 1e-12
        control = rng.uniform(0, 1, 400)
        treated = np.minimum(ratio * control * rng.choice([1.0, 1.0, 1.2], 400), 1.0)
        log_e = units[1] * np.log1p(down * (treated - t0)) + units[0] * np.log1p(up * (control - c0))
        assert log_e.max() <= 1e-9


def test_a_metric_alone_acts_when_it_would_have_in_the_guard():
    counts = drawn(1, error=4.0)
    times = {name: metric_trace(counts, RULE, name)[1] for name in metric_names(RULE)}
    assert [name for name, at in times.items() if at is not None] == ["errors"]
    at = times["errors"]
    assert judge(replace(counts, watermark_us=at), RULE).fires
    assert not judge(replace(counts, watermark_us=at - 15_000_000), RULE).fires


def test_no_metric_of_an_unchanged_flow_acts_more_often_than_the_budget_allows():
    """A generous budget, so that few runs would show an excess; the simulation below measures it."""
    guard = msgspec.structs.replace(GUARD, margin=0.0, start_risk=0.2, budget_hours=100.0)
    flows = {"errors": MetricFlow(0.02), "revenue": MetricFlow(0.06, spread=1.5)}
    found = simulate_metrics(Scenario(20, hours=6), Rule.of(guard), flows, 6, 3)
    assert found.rollbacks.share <= 0.5
    assert set(found.metrics) == {"conversion", "errors", "revenue"}


@pytest.mark.simulation
def test_the_budget_holds_for_all_metrics_together():
    guard = msgspec.structs.replace(GUARD, margin=0.0, start_risk=0.2, budget_hours=100.0)
    flows = {"errors": MetricFlow(0.02), "revenue": MetricFlow(0.06, spread=1.5)}
    found = simulate_metrics(Scenario(20, hours=12), Rule.of(guard), flows, 60, 4)
    assert found.rollbacks.share - 3 * found.rollbacks.share_error <= 0.32
    for name, stake in (("conversion", 1 / 3), ("errors", 1 / 3), ("revenue", 1 / 3)):
        each = found.metrics[name]
        assert each.share - 3 * each.share_error <= 0.32 * stake, name


SIMULATED = [
    ("metric: 'slow' is not a further metric of this guard; known: errors, revenue", {"slow": MetricFlow(0.1)}),
    ("metric: errors=1 is not allowed; give its figure as a share of units above 0 and below 1", {"errors": MetricFlow(1.0)}),
    ("metric: revenue=0.2 is not allowed; give its figure as a share of the cap, below 0.9 of the base rate,", {"revenue": MetricFlow(0.2)}),
    ("metric: a change of 60 of errors is not allowed; give 0 to 49", {"errors": MetricFlow(0.02, 60.0)}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "flows"), SIMULATED, ids=["name", "share", "mean", "harm"])
def test_a_flow_that_cannot_be_drawn_is_refused(message, flows):
    with pytest.raises(ValueError, match=re.escape(message)):
        simulate_metrics(Scenario(20, hours=1), RULE, flows, 1, 1)


@pytest.mark.parametrize("name", ["errors", "revenue"])
def test_harm_from_the_second_hour_on_is_seen_after_it_and_by_its_metric(name):
    flows = {"errors": MetricFlow(0.02), "revenue": MetricFlow(0.06)}
    flows[name] = replace(flows[name], harm=4.0 if name == "errors" else 0.8)
    found = simulate_metrics(Scenario(100, hours=3, drop_at_hours=1), RULE, flows, 4, 2)
    assert found.metrics[name].share == 1.0 and found.rollbacks.before_share == 0.0
    assert [other for other, each in found.metrics.items() if each.share] == [name]
