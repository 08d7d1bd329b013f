"""Corrections of refused originals: what each changes, and what it leaves for the plan to judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from warehouse_cases import PLAN

from gtm_dagster.warehouse.corrections import CorrectionError, Corrections, cast_value, corrections

SENT = {
    "event_name": "Order Paid",
    "userId": "u",
    "properties": {"amonut": "12.50", "n": "3", "is_first": "True"},
    "context": {"url": "https://a.example/"},
}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"aliases": ["Order Paid=payment_completed"]}, {"event_name": "payment_completed"}),
        ({"aliases": ["order paid=payment_completed"]}, {}),
        ({"renames": ["amonut=amount"]}, {"properties": {"amount": "12.50", "n": "3", "is_first": "True"}}),
        ({"renames": ["properties.amonut=amount"], "casts": ["amount=number"]}, {"properties": {"amount": 12.5, "n": "3", "is_first": "True"}}),
        ({"renames": ["n=amonut"]}, {}),
        ({"renames": ["nothing=amount"]}, {}),
        ({"renames": ["event.userId=event.user_id"]}, {"userId": None, "user_id": "u"}),
        ({"renames": ["context.url=context.page_url"]}, {"context": {"page_url": "https://a.example/"}}),
        ({"casts": ["n=integer", "is_first=boolean"]}, {"properties": {"amonut": "12.50", "n": 3, "is_first": True}}),
        ({"casts": ["n=boolean", "amonut=integer"]}, {}),
        ({"casts": ["event.userId=number"]}, {}),
    ],
    ids=[
        "nothing", "another name", "names are equal to the letter", "a property", "renames come before casts",
        "a field that is there is not written over", "a field that is not there", "a field of the event",
        "a field of the context", "whole number and boolean", "what does not read as one stays", "an id is no number",
    ],
)  # fmt: skip
def test_a_correction_changes_what_it_names(options: dict[str, Any], changed: dict[str, Any]) -> None:
    before = json.dumps(SENT)
    expected = {name: value for name, value in {**SENT, **changed}.items() if value is not None}
    assert corrections(PLAN, **options).apply(SENT) == expected
    assert json.dumps(SENT) == before, "the original stays"


@pytest.mark.parametrize(
    ("value", "kind", "cast"),
    [
        ("12.50", "number", 12.5),
        (" 7 ", "number", 7),
        ("-0.5", "number", -0.5),
        ("1,234", "number", "1,234"),
        ("1e3", "number", "1e3"),
        ("007", "number", "007"),
        ("", "number", ""),
        ("7.0", "integer", 7),
        ("7.5", "integer", "7.5"),
        (7.0, "integer", 7),
        (7.5, "integer", 7.5),
        (1e300, "integer", 1e300),
        (True, "number", True),
        (12, "string", "12"),
        (1.5, "string", 1.5),
        (True, "string", True),
        ("FALSE", "boolean", False),
        (1, "boolean", True),
        (2, "boolean", 2),
        ("yes", "boolean", "yes"),
        (None, "number", None),
        ([1], "string", [1]),
    ],
)
def test_a_value_is_cast_where_it_reads_as_one_of_the_type(value: object, kind: str, cast: object) -> None:
    result = cast_value(value, kind)
    assert (result, type(result)) == (cast, type(cast))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"aliases": ["a=payment_complete"]}, "payment_complete is not an event .* did you mean payment_completed"),
        ({"aliases": ["payment_completed"]}, "--alias 'payment_completed': write --alias OLD=EVENT"),
        ({"renames": ["a="]}, "write --rename OLD=NEW"),
        ({"casts": ["amount=float"]}, "float is not a type; allowed: number, integer, string, boolean"),
    ],
    ids=["an event that is not there", "without a sign", "without a new name", "a type that is not there"],
)
def test_a_correction_that_cannot_be_meant_is_an_error(options: dict[str, Any], words: str) -> None:
    with pytest.raises(CorrectionError, match=words):
        corrections(PLAN, **options)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_FIELD = st.sampled_from(["a", "b", "context.a", "event.properties", "event.context", "event.a", "properties.x.y"])


@given(
    event=st.dictionaries(st.sampled_from(["event_name", "properties", "context", "a"]), _JSON),
    renames=st.lists(st.tuples(_FIELD, _FIELD), max_size=3),
    casts=st.lists(st.tuples(_FIELD, st.sampled_from(["number", "integer", "string", "boolean"])), max_size=3),
)
def test_whatever_was_sent_no_correction_fails_or_loses_a_value(event: dict, renames: list, casts: list) -> None:
    before = json.dumps(event)
    moved = Corrections(renames=tuple(renames)).apply(event)
    assert sorted(_leaves(moved)) == sorted(_leaves(event))
    Corrections((("x", "y"),), tuple(renames), tuple(casts)).apply(event)
    assert json.dumps(event) == before


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    return [] if value is None else [json.dumps(value)]
