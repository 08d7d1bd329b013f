"""Admission of a batch of events as landing rows: verdict by the plan, pseudonyms, scrubbed texts, sealed originals."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch_columns import TIME_REASON, WRITTEN_TIME, each_distinct, one_array
from gtm_dagster.admission.record import LANDING_COLUMNS, Record, record_from_rejection
from gtm_dagster.privacy.masking import mask_event, scrub
from gtm_dagster.taxonomy import Event, Plan
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS
from gtm_dagster.taxonomy.event import EMAIL, FieldError, shown_name
from gtm_dagster.taxonomy.landing_schema import validate_frame

_TYPES = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
SCHEMA = pa.schema([pa.field(name, _TYPES[kind]) for name, kind in LANDING_COLUMNS])
_TIME_REASONS = {
    "bad_timestamp": "not a time of the file's format, such as 2026-01-31T09:30:00Z",
    "timestamp_without_offset": "needs an offset from UTC, such as Z or +02:00, or the mapping's timezone",
}
_URLS = ("page_url", "referrer")
_encode = msgspec.json.Encoder(order="deterministic").encode


class Seals(Protocol):
    """What seals an original event."""

    def seal(self, plain: bytes) -> bytes: ...


class Judge:
    """The form of admission for the batches of one import. `pseudonymize` maps an identifier to its pseudonym."""

    def __init__(self, plan: Plan, pseudonymize: Callable[[str], str], sealer: Seals, write_key: str) -> None:
        self.plan = plan
        self.pseudonymize = cache(pseudonymize)
        self.sealer = sealer
        self.write_key = write_key

    def table(self, events: pa.Table) -> pa.Table:
        """The landing rows of unjudged `events`, in their order by row number."""
        verdict = validate_frame(self.plan, events.drop_columns([WRITTEN_TIME, TIME_REASON]).to_pandas())
        ok = np.asarray(verdict.ok)
        good = self._accepted(events.filter(pa.array(ok)))
        bad = events.filter(pa.array(~ok)).to_pylist()
        records = [self._refused(row, errors) for row, errors in zip(bad, verdict.reasons, strict=True)]
        return pa.concat_tables([good, to_table(records)])

    def broken(self, row_no: int, text: str, errors: tuple[FieldError, ...], received_us: int) -> Record:
        """The quarantined record of a row that is not readable as an event."""
        document = {"row": text}
        return self.refuse(document, errors, None, None, received_us, row_no)

    def _refused(self, row: dict[str, Any], errors: tuple[FieldError, ...]) -> Record:
        context = {f: row[f] for f in (*CONTEXT_LIMITS, "device_type", "consent") if row[f] is not None}
        document: dict[str, Any] = {
            f: row[f] for f in ("event_id", "event_name", "user_id", "anonymous_id", "session_id") if row[f] is not None
        }
        document |= {"timestamp": row[WRITTEN_TIME], "properties": _loads(row["properties"]), "context": context}
        if "consent" in context:
            context["consent"] = _loads(context["consent"])
        if row[TIME_REASON] is not None:
            reason = FieldError("timestamp", row[TIME_REASON], _TIME_REASONS[row[TIME_REASON]])
            errors = (reason, *(error for error in errors if error.path != "timestamp"))
        return self.refuse(document, errors, row["event_id"], row["event_name"], row["received_us"], row["row_no"])

    def refuse(
        self, document: dict[str, Any], errors: tuple[FieldError, ...], event_id: str | None, event_name: str | None,
        received_us: int, row_no: int,
    ) -> Record:  # fmt: skip
        """The quarantined record of an event refused for `errors`."""
        readable = event_id is not None and 0 < len(event_id) <= 128 and not EMAIL.search(event_id)
        record = record_from_rejection(
            errors,
            event_id=event_id if readable else None,
            event_name=shown_name(event_name) if event_name is not None else None,
            write_key=self.write_key,
            received_us=received_us,
            plan_version=self.plan.version,
            raw=mask_event(self.plan, document),
            sealed=self.sealer.seal(msgspec.json.encode(document)),
        )
        return msgspec.structs.replace(record, origin="import", row_no=row_no)

    def _accepted(self, events: pa.Table) -> pa.Table:
        rows = events.num_rows
        column = {
            name: one_array(events.column(name))
            for name in events.column_names
            if name not in (WRITTEN_TIME, TIME_REASON)
        }
        names = each_distinct(column["event_name"], self.plan.resolve)
        column["event_name"] = names
        for field in ("user_id", "anonymous_id"):
            column[field] = each_distinct(column[field], self.pseudonymize)
        some_name = next(iter(self.plan.events))
        for field in (*CONTEXT_LIMITS, "session_id"):
            column[field] = self._clean(field, column[field], some_name)
        column["properties"] = self._clean_properties(names, column["properties"])
        column["consent"] = each_distinct(column["consent"], _canonical)
        constants = {
            "write_key": self.write_key,
            "plan_version": self.plan.version,
            "verdict": "accepted",
            "origin": "import",
        }
        arrays = []
        for field in SCHEMA:
            if field.name in constants:
                arrays.append(pa.repeat(pa.scalar(constants[field.name], field.type), rows))
            elif field.name in column:
                arrays.append(column[field.name].cast(field.type))
            else:
                arrays.append(pa.nulls(rows, field.type))
        return pa.table(arrays, schema=SCHEMA)

    def _clean(self, field: str, array: pa.Array, some_name: str) -> pa.Array:
        if array.null_count == len(array):
            return array
        if field not in _URLS and not pc.any(pc.match_substring(array, "@")).as_py():
            return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)

        def cleaned(text: str) -> str | None:
            value: dict[str, Any] = {field: text}
            event = Event(event_id="-", event_name=some_name, event_us=0, **value)
            return getattr(scrub(event, self.plan, self.pseudonymize), field) or None

        return each_distinct(array, cleaned)

    def _clean_properties(self, names: pa.Array, texts: pa.Array) -> pa.Array:
        if not len(texts):
            return texts
        result = pc.fill_null(texts, "{}").to_pandas().to_numpy(dtype=object)
        kinds = names.to_pandas().to_numpy(dtype=object)
        decode = msgspec.json.decode
        for name in names.unique().to_pylist():
            known: dict[str, str] = {}
            for row in np.flatnonzero(kinds == name):
                text = result[row]
                clean = known.get(text)
                if clean is None:
                    event = Event(event_id="-", event_name=name, event_us=0, properties=decode(text) or {})
                    clean = known[text] = _encode(scrub(event, self.plan, self.pseudonymize).properties).decode()
                result[row] = clean
        return pa.array(result, pa.string())


def to_table(records: list[Record]) -> pa.Table:
    """Records as landing rows."""
    if not records:
        return SCHEMA.empty_table()
    columns = zip(*map(msgspec.structs.astuple, records), strict=True)
    return pa.table([pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def _canonical(text: str) -> str | None:
    value = msgspec.json.decode(text)
    return None if value is None else _encode(value).decode()


def _loads(text: str | None) -> Any:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
