"""The plan file: what the packaged one declares, and how a wrong one is refused."""

import msgspec
import pytest

from gtm_dagster.taxonomy import PlanError, load_plan
from gtm_dagster.taxonomy.compat import compare
from gtm_dagster.taxonomy.plan import EventSpec, parse_plan
from gtm_dagster.taxonomy.plan_page import to_markdown

EVENTS = (
    "page_viewed campaign_clicked signup_started signup_completed onboarding_started onboarding_completed first_value_reached "
    "feature_used pricing_viewed demo_requested checkout_started trial_started trial_expired payment_completed payment_refunded "
    "subscription_cancelled churn_flagged flag_exposed guard_drill_converted user_identified consent_updated lead_created"
)


def small(properties="{}", *, version="1-0-0", extra="", aliases="{}", more=""):
    return parse_plan(
        f"version: {version}\naliases: {aliases}\nevents:\n"
        f"  clicked: {{description: d, stage: revenue, owner: o, {extra}properties: {properties}}}\n{more}"
    )


def test_packaged_plan_declares_every_event_of_the_design():
    assert list(load_plan().events) == EVENTS.split()


def test_packaged_plan_opens_only_browsing_and_usage_to_undeclared_properties():
    assert {name for name, event in load_plan().events.items() if event.additional} == {"page_viewed", "feature_used"}


def test_alias_resolves_to_its_event_and_unknown_to_none():
    plan = load_plan()
    assert (plan.resolve("page_view"), plan.resolve("page_viewed"), plan.resolve("nope")) == (
        "page_viewed",
        "page_viewed",
        None,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\nevents: {}", "version"),
        ("version: 1-0\nevents: {a: {description: d, stage: revenue, owner: o}}", "MODEL-REVISION-ADDITION"),
        ("version: 1-0-0\nevents: {}", "declare at least one"),
        (
            "version: 1-0-0\nevents:\n  a: {description: d, stage: revenue, owner: o}\n  a: {}",
            "line 4: 'a' is declared twice",
        ),
        ("version: 1-0-0\nevents: {A: {description: d, stage: revenue, owner: o}}", "event 'A'"),
        ("version: 1-0-0\nevents: {a: {description: d, stage: magic, owner: o}}", "magic"),
        ("version: 1-0-0\naliases: {x: y}\nevents: {a: {description: d, stage: revenue, owner: o}}", "alias 'x'"),
        (": [", "not YAML"),
    ],
)
def test_wrong_plan_names_what_is_wrong(text, says):
    with pytest.raises(PlanError, match=r"plan\.yaml") as error:
        parse_plan(text, "plan.yaml")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{type: text}", "text"),
        ("{type: string, minimum: 0}", "need a number"),
        ("{type: number, pattern: x}", "pattern needs a string"),
        ("{type: string, pattern: '('}", "not a regular expression"),
        ("{type: integer, allowed: [1, two]}", "'two' is not a integer"),
        ("{type: string, privacy: free_text, required: true}", "cannot be required"),
        ("{type: string, privacy: personal, max_length: 8}", "pseudonym"),
        ("{type: string, colour: red}", "colour"),
    ],
)
def test_wrong_property_names_event_and_property(rule, says):
    with pytest.raises(PlanError, match="clicked") as error:
        small(f"{{p: {rule}}}")
    assert says in str(error.value) and "p" in str(error.value)


def test_missing_plan_file_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"absent\.yaml"):
        load_plan(tmp_path / "absent.yaml")


def test_fingerprint_follows_the_rules_and_is_stable():
    assert small().fingerprint == small().fingerprint != small("{p: {type: string}}").fingerprint


@pytest.mark.parametrize(
    ("before", "after", "level"),
    [
        ("{}", "{}", "NONE"),
        ("{}", "{p: {type: string}}", "ADDITION"),
        ("{}", "{p: {type: string, required: true}}", "MODEL"),
        ("{p: {type: string}}", "{}", "MODEL"),
        ("{p: {type: integer}}", "{p: {type: number}}", "ADDITION"),
        ("{p: {type: number}}", "{p: {type: integer}}", "MODEL"),
        ("{p: {type: string, allowed: [a]}}", "{p: {type: string, allowed: [a, b]}}", "ADDITION"),
        ("{p: {type: string, allowed: [a, b]}}", "{p: {type: string, allowed: [a]}}", "MODEL"),
        ("{p: {type: string}}", "{p: {type: string, allowed: [a]}}", "MODEL"),
        ("{p: {type: number, minimum: 0}}", "{p: {type: number}}", "ADDITION"),
        ("{p: {type: number, maximum: 9}}", "{p: {type: number, maximum: 8}}", "MODEL"),
        ("{p: {type: string, pattern: a+}}", "{p: {type: string, pattern: 'a{1,}'}}", "REVISION"),
        ("{p: {type: string}}", "{p: {type: string, privacy: sensitive}}", "MODEL"),
    ],
)
def test_compatibility_level(before, after, level):
    assert compare(small(before), small(after)).level == level


@pytest.mark.skipif("basis" not in EventSpec.__struct_fields__, reason="a plan without bases")
@pytest.mark.parametrize(("before", "after"), [("", "basis: contract, "), ("browsing: true, ", "")])
def test_what_is_kept_or_lands_differently_is_a_change_of_the_model(before, after):
    (change,) = compare(small(extra=before), small(extra=after)).changes
    assert (change.level, change.path) == ("MODEL", "clicked")


def test_compatibility_of_events_and_aliases():
    one = small()
    two = small(more="  bought: {description: d, stage: revenue, owner: o}\n", aliases="{click: clicked}")
    assert compare(one, two).level == "ADDITION"
    assert {change.path for change in compare(two, one).changes} == {"bought", "click"}
    assert compare(two, one).level == "MODEL"


@pytest.mark.parametrize(
    ("old", "new", "covered"),
    [("1-0-0", "2-0-0", True), ("1-0-0", "1-1-0", False), ("1-0-0", "1-0-0", False), ("2-0-0", "1-0-0", False)],
)
def test_version_step_must_cover_the_change(old, new, covered):
    assert compare(small("{p: {type: string}}"), small()).covered_by(old, new) is covered


def test_markdown_has_every_event_and_property():
    plan = load_plan()
    page = to_markdown(plan)
    assert all(f"## {name}" in page for name in plan.events)
    assert "| `currency` | string | yes | matches `[A-Z]{3}` | plain | ISO 4217 |" in page


def test_plan_is_frozen():
    with pytest.raises(AttributeError):
        load_plan().version = "9-9-9"
    assert msgspec.json.encode(load_plan())


def test_every_problem_of_a_plan_comes_at_once_with_its_line():
    text = """\
version: 1
aliases:
  Order: order
  bought: seen
events:
  bought:
    stag: revenue
    properties:
      total: {type: strng}
      low: {type: string, minimum: 3}
      Name: {type: string}
      label: {typ: string}
  Paid: {owner: 3, stage: magic}
  seen:
"""
    with pytest.raises(PlanError) as error:
        parse_plan(text, "plan.yaml")
    found = [line.removeprefix("plan.yaml line ").partition(": ") for line in error.value.problems]
    assert [(place, words) for place, _, words in found] == [
        ("1", "version: 1 is not a text (quote it)"),
        ("3", "alias 'Order': points to 'order', which is not an event of the plan"),
        ("4", "alias 'bought': is also an event; rename one of them"),
        ("7", f"event bought, stag: there is no such key; known here: {', '.join(EventSpec.__struct_fields__)}; did you mean stage?"),
        ("9", "event bought, property total, type: 'strng' is not one of string, number, integer, boolean"),
        ("10", "event bought, property low: minimum and maximum need a number, type is string"),
        ("11", "event bought, property 'Name': use lower case letters, digits and _ for the name, at most 64"),
        ("12", "event bought, property label, typ: there is no such key; known here: type, required, allowed, minimum, maximum, max_length, pattern, privacy, description; did you mean type?"),
        ("12", "event bought, property label: type is missing"),
        ("13", "event 'Paid', owner: 3 is not a text (quote it)"),
        ("13", "event 'Paid', stage: 'magic' is not one of acquisition, activation, retention, revenue, operations"),
        ("13", "event 'Paid': use lower case letters, digits and _, at most 64; an alias maps the name that is sent"),
    ]  # fmt: skip
    assert str(error.value).splitlines() == list(error.value.problems)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("version: 1-0-0\nevents:\n  a: {}\n  a: {}\n  b: {}\n  b: {}", ["p line 4: 'a' is declared twice; keep one", "p line 6: 'b' is declared twice; keep one"]),
        ("version: 1-0-0\nevents:\n  a: {b", ["p line 3: not YAML (did not find expected ',' or '}')"]),
        ("events: {a: {}}", ["p: version is missing"]),
        ("- a", ["p: ['a'] is not a mapping"]),
        ("", ["p: None is not a mapping"]),
        ("version: 2026-01-01\nevents: [a]", ["p line 1: version: datetime.date(2026, 1, 1) is not a text (quote it)", "p line 2: events: ['a'] is not a mapping of names"]),
        ("version: 1-0-0\nevents:\n  a:\n    properties:\n      1: {type: string}", ["p line 5: event a, property '1': the name 1 is not a text; quote it", "p line 5: event a, property '1': use lower case letters, digits and _ for the name, at most 64"]),
    ],
)  # fmt: skip
def test_what_is_no_plan_at_all_is_named_too(text, problems):
    with pytest.raises(PlanError) as error:
        parse_plan(text, "p")
    assert list(error.value.problems) == problems


def test_description_stage_and_owner_may_be_left_out():
    plan = parse_plan("version: 1-0-0\nevents:\n  seen:\n  bought: {properties: {total: {type: number}}}\n")
    assert (plan.events["seen"].description, plan.events["seen"].stage, plan.events["seen"].owner) == ("", "operations", "")  # fmt: skip
    assert "## seen\n\nStage: operations.\n" in to_markdown(plan)
