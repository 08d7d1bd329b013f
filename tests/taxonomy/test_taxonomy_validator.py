"""EventValidator: one table of refused inputs with their codes, and the promises around it."""

import json
import subprocess
import sys
import time

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.taxonomy import Accepted, EventValidator, Rejected, load_plan
from gtm_dagster.taxonomy.event import EMAIL
from gtm_dagster.taxonomy.json_schema import plan_schema

PLAN = load_plan()
VALIDATOR = EventValidator(PLAN)
PAID = {
    "event_id": "e1",
    "event_name": "payment_completed",
    "timestamp": "2026-03-01T12:00:00+02:00",
    "user_id": "u1",
    "properties": {"amount": 49, "currency": "EUR"},
    "context": {"source": "google", "medium": "", "device_type": "api", "consent": {"analytics": True}},
}


def paid(**changes):
    return {**PAID, **changes}


def properties(**changes):
    return paid(properties={**PAID["properties"], **changes})


def reasons(raw, **options):
    verdict = VALIDATOR.validate(raw, **options)
    assert isinstance(verdict, Rejected), verdict
    return {(error.path, error.code) for error in verdict.errors}


def test_accepted_event_is_typed():
    verdict = VALIDATOR.validate(json.dumps(PAID).encode())
    assert isinstance(verdict, Accepted)
    event = verdict.event
    assert (event.event_name, event.event_us, event.user_id, event.properties) == (
        "payment_completed", 1772359200000000, "u1", {"amount": 49, "currency": "EUR"},
    )  # fmt: skip
    assert (event.source, event.medium, event.consent) == ("google", None, {"analytics": True})


def test_bytes_text_and_dict_get_one_verdict():
    text = json.dumps(PAID)
    assert VALIDATOR.validate(PAID) == VALIDATOR.validate(text) == VALIDATOR.validate(text.encode())


def test_alias_lands_under_its_canonical_name():
    verdict = VALIDATOR.validate(paid(event_name="page_view", properties={"path": "/"}))
    assert isinstance(verdict, Accepted) and verdict.event.event_name == "page_viewed"


def test_microseconds_and_escaped_backslash_survive():
    verdict = VALIDATOR.validate(paid(timestamp="2026-03-01T10:00:00.123456Z", event_id="a\\u0000"))
    assert isinstance(verdict, Accepted)
    assert (verdict.event.event_us % 1_000_000, verdict.event.event_id) == (123456, "a\\u0000")


@pytest.mark.parametrize(
    ("event", "path", "code"),
    [
        pytest.param(paid(event_id=None), "event_id", "missing_field", id="no id"),
        pytest.param(paid(event_id=""), "event_id", "placeholder_id", id="empty id"),
        pytest.param(paid(event_id="x" * 129), "event_id", "too_long", id="long id"),
        pytest.param(paid(event_id=7), "event_id", "type", id="id is a number"),
        pytest.param(paid(event_id="order-ann@example.org"), "event_id", "personal_data", id="id holds an address"),
        pytest.param(paid(event_id="a\x00b"), "event_id", "nul", id="NUL in id"),
        pytest.param(paid(event_name="nope"), "event_name", "unknown_event", id="event not in plan"),
        pytest.param(paid(user_id=None), "user_id", "missing_identity", id="nobody"),
        pytest.param(paid(user_id=""), "user_id", "missing_identity", id="empty user"),
        pytest.param(paid(user_id="undefined"), "user_id", "placeholder_id", id="a word for nobody"),
        pytest.param(paid(timestamp="2026-03-01T12:00:00"), "timestamp", "timestamp_without_offset", id="naive time"),
        pytest.param(paid(timestamp="yesterday"), "timestamp", "bad_timestamp", id="no time"),
        pytest.param(paid(timestamp=1772359200), "timestamp", "type", id="epoch number"),
        pytest.param(paid(timestamp="1989-12-31T23:59:59Z"), "timestamp", "timestamp_out_of_range", id="before 1990"),
        pytest.param(paid(timestamp="2101-01-01T00:00:00Z"), "timestamp", "timestamp_out_of_range", id="after 2100"),
        pytest.param(paid(timestamp="9999-12-31T23:59:59.9999999Z"), "timestamp", "timestamp_out_of_range", id="7 digits of the last year"),
        pytest.param(paid(properties=[1]), "properties", "type", id="properties is a list"),
        pytest.param(properties(amount=None), "properties.amount", "missing_property", id="required is null"),
        pytest.param(properties(amount="49"), "properties.amount", "type", id="number as text"),
        pytest.param(properties(amount=True), "properties.amount", "type", id="true is no number"),
        pytest.param(properties(amount=-0.01), "properties.amount", "minimum", id="below minimum"),
        pytest.param(properties(amount=2**63), "properties.amount", "number_out_of_range", id="65 bit integer"),
        pytest.param(properties(amount=float("nan")), "properties.amount", "not_finite", id="NaN in a dict"),
        pytest.param(properties(amount={"v": 1}), "properties.amount", "type", id="nested"),
        pytest.param(properties(currency="eur"), "properties.currency", "pattern", id="lower case currency"),
        pytest.param(properties(currency="EUR\n"), "properties.currency", "pattern", id="pattern covers the end"),
        pytest.param(properties(quantity=2.0), "properties.quantity", "type", id="2.0 is no integer"),
        pytest.param(properties(billing_period="week"), "properties.billing_period", "not_allowed", id="value not allowed"),
        pytest.param(properties(plan="x" * 65), "properties.plan", "too_long", id="long text"),
        pytest.param(properties(colour="red"), "properties.colour", "unknown_property", id="undeclared"),
        pytest.param(paid(context={"device_type": "tv"}), "context.device_type", "not_allowed", id="device type"),
        pytest.param(paid(context={"source": 1}), "context.source", "type", id="source is a number"),
        pytest.param(paid(context={"utmsource": "x"}), "context.utmsource", "unknown_field", id="misspelt context"),
        pytest.param(paid(context={"consent": {"ads": True}}), "context.consent.ads", "not_allowed", id="unknown purpose"),
        pytest.param(paid(context={"consent": {"analytics": 1}}), "context.consent.analytics", "type", id="consent 1"),
        pytest.param(paid(colour="red"), "colour", "unknown_field", id="unknown field"),
    ],
)  # fmt: skip
def test_single_fault_gives_exactly_its_reason(event, path, code):
    assert reasons(event) == {(path, code)}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "invalid_json", id="empty"),
        pytest.param(b"[]", "type", id="list"),
        pytest.param(b"{", "invalid_json", id="truncated"),
        pytest.param(b'{"event_id": NaN}', "invalid_json", id="NaN literal"),
        pytest.param(b'{"event_id": 1e999}', "number_out_of_range", id="1e999"),
        pytest.param(b'{"event_id": "\xff"}', "invalid_utf8", id="invalid UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"event_id": "x"}', "invalid_json", id="BOM"),
        pytest.param(b'{"event_id": "\\ud800"}', "lone_surrogate", id="lone surrogate"),
        pytest.param('{"event_id": "\ud800"}', "lone_surrogate", id="lone surrogate in text"),
        pytest.param({"event_id": "\ud800"}, "lone_surrogate", id="lone surrogate in dict"),
        pytest.param({"event_id": {1, 2}.__iter__()}, "type", id="object without JSON"),
        pytest.param(b"[" * 100_000, "too_deep", id="100,000 brackets"),
        pytest.param(b'{"a":' * 33 + b"1" + b"}" * 33, "too_deep", id="33 levels"),
    ],
)
def test_unreadable_input_has_one_reason(raw, code):
    assert {code for _, code in reasons(raw)} == {code}


def test_brackets_inside_texts_are_no_depth():
    assert isinstance(VALIDATOR.validate(properties(plan='[{"' * 20)), Accepted)


def test_huge_integer_is_refused_not_raised():
    raw = json.dumps(PAID).replace("49", "9" * 4000).encode()
    assert ("properties.amount", "number_out_of_range") in reasons(raw)


def test_every_reason_is_given_at_once():
    event = paid(
        event_id="", user_id=None, timestamp="x", properties={"amount": "1", "z": 1}, context={"device_type": "tv"}
    )
    assert reasons(event) == {
        ("event_id", "too_short"), ("user_id", "missing_identity"), ("timestamp", "bad_timestamp"), ("properties.amount", "type"),
        ("properties.z", "unknown_property"), ("properties.currency", "missing_property"), ("context.device_type", "not_allowed"),
    }  # fmt: skip


def test_what_is_more_than_an_hour_after_its_receipt_is_refused_live_and_imported():
    now_us = 1772359200000000 - 3_600_000_000
    assert isinstance(VALIDATOR.validate(PAID, live=True, now_us=now_us), Accepted)
    assert reasons(PAID, live=True, now_us=now_us - 1) == {("timestamp", "future_timestamp")}
    assert reasons(PAID, now_us=now_us - 1) == {("timestamp", "future_timestamp")}
    assert isinstance(VALIDATOR.validate(PAID), Accepted)


def test_open_event_takes_scalars_and_refuses_structures():
    event = paid(
        event_name="feature_used", properties={"feature": "x", "a": 1, "b": None, "c": True, "d": "t", "e": 1.5}
    )
    assert isinstance(VALIDATOR.validate(event), Accepted)
    event["properties"]["f"] = [1]
    assert reasons(event) == {("properties.f", "type")}


def test_reasons_and_names_repeat_no_personal_value():
    canary = "ann@example.org"
    verdict = VALIDATOR.validate(
        paid(event_id=canary, event_name=canary, properties={canary: canary}, context={canary: 1})
    )
    assert isinstance(verdict, Rejected) and canary not in repr(verdict)


def test_fields_the_collector_adds_are_taken_and_ip_is_not_kept():
    verdict = VALIDATOR.validate(
        paid(received_at="x", write_key="k", plan_version="1", context={"ip": "10.0.0.1", "user_agent": "u"})
    )
    assert isinstance(verdict, Accepted) and "10.0.0.1" not in repr(verdict)


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(st.binary() | st.text() | st.dictionaries(st.sampled_from([*PAID, "x"]), ANYTHING))
def test_any_input_gets_a_verdict(raw):
    assert isinstance(VALIDATOR.validate(raw), Accepted | Rejected)


SCHEMA = jsonschema_rs.validator_for(plan_schema(PLAN))
VALUES = st.sampled_from([None, 0, -1, 3, 1.5, "EUR", "eur", "", "x" * 70, True, "month", "web"])


@given(
    st.sampled_from(["payment_completed", "page_viewed", "feature_used", "flag_exposed", "page_view", "nope"]),
    st.dictionaries(
        st.sampled_from(["amount", "currency", "plan", "path", "feature", "flag", "variant", "quantity", "zz"]), VALUES
    ),
    st.dictionaries(
        st.sampled_from(["source", "device_type", "utm", "locale"]), st.sampled_from([None, "web", "x", 1])
    ),
    st.sampled_from(["u", None]),
)
def test_exported_json_schema_agrees_on_ordinary_events(name, properties, context, user):
    event = paid(event_name=name, properties=properties, context=context, user_id=user)
    assert SCHEMA.is_valid(event) == isinstance(VALIDATOR.validate(event), Accepted)


def test_import_is_light():
    heavy = ["pandas", "pandera", "pyarrow", "numpy", "cryptography", "jsonschema_rs", "dagster", "duckdb"]
    code = f"import sys, gtm_dagster.taxonomy, gtm_dagster.privacy.pseudonyms; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_address_search_is_linear_on_hostile_text():
    for text in ("a" * 200_000, "@" * 200_000, "a@" * 100_000, "a" * 200_000 + "@", "a@" + "b." * 100_000):
        started = time.process_time()
        EMAIL.search(text)
        assert time.process_time() - started < 2
