"""A drafted plan takes the events it was drafted from, and is a plan whatever the events look like."""

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.compat import compare
from gtm_dagster.taxonomy.plan import EventSpec, Plan, parse_plan
from gtm_dagster.taxonomy.plan_draft import PRODUCT_EVENTS, STARTER_EVENTS, draft, snake_case
from gtm_dagster.taxonomy.plan_text import begun, extended, starter
from gtm_dagster.taxonomy.properties import check_properties
from gtm_dagster.taxonomy.seen_events import SeenEvents

Events = list[tuple[str, dict[str, Any]]]


def seen(events: Events) -> SeenEvents:
    found = SeenEvents(load_plan())
    for name, properties in events:
        found.see(name, properties)
    return found


def drafted(events: Events) -> Plan:
    return parse_plan(begun(draft(seen(events)), "plan.yaml", "events.ndjson"))


def rule(events: Events, event: str, name: str) -> dict[str, Any]:
    """What the drafted plan says of a property beyond the defaults."""
    return msgspec.json.decode(msgspec.json.encode(drafted(events).events[event].properties[name]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Order Completed", "order_completed"),
        ("orderCompleted", "order_completed"),
        ("HTTPRequest", "http_request"),
        ("$pageview", "pageview"),
        ("app.open/start", "app_open_start"),
        ("Größe gewählt", "groe_gewahlt"),
        ("2nd Visit", "event_2nd_visit"),
        ("購入", ""),
        ("x" * 80, "x" * 64),
    ],
)
def test_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


def test_names_that_are_not_snake_case_are_aliases() -> None:
    plan = drafted([("Order Completed", {}), ("orderCompleted", {}), ("order_completed", {}), ("購入", {}), ("登録", {}), ("$pageview", {}), ("yes", {}), ("a: b", {})])  # fmt: skip
    assert plan.aliases == {
        "Order Completed": "order_completed",
        "orderCompleted": "order_completed",
        "購入": "event_1",
        "登録": "event_2",
        "$pageview": "page_viewed",
        "a: b": "a_b",
    }
    assert set(plan.events) == {"order_completed", "event_1", "event_2", "page_viewed", "yes", "a_b", *PRODUCT_EVENTS}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], {"type": "integer", "required": True}),
        ([1, 2.5], {"type": "number", "required": True}),
        (["a", "b"], {"type": "string", "required": True}),
        ([True, None], {"type": "boolean"}),
        ([None, None], {"type": "string"}),
        (["a" * 1500, "b"], {"type": "string", "required": True, "max_length": 2048}),
        (["ada@example.org", "b"], {"type": "string", "required": True, "privacy": "personal"}),
        ([{"a": 1}, "b"], {"type": "string", "required": True}),
    ],
    ids=["whole numbers", "numbers", "texts", "not always there", "only null", "long texts", "e-mail", "also objects"],
)
def test_a_property_is_declared_as_it_was_seen(values: list[Any], expected: dict[str, Any]) -> None:
    found = rule([("seen", {"p": value}) for value in values], "seen", "p")
    assert {key: found[key] for key in expected} == expected
    assert found["required"] is expected.get("required", False)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("total", 10, {"type": "number", "privacy": "plain"}),
        ("phone", "1", {"privacy": "personal", "required": True}),
        ("phone", 1, {"privacy": "sensitive", "required": False}),
        ("comment", "x", {"privacy": "free_text", "required": False}),
        ("card_number", "x", {"privacy": "sensitive", "required": False}),
        ("tip", "x", {"privacy": "plain"}),
    ],
)
def test_money_is_a_number_and_personal_names_are_guessed(name: str, value: Any, expected: dict[str, Any]) -> None:
    found = rule([("seen", {name: value})], "seen", name)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("properties", "comment"),
    [
        ([{"p": 1}, {"p": "a"}], "p is seen as integer (1) and string (1): not declared"),
        ([{"orderId": "a"}], "orderId (string (1)) cannot be declared"),
    ],
)
def test_what_cannot_be_declared_opens_the_event(properties: list[dict[str, Any]], comment: str) -> None:
    text = begun(draft(seen([("seen", each) for each in properties])), "plan.yaml", "x")
    assert comment in text
    assert parse_plan(text).events["seen"].additional


def test_few_values_are_a_comment_and_no_rule() -> None:
    events: Events = [("seen", {"size": size, "mail": f"{size}@example.org"}) for size in ("s", "m", "l") * 10]
    text = begun(draft(seen(events)), "plan.yaml", "x")
    assert "size: {type: string, required: true}  # seen: l, m, s\n" in text
    assert "s@example.org" not in text
    assert parse_plan(text).events["seen"].properties["size"].allowed == ()


def test_a_known_event_keeps_what_the_packaged_plan_says_where_it_fits() -> None:
    usual = load_plan().events["payment_completed"]
    good = drafted([("payment_completed", {"amount": 5, "currency": "EUR"})]).events["payment_completed"]
    assert (good.description, good.stage, good.owner) == (usual.description, usual.stage, usual.owner)
    assert good.properties["currency"].pattern == usual.properties["currency"].pattern
    assert good.properties["amount"].type == "number"
    odd = drafted([("payment_completed", {"amount": "5,00", "currency": "eur"})]).events["payment_completed"]
    assert (odd.properties["amount"].type, odd.properties["currency"].pattern) == ("string", None)


@pytest.mark.parametrize("origin", ["x", "a\nversion: 9-9-9\nb"])
def test_a_drafted_plan_is_safe_from_what_it_was_drafted_from(origin: str) -> None:
    nasty = 'x"\n  injected:\n    additional: true #'
    plan = parse_plan(begun(draft(seen([(nasty, {nasty: nasty})] * 30)), "plan.yaml", origin))
    assert "injected" not in plan.events and plan.version == "1-0-0"
    assert nasty in plan.aliases


_texts = st.one_of(st.text(max_size=30), st.sampled_from(["a@b.org", "EUR", "", "yes", "1", "# x", "a: b", "null"]))
_values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), _texts)  # fmt: skip
_property_names = st.one_of(
    st.sampled_from(["amount", "currency", "email", "orderId", "notes", "on", "a b"]),
    st.text(string.ascii_letters + " _-:#é", min_size=1, max_size=12),
)
_event_names = st.one_of(
    st.sampled_from([*load_plan().events, "Order Completed", "page_view", "on", "購入"]),
    st.text(min_size=1, max_size=20).filter(str.strip),
)


@given(
    st.lists(st.tuples(_event_names, st.dictionaries(_property_names, _values, max_size=5)), min_size=1, max_size=12)
)
@examples(50, deadline=None)
def test_every_event_fits_the_plan_that_is_drafted_from_it(events: Events) -> None:
    usual = USUAL
    for existing in (None, usual):
        found = draft(seen(events), existing)
        if existing is None:
            plan = parse_plan(begun(found, "plan.yaml", "x"))
        else:
            text = (PACKAGED if found.blocks or found.aliases else None) and extended(PACKAGED, found, "plan.yaml")
            plan = parse_plan(text) if text else usual
            assert compare(usual, plan).level in ("NONE", "ADDITION")
        for name, properties in events:
            target = plan.resolve(name)
            assert target is not None
            if existing is None or target not in usual.events:
                spec: EventSpec = plan.events[target]
                errors = check_properties(spec, properties)
                assert [error for error in errors if error.code not in ("personal_data", "nul", "property_name")] == []


def _packaged() -> str:
    from importlib import resources

    return (resources.files("gtm_dagster.taxonomy") / "plan.yaml").read_text("utf-8")


PACKAGED, USUAL = _packaged(), load_plan()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "# mine\nversion: 1-2-3  # now\nevents:\n    one:\n        additional: true\n\n    # the last\n    two:\n# behind\n",
            "# mine\nversion: 1-2-4  # now\naliases:\n  New One: new_one\n\nevents:\n    one:\n        additional: true\n\n    # the last\n    two:\n"
            "    new_one:  # seen once, sent as New One\n      properties:\n        p: {type: integer, required: true}\n# behind\n",
        ),
        (
            'events:\n  one:\naliases:\n  One: one\n\n# v\nversion: "1-0-0"',
            "events:\n  one:\n  new_one:  # seen once, sent as New One\n    properties:\n      p: {type: integer, required: true}\n"
            "aliases:\n  One: one\n  New One: new_one\n\n# v\nversion: 1-0-1\n",
        ),
    ],
    ids=["other indent, no aliases", "other order"],
)
def test_events_are_added_to_a_plan_with_its_comments(text: str, expected: str) -> None:
    assert extended(text, draft(seen([("New One", {"p": 1})]), parse_plan(text)), "plan.yaml") == expected


def test_a_plan_in_flow_style_is_written_anew() -> None:
    text = "{version: 1-0-0, aliases: {One: one}, events: {one: {additional: true}}}"
    plan = parse_plan(extended(text, draft(seen([("New One", {"p": 1})]), parse_plan(text)), "plan.yaml"))
    assert (plan.version, list(plan.events), plan.aliases) == ("1-0-1", ["one", "new_one"], {"One": "one", "New One": "new_one"})  # fmt: skip


def test_a_name_the_plan_has_in_another_spelling_is_an_alias_alone() -> None:
    existing = parse_plan("version: 1-0-0\naliases: {bought: order_completed}\nevents:\n  order_completed:\n")
    found = draft(seen([("Order Completed", {}), ("Bought", {})]), existing)
    assert (found.blocks, found.aliases) == ({}, {"Order Completed": "order_completed", "Bought": "order_completed"})


def test_the_starter_is_a_plan_with_what_the_product_needs() -> None:
    plan, usual = parse_plan(starter("plan.yaml")), load_plan()
    assert set(plan.events) == {*STARTER_EVENTS, *PRODUCT_EVENTS}
    assert all(plan.events[name] == usual.events[name] for name in plan.events)
