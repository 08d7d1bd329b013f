"""`triggers.yaml`: every error at once, each with its line, rule, field, what is allowed and the nearest names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trigger_cases import R1, rules, us

from gtm_dagster.taxonomy import load_plan
from gtm_dagster.triggers.event_lines import read_event_lines
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action
from gtm_dagster.triggers.rule_changes import rule_changes
from gtm_dagster.triggers.rules_file import TriggerError, load_rules, parse_rules

EXAMPLES = Path(__file__).parents[2] / "examples" / "triggers" / "triggers.yaml"
DO = "purpose: service\n    do: {webhook: w}"
ON = "on: trial_started"


def problems(body: str, name: str = "r") -> list[str]:
    with pytest.raises(TriggerError) as error:
        parse_rules(f"rules:\n  {name}:\n    {body}\n", load_plan())
    return [problem.removeprefix("triggers.yaml ") for problem in error.value.problems]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (f"on: trial_startd\n    {DO}", "line 3: rule r, on: 'trial_startd' is not an event of the packaged plan; did you mean trial_started"),
        (f"{ON}\n    absent: {{event: onboarding_done, within: 1h}}\n    {DO}", "line 4: rule r, absent.event: 'onboarding_done' is not an event of"),
        (f"{ON}\n    absent: {{event: Trial Started, within: 1h}}\n    {DO}", "line 4: rule r, absent.event: Trial Started starts this rule and ends it at once"),
        (f"{ON}\n    absent: {{event: page_viewed, within: 24}}\n    {DO}", "line 4: rule r, absent.within: 24 is not a duration such as 90s, 30m, 24h or 7d"),
        (f"{ON}\n    absent: {{event: page_viewed, within: 500d}}\n    {DO}", "line 4: rule r, absent.within: 500d is longer than 400d"),
        (f"{ON}\n    expires: 1m\n    absent: {{event: page_viewed, within: 1h}}\n    {DO}", "line 5: rule r, absent.grace: 2m is not below expires (1m)"),
        (f"{ON}\n    count: {{n: 1, within: 5m}}\n    {DO}", "line 4: rule r, count.n: 1 is not a whole number from 2 to 500"),
        (f"{ON}\n    absent: {{event: page_viewed, within: 1h}}\n    count: {{n: 2, within: 5m}}\n    {DO}", "line 5: rule r, count: absent and count exclude each other"),
        (f"{ON}\n    cancel: [page_viewed]\n    {DO}", "line 4: rule r, cancel: there is no such key; known here: on, do, purpose"),
        (f"{ON}\n    {DO}\n    key: cart_id", "line 6: rule r, key: trial_started has no property 'cart_id'"),
        (f"{ON}\n    {DO}\n    where: {{properties.plan: {{in: [3]}}}}", "line 6: rule r, where.properties.plan.in: 3 is not a string"),
        (f"{ON}\n    {DO}\n    where: {{properties.plann: {{in: [pro]}}}}", "line 6: rule r, where.properties.plann: trial_started has no property 'plann'; did you mean plan?"),
        (f"{ON}\n    {DO}\n    where: {{plan: {{in: [pro]}}}}", "line 6: rule r, where.plan: 'plan' is not a path of trial_started; did you mean properties.plan"),
        (f"{ON}\n    {DO}\n    where: {{properties.plan: {{max: 3}}}}", "line 6: rule r, where.properties.plan.max: needs a number, the property is a string"),
        (f"{ON}\n    {DO}\n    where: {{properties.plan: {{}}}}", "line 6: rule r, where.properties.plan: says nothing; give in, not_in, min, max or present"),
        (f"on: pricing_viewed\n    {DO}\n    where: {{properties.billing_period: {{in: [weekly]}}}}", "line 6: rule r, where.properties.billing_period.in: 'weekly' is never sent; allowed: month, year"),
        (f"on: demo_requested\n    {DO}\n    where: {{properties.email: {{in: [a]}}}}", "line 6: rule r, where.properties.email: email of demo_requested is personal and lands as a pseudonym"),
        (f"{ON}\n    purpose: marketin\n    do: {{webhook: w}}", "line 4: rule r, purpose: 'marketin' is not a purpose; did you mean marketing?"),
        (f"{ON}\n    purpose: service\n    do: {{webhook: w, email: a}}", "line 5: rule r, do: give one channel of email, webhook, slack, in_app; 2 are given"),
        (f"{ON}\n    {DO}\n    cap: {{channel: email, n: 1, per: 1d}}", "line 6: rule r, cap.channel: email is not the channel of this rule; give webhook"),
        (f"{ON}\n    {DO}\n    quiet: {{from: 21:00, to: \"08:00\", zone: UTC}}", "line 6: rule r, quiet.from: 1260 is not a time of day such as \"21:00\"; quote it"),
        (f"{ON}\n    {DO}\n    quiet: {{from: \"21:00\", to: \"21:00\", zone: UTC}}", "line 6: rule r, quiet.to: 21:00 is from as well"),
        (f"{ON}\n    {DO}\n    quiet: {{from: \"21:00\", to: \"08:00\"}}", "line 6: rule r, quiet.default_zone: is missing"),
        (f"{ON}\n    {DO}\n    quiet: {{from: \"21:00\", to: \"08:00\", zone: Europe/Berln}}", "line 6: rule r, quiet.zone: 'Europe/Berln' is not a time zone; give an IANA name such as Europe/Berlin; did you mean Europe/Berlin"),
        (f"{ON}\n    {DO}\n    holdout: 1.0", "line 6: rule r, holdout: 1.0 is not a share from 0 to below 1"),
        (f"{ON}\n    {DO}\n    holdout: 0.99999", "line 6: rule r, holdout: 0.99999 is read in steps of 0.0001"),
        (f"{ON}\n    {DO}\n    expires: \"5m\\n\"", "line 6: rule r, expires: '5m\\n' is not a duration"),
        (f"{ON}\n    {DO}\n    priority: {'9' * 5000}", "line 1: a value is none ("),
        (f"{ON}\n    {DO}\n    where: {'[' * 5000}{']' * 5000}", "line 1: nested too deeply"),
        (f"{ON}\n    {DO}\n    priority: 101", "line 6: rule r, priority: 101 is not a whole number from 0 to 100"),
        (f"{ON}\n    {DO}\n    on: page_viewed", "line 6: 'on' is declared twice; keep one"),
        (f"{DO}", "line 2: rule r: on is missing"),
    ],
)  # fmt: skip
def test_an_error_says_where_it_is_and_the_way_out(body: str, problem: str) -> None:
    assert any(each.startswith(problem) for each in problems(body)), problems(body)


def test_a_name_of_a_rule_is_an_identifier() -> None:
    assert problems(f"{ON}\n    {DO}", "My-Rule") == [
        "line 2: rule My-Rule: use lower case letters, digits and _ for the name, at most 64"
    ]


def test_all_errors_come_at_once_also_behind_a_wrong_type() -> None:
    assert len(problems("on: trial_startd\n    purpose: nothing\n    do: {webhook: w}\n    priority: high")) == 3


def test_the_examples_fit_the_packaged_plan_and_show_every_kind() -> None:
    found = load_rules(EXAMPLES, load_plan())
    assert [rule.name for rule in found] == [
        "checkout_in_app", "churn_risk", "onboarding_email", "pricing_sales_alert", "trial_expiry",
    ]  # fmt: skip
    assert {rule.channel for rule in found} == {"email", "in_app", "slack", "webhook"}
    assert {rule.kind for rule in found} == {"absent", "count", "event"}


@pytest.mark.parametrize(
    ("started", "cancelled", "sent", "expected"),
    [
        ("trial_started", "checkout_started", ("Trial Started",), 1),
        ("Trial Started", "checkout_started", ("trial_started",), 1),
        ("trial_started", "checkout_started", ("Trial Started", "begin_checkout"), 0),
        ("Trial Started", "begin_checkout", ("trial_started", "Checkout Started"), 0),
    ],
    ids=["sent by the old name", "the rule has the old name", "ended by the old name", "the rule has old names, another is sent"],
)  # fmt: skip
def test_a_rule_and_a_sender_may_each_use_a_name_that_the_plan_replaced(
    tmp_path: Path, started: str, cancelled: str, sent: tuple[str, ...], expected: int
) -> None:
    (rule,) = rules(
        f"\n  r: {{on: {started}, absent: {{event: {cancelled}, within: 1h}}, {DO.replace(chr(10) + '    ', ', ')}}}\n"
    )
    assert (rule.on, rule.absent_event) == ("trial_started", "checkout_started")
    assert rule.expires_us == us("12-02 00:00") - us("00:00")
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(line(name, f"2026-12-01T10:0{n}:00Z") for n, name in enumerate(sent)))
    runner = MemoryRunner([rule])
    for event in read_event_lines(file, load_plan()):  # judged as at the door
        runner.receive(event)
    runner.finish()
    assert len([each for each in runner.outcomes if isinstance(each.what, Action)]) == expected


def line(name: str, timestamp: str) -> str:
    """An event with what the plan wants of it."""
    sent = {
        "event_id": name,
        "event_name": name,
        "timestamp": timestamp,
        "user_id": "ana",
        "properties": {"plan": "pro"},
    }
    return json.dumps(sent | {"context": {"source": None, "medium": None, "device_type": "web"}})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (R1, R1, ["unchanged"]),
        (R1, R1.replace("onboarding_nudge.md.j2", "other.j2"), ["kept"]),
        (R1, R1.replace("24h", "48h"), ["rebased"]),
        (R1, R1.replace("24h", "48h") + "    on_change: drain\n", ["drained"]),
        (R1, R1.replace("24h", "48h") + "    on_change: cancel\n", ["cancelled"]),
        (R1, R1.replace("onboarding_completed", "payment_completed") + "    on_change: drain\n", ["cancelled"]),
        (R1, R1.replace("onboarding_completed", "payment_completed"), ["cancelled"]),
        (R1, R1.replace("onboarding_nudge:", "renamed:"), ["gone", "new"]),
    ],
    ids=[
        "nothing",
        "another text",
        "another time",
        "another time, drained",
        "another time, cancelled",
        "another end, drained",
        "another end",
        "a new name",
    ],
)
def test_what_an_edit_does_to_what_is_open(before: str, after: str, expected: list[str]) -> None:
    changes = rule_changes(rules(before), rules(after), {"onboarding_nudge": 1})
    assert [change.effect for change in changes] == expected
    assert [change.open for change in changes] == [1, 0][: len(expected)]
