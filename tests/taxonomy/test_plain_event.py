"""The quick way takes nothing that the validator refuses, and what it takes has the same content."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.taxonomy import Accepted, EventValidator
from gtm_dagster.taxonomy.plain_event import PlainEvents
from gtm_dagster.taxonomy.plan import parse_plan

PLAN = parse_plan("""
version: 1-0-0
aliases: {Paid: paid}
events:
  seen: {additional: true, properties: {title: {type: string, max_length: 5}}}
  paid:
    properties:
      amount: {type: number, required: true, minimum: 0, maximum: 100}
      currency: {type: string, pattern: "[A-Z@.]{3,8}"}
      period: {type: string, allowed: [month, year]}
      quantity: {type: integer, allowed: [1, 2]}
      first: {type: boolean}
""")
VALIDATOR, PLAIN = EventValidator(PLAN), PlainEvents(PLAN)
GOOD = {"event_id": "e-1", "event_name": "paid", "timestamp": "2026-01-01T00:00:00Z", "user_id": "u-1", "properties": {"amount": 1}}  # fmt: skip


def event(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(GOOD, id="what most events are"),
        pytest.param(event(event_name="Paid"), id="an alias"),
        pytest.param(event(properties={"amount": 1.5, "first": True, "period": "year", "quantity": 2, "currency": "EUR"}), id="every kind of property"),
        pytest.param(event(properties={"amount": 1, "period": None}), id="a null is absent"),
        pytest.param(event(event_name="seen", properties={"n": 1, "text": "x" * 1024, "f": 0.5, "b": False, "z": None}), id="undeclared ones"),
        pytest.param(event(context={"device_type": "web", "page_url": "https://a.example/", "consent": {"analytics": True}}), id="a page"),
        pytest.param(event(user_id=None, anonymous_id="a", session_id="s"), id="a visitor"),
    ],
)  # fmt: skip
def test_the_quick_way_takes_what_is_plainly_good(good: dict[str, Any]) -> None:
    line = PLAIN.encoded(good)
    assert line is not None and msgspec.json.decode(line) == good
    assert isinstance(VALIDATOR.validate(good), Accepted)


class Text(str):
    """A text of another class."""


IDS = st.sampled_from([None, "", " ", "u-1", "undefined", "NULL", "[object Object]", "a@b.example", "x" * 256, "x" * 257, 7, "\x00a", "\ud800", Text("u")])  # fmt: skip
VALUES = st.sampled_from(
    [None, 0, 1, 2, 3, -1, 101, 1.0, 0.5, float("nan"), float("inf"), 2**63, True, False, "", "EUR", "E@A.EU", "month", "title", "longer", "x" * 1025,
     "a\x00b", "\ud800", [], {}, b"x", object(), 10**400, Text("EUR")]
)  # fmt: skip
NAMES = st.sampled_from(["amount", "currency", "period", "quantity", "first", "title", "other", "", "x" * 129, "a\x00", 7, Text("n")])  # fmt: skip
CONTEXTS = st.none() | st.dictionaries(
    st.sampled_from(["device_type", "page_url", "source", "utm_source", "consent", "ip", "user_agent", "locale", "region", "other", 7]),
    st.sampled_from([None, "web", "", "api", "x" * 65, "x" * 513, {"analytics": True}, {"analytics": 1}, {"sales": True}, 7, object(), "\x00", "\ud800"]),
)  # fmt: skip


@examples(400)
@given(
    name=st.sampled_from(["paid", "Paid", "seen", "unknown", "", None, 7]), event_id=IDS, user_id=IDS, anonymous_id=IDS,
    session_id=IDS, properties=st.dictionaries(NAMES, VALUES, max_size=4), context=CONTEXTS, has_amount=st.booleans(),
)  # fmt: skip
def test_the_quick_way_takes_nothing_that_is_refused(name, event_id, user_id, anonymous_id, session_id, properties, context, has_amount):  # fmt: skip
    if has_amount:
        properties = {"amount": 5, **properties}
    made = event(
        event_name=name, event_id=event_id, user_id=user_id, anonymous_id=anonymous_id, session_id=session_id,
        properties=properties, context=context,
    )  # fmt: skip
    line = PLAIN.encoded(made)
    if line is not None:
        assert isinstance(VALIDATOR.validate(made), Accepted)
        assert isinstance(VALIDATOR.validate(line), Accepted)
        assert line == msgspec.json.encode(made)


def test_more_properties_than_an_event_may_have_are_refused() -> None:
    many = event(event_name="seen", properties={f"n{n}": n for n in range(129)})
    assert PLAIN.encoded(many) is None
    assert not isinstance(VALIDATOR.validate(many), Accepted)
