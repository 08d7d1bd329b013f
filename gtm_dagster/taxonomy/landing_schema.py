"""Verdicts on whole landing frames: a Pandera schema of the envelope, and one of the properties of each event.

The rules are those of EventValidator; a differential test checks that both give one verdict. Needs pandas and pandera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from gtm_dagster.taxonomy.conform import ContractBreak, conform
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, DEVICE_TYPES, ID_LIMITS, MAX_US, MIN_US, PURPOSES
from gtm_dagster.taxonomy.event import EMAIL, FieldError
from gtm_dagster.taxonomy.explain import explain_document
from gtm_dagster.taxonomy.plan import EventSpec, Plan
from gtm_dagster.taxonomy.properties import check_properties

__all__ = [
    "JUDGED_TEXTS",
    "ContractBreak",
    "FrameVerdict",
    "landing_schema",
    "properties_schema",
    "texts_kept",
    "validate_frame",
]

# Pandera's own `nullable=False` reports no mask, and failing rows are found by the mask of each check
_PRESENT = pandera.Check(lambda series: series.notna(), name="missing", ignore_na=False)


JUDGED_TEXTS = ("event_name", "properties", "consent")
"""Texts with rules of their own, beyond length and alphabet."""


@dataclass(frozen=True)
class FrameVerdict:
    """`ok`: a bool a row, in order. `reasons`: for each row that is not ok, in order, every reason."""

    ok: np.ndarray
    reasons: list[tuple[FieldError, ...]]


def landing_schema(plan: Plan) -> pandera.DataFrameSchema:
    """The contract of the envelope of landed events, on the columns of `conform`."""
    columns: dict[str, pandera.Column] = {}
    for name, limit in ID_LIMITS.items():
        columns[name] = _text_column(name, limit, needed=name == "event_id", shortest=1)
    for name, limit in CONTEXT_LIMITS.items():
        columns[name] = _text_column(name, limit)
    known = pa.array([*plan.events, *plan.aliases])
    columns["event_name"] = pandera.Column(
        "str", [_PRESENT, _check("unknown_event", lambda a: pc.is_in(a, known))], nullable=True
    )
    device_types = pa.array(DEVICE_TYPES)
    columns["device_type"] = pandera.Column(
        "str", _check("not_allowed", lambda a: pc.is_in(a, device_types)), nullable=True
    )
    columns["consent"] = pandera.Column("str", _each_text("consent", _is_valid_consent), nullable=True)
    columns["properties"] = pandera.Column("str", nullable=True)
    in_range = pandera.Check(lambda s: (s >= MIN_US) & (s < MAX_US), name="timestamp_out_of_range")
    columns["event_us"] = pandera.Column("Int64", [_PRESENT, in_range], nullable=True)
    columns["received_us"] = pandera.Column("Int64", nullable=False)
    someone = pandera.Check(
        lambda frame: frame["user_id"].notna() | frame["anonymous_id"].notna(), name="missing_identity", ignore_na=False
    )
    return pandera.DataFrameSchema(columns, checks=someone, name=f"landing {plan.version}", strict="filter")


def properties_schema(spec: EventSpec) -> pandera.SeriesSchema:
    """The contract of the `properties` text of one event."""
    valid = _each_text("properties", lambda text: _are_valid_properties(spec, text))
    return pandera.SeriesSchema("str", [_PRESENT, valid] if spec.required else valid, nullable=True, name="properties")


def validate_frame(plan: Plan, df: pd.DataFrame) -> FrameVerdict:
    """The verdict on every row of a landing frame. Raises ContractBreak when a column is missing or of another type."""
    frame = conform(df)
    if frame.empty:
        return FrameVerdict(np.ones(0, dtype=bool), [])
    if frame["received_us"].isna().any():
        raise ContractBreak("landing column received_us holds nulls; land the batch again")
    ok = _kept(plan, landing_schema(plan), frame)
    bad = np.flatnonzero(~ok)
    return FrameVerdict(ok, [_reasons(plan, row) for row in pa.Table.from_pandas(frame.iloc[bad]).to_pylist()])


def texts_kept(plan: Plan, df: pd.DataFrame) -> np.ndarray:
    """Of each row whether its JUDGED_TEXTS keep the contract, whatever the other columns hold. Raises ContractBreak."""
    frame = conform(df, JUDGED_TEXTS)
    if frame.empty:
        return np.ones(0, dtype=bool)
    columns = landing_schema(plan).columns
    return _kept(plan, pandera.DataFrameSchema({name: columns[name] for name in JUDGED_TEXTS}), frame)


def _kept(plan: Plan, envelope: pandera.DataFrameSchema, frame: pd.DataFrame) -> np.ndarray:
    """Of each row whether it keeps `envelope` and the properties of its event."""
    ok = np.ones(len(frame), dtype=bool)
    ok[_failing(envelope, frame)] = False
    names = frame["event_name"].map(plan.resolve, na_action="ignore") if plan.aliases else frame["event_name"]
    for name, texts in frame["properties"].groupby(names, sort=False):
        ok[_failing(properties_schema(plan.events[name]), texts) if name in plan.events else []] = False
    return ok


def _failing(schema: Any, data: pd.DataFrame | pd.Series) -> np.ndarray:
    """Positions (index labels) of the rows that break `schema`."""
    try:
        schema.validate(data, lazy=True)
    except SchemaErrors as error:
        broken = [e for e in error.schema_errors if e.check_output is None]
        if broken:
            raise ContractBreak(f"landing frame: {broken[0]}") from error
        return np.unique(np.concatenate([_failing_rows(e.check_output) for e in error.schema_errors]))
    return np.empty(0, dtype=np.int64)


def _failing_rows(passed: pd.Series) -> np.ndarray:
    return passed.index[~passed.fillna(False).astype(bool)].to_numpy()


def _text_column(name: str, limit: int, *, needed: bool = False, shortest: int = 0) -> pandera.Column:
    def fits(array: pa.Array) -> pa.Array:
        length = pc.utf8_length(array)
        return pc.and_(pc.greater_equal(length, shortest), pc.less_equal(length, limit))

    checks = [_check("length", fits), _check("nul", lambda array: pc.invert(pc.match_substring(array, "\x00")))]
    if name == "event_id":
        checks.append(_each_text("personal_data", lambda text: not EMAIL.search(text), only="@"))
    return pandera.Column("str", [_PRESENT, *checks] if needed else checks, nullable=True)


def _check(name: str, is_valid: Callable[[pa.Array], pa.Array]) -> pandera.Check:
    """A check on the Arrow array of a text column; a null passes."""

    def run(series: pd.Series) -> pd.Series:
        array = _array(series)
        passed = pc.or_kleene(array.is_null(), is_valid(array))
        return pd.Series(passed.to_numpy(zero_copy_only=False), index=series.index)

    return pandera.Check(run, name=name, ignore_na=False)


def _each_text(name: str, is_valid: Callable[[str], bool], only: str | None = None) -> pandera.Check:
    """A check by a Python function, called once for each distinct text; a null passes, as does a column without `only`."""

    def run(series: pd.Series) -> pd.Series:
        array = _array(series)
        if only is not None and not pc.any(pc.match_substring(array, only)).as_py():
            return pd.Series(np.ones(len(series), dtype=bool), index=series.index)
        coded = array.dictionary_encode()
        passed = np.fromiter((is_valid(text) for text in coded.dictionary.to_pylist()), dtype=bool)
        passed = np.append(passed, True)
        codes = pc.fill_null(coded.indices, len(passed) - 1).to_numpy(zero_copy_only=False)
        return pd.Series(passed[codes], index=series.index)

    return pandera.Check(run, name=name, ignore_na=False)


def _array(series: pd.Series) -> pa.Array:
    array = pa.array(series, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _decoded(text: str) -> Any:
    """The JSON value of a stored text. Raises ValueError when it is not JSON."""
    raw = text.encode()
    if too_deep(raw):
        raise ValueError("too deep")
    return msgspec.json.decode(raw)


def _are_valid_properties(spec: EventSpec, text: str) -> bool:
    try:
        value = _decoded(text)
    except ValueError:
        return False
    value = {} if value is None else value
    return isinstance(value, dict) and not check_properties(spec, value)


def _is_valid_consent(text: str) -> bool:
    try:
        value = _decoded(text)
    except ValueError:
        return False
    if value is None:
        return True
    return isinstance(value, dict) and all(k in PURPOSES and isinstance(v, bool) for k, v in value.items())


def _reasons(plan: Plan, row: dict[str, Any]) -> tuple[FieldError, ...]:
    errors: list[FieldError] = []
    decoded: dict[str, Any] = {}
    for field in ("properties", "consent"):
        try:
            decoded[field] = _decoded(row[field]) if row[field] is not None else None
        except ValueError:
            decoded[field] = None
            errors.append(FieldError(field if field == "properties" else "context.consent", "invalid_json", "not JSON"))
    for field in ID_LIMITS:
        if row[field] == "" and field != "event_id":  # the door lands NULL for an id that names nothing
            errors.append(FieldError(field, "too_short", "an identifier has at least 1 character"))
    document: dict[str, Any] = {field: row[field] for field in (*ID_LIMITS, "event_name")}
    document["properties"] = decoded["properties"]
    document["context"] = {field: row[field] for field in (*CONTEXT_LIMITS, "device_type")} | {
        "consent": decoded["consent"]
    }
    errors.extend(explain_document(plan, document, row["event_us"]))
    return tuple(errors) or (FieldError("", "invalid", "breaks the landing schema"),)
