"""validate_frame: the same verdict as EventValidator, on frames as Parquet readers make them."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.privacy.masking import scrub
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.taxonomy import Accepted, EventValidator, load_plan
from gtm_dagster.taxonomy.conform import INT_COLUMNS, TEXT_COLUMNS
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS
from gtm_dagster.taxonomy.landing_schema import ContractBreak, validate_frame

PLAN = load_plan()
VALIDATOR = EventValidator(PLAN)
AT_US = 1_772_359_200_000_000
ROW = {
    **dict.fromkeys(TEXT_COLUMNS), "event_id": "e", "event_name": "payment_completed", "user_id": "u", "event_us": AT_US,
    "received_us": AT_US, "properties": '{"amount":1,"currency":"EUR"}',
}  # fmt: skip


def frame(*rows):
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in TEXT_COLUMNS}
    columns |= {name: pa.array([row[name] for row in rows], pa.int64()) for name in INT_COLUMNS}
    return pa.table(columns).to_pandas()


def codes(df):
    return [{(error.path, error.code) for error in errors} for errors in validate_frame(PLAN, df).reasons]


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        ({"event_id": None}, "event_id", "missing_field"),
        ({"event_id": ""}, "event_id", "placeholder_id"),
        ({"event_id": "a@b.org"}, "event_id", "personal_data"),
        ({"event_name": None}, "event_name", "missing_field"),
        ({"event_name": "nope"}, "event_name", "unknown_event"),
        ({"event_us": None}, "timestamp", "missing_field"),
        ({"event_us": 0}, "timestamp", "timestamp_out_of_range"),
        ({"user_id": None}, "user_id", "missing_identity"),
        ({"device_type": "tv"}, "context.device_type", "not_allowed"),
        ({"source": "x" * 513}, "context.source", "too_long"),
        ({"region": "a\x00"}, "context.region", "nul"),
        ({"consent": '{"ads":true}'}, "context.consent.ads", "not_allowed"),
        ({"consent": "yes"}, "context.consent", "invalid_json"),
        ({"properties": '{"amount":-1,"currency":"EUR"}'}, "properties.amount", "minimum"),
        ({"properties": "[]"}, "properties", "type"),
    ],
)
def test_one_bad_row_among_good_ones_is_found_with_its_reason(change, path, code):
    verdict = validate_frame(PLAN, frame(ROW, {**ROW, **change}, ROW))
    assert verdict.ok.tolist() == [True, False, True]
    assert [(error.path, error.code) for error in verdict.reasons[0]] == [(path, code)]


def test_properties_that_are_not_json_or_absent():
    assert codes(frame({**ROW, "properties": "{"})) == [
        {
            ("properties", "invalid_json"),
            ("properties.amount", "missing_property"),
            ("properties.currency", "missing_property"),
        }
    ]
    missing = {("properties.amount", "missing_property"), ("properties.currency", "missing_property")}
    assert codes(frame({**ROW, "properties": None}, {**ROW, "properties": "null"})) == [missing, missing]
    assert validate_frame(PLAN, frame({**ROW, "event_name": "trial_started", "properties": None})).ok.all()


def test_alias_in_a_landed_row_is_judged_as_its_event():
    assert validate_frame(PLAN, frame({**ROW, "event_name": "page_view", "properties": "{}"})).ok.all()
    assert codes(frame({**ROW, "event_name": "page_view", "properties": '{"path":1}'})) == [
        {("properties.path", "type")}
    ]


def test_reasons_come_in_the_order_of_the_rows_and_index_is_ignored():
    df = frame({**ROW, "event_id": ""}, ROW, {**ROW, "event_name": "nope"}, {**ROW, "device_type": "tv"})
    df.index = [7, 7, 3, 1]
    verdict = validate_frame(PLAN, df)
    assert verdict.ok.tolist() == [False, True, False, False]
    assert [errors[0].code for errors in verdict.reasons] == ["too_short", "unknown_event", "not_allowed"]


@pytest.mark.parametrize("kind", ["object", "float64", "Int64", "string", "category"])
def test_types_pandas_gives_to_columns_with_nulls(kind):
    df = frame(ROW, ROW)
    if kind == "object":
        df = df.astype(object).where(df.notna(), None)
    elif kind in ("float64", "Int64"):
        df["event_us"] = df["event_us"].astype(kind)
        df.loc[1, "event_us"] = pd.NA if kind == "Int64" else np.nan
        df["source"] = np.nan
    else:
        df["event_name"] = df["event_name"].astype(kind)
    assert validate_frame(PLAN, df).ok.tolist() == [True, kind not in ("float64", "Int64")]


def test_extra_columns_and_an_empty_frame_are_fine():
    df = frame(ROW)
    df["sealed"] = [b"x"]
    assert validate_frame(PLAN, df).ok.all()
    assert validate_frame(PLAN, df.iloc[:0]).ok.shape == (0,)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("event_id", [1]),
        ("event_us", ["2026"]),
        ("event_us", [1.5]),
        ("received_us", [None]),
        ("source", [["x"]]),
        ("user_id", [b"x"]),
    ],
)
def test_wrong_type_breaks_the_contract(column, values):
    df = frame(ROW)
    df[column] = values
    with pytest.raises(ContractBreak, match=column):
        validate_frame(PLAN, df)


def test_missing_column_breaks_the_contract():
    with pytest.raises(ContractBreak, match="session_id"):
        validate_frame(PLAN, frame(ROW).drop(columns="session_id"))


def landed(event, event_us):
    """The landing row of a native event that was written down unjudged."""
    context = event.get("context", {})
    row = {
        **ROW,
        **{name: event.get(name) for name in ("event_id", "event_name", "user_id", "anonymous_id", "session_id")},
    }
    row |= {name: context.get(name) for name in (*CONTEXT_LIMITS, "device_type")}
    row["consent"] = json.dumps(context["consent"]) if "consent" in context else None
    return row | {"properties": json.dumps(event["properties"]), "event_us": event_us}


TEXT = st.sampled_from([None, "", "x", "a@b.org", "nul\x00", "x" * 130, "é" * 128])
ID = TEXT.filter(lambda text: text != "")  # which the door makes NULL, so no row lands with it
VALUE = st.sampled_from(
    [
        None,
        0,
        -1,
        3,
        1.5,
        5.0,
        2**63,
        -(2**63),
        "EUR",
        "EUR\n",
        "",
        "x" * 70,
        "x" * 2000,
        True,
        "month",
        "a\x00",
        [1],
        {},
    ]
)
EVENT = st.fixed_dictionaries(
    {
        "event_id": ID, "user_id": ID, "anonymous_id": ID, "session_id": ID,
        "event_name": st.sampled_from([*PLAN.events, "page_view", "nope", "", None]),
        "properties": st.dictionaries(
            st.sampled_from(["amount", "currency", "payment_id", "path", "feature", "flag", "variant", "quantity", "zz", "plan", ""]), VALUE
        ),
        "context": st.fixed_dictionaries(
            {}, optional={
                "source": TEXT, "referrer": TEXT, "locale": TEXT, "device_type": st.sampled_from([None, "web", "tv", ""]),
                "consent": st.dictionaries(st.sampled_from(["analytics", "ads"]), st.sampled_from([True, None, 1]), max_size=2),
            },
        ),
    }
)  # fmt: skip
MOMENT = st.sampled_from(
    [
        ("2026-03-01T10:00:00Z", AT_US),
        ("1999-12-31T23:59:59Z", 946_684_799_000_000),
        ("2101-01-01T00:00:00Z", 4_133_980_800_000_000),
    ]
)


@examples(25, deadline=None)
@given(st.lists(st.tuples(EVENT, MOMENT), min_size=1, max_size=24))
def test_frame_and_validator_give_one_verdict_and_the_same_reasons(cases):
    rows = [landed(event, event_us) for event, (_, event_us) in cases]
    verdict = validate_frame(PLAN, frame(*rows))
    single = [VALIDATOR.validate(json.dumps({**event, "timestamp": moment}).encode()) for event, (moment, _) in cases]
    assert verdict.ok.tolist() == [isinstance(one, Accepted) for one in single]
    expected = [{(e.path, e.code) for e in one.errors} for one in single if not isinstance(one, Accepted)]
    assert [{(e.path, e.code) for e in errors} for errors in verdict.reasons] == expected


PERSONAL = st.sampled_from(
    ["ann@b.org", "10.0.0.1", "https://u:p@h.org/a?t=1", "x ann@b.org", "a://b", "x" * 63 + "@b.co"]
)


@examples(40, deadline=None)
@given(
    st.sampled_from(sorted(PLAN.events)),
    st.dictionaries(
        st.sampled_from(["path", "feature", "flag", "email", "message", "plan", "currency", "reason", "zz"]), PERSONAL
    ),
    st.dictionaries(st.sampled_from(["source", "page_url", "referrer", "region"]), PERSONAL),
)
def test_what_the_edge_accepts_still_holds_after_scrubbing(name, properties, context):
    required = {
        "payment_completed": {"amount": 1, "currency": "EUR"},
        "flag_exposed": {"flag": "f", "variant": "control"},
    }
    event = {
        "event_id": "e",
        "event_name": name,
        "user_id": "u",
        "timestamp": "2026-03-01T10:00:00Z",
        "context": context,
    }
    verdict = VALIDATOR.validate({**event, "properties": {**required.get(name, {}), **properties}})
    if isinstance(verdict, Accepted):
        clean = scrub(verdict.event, PLAN, Pseudonymizer(b"k" * 32))
        native = {
            **event,
            "properties": clean.properties,
            "context": {field: getattr(clean, field) for field in CONTEXT_LIMITS},
        }
        assert validate_frame(PLAN, frame(landed(native, clean.event_us))).ok.all()
