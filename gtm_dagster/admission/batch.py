"""Admission of a batch of events as Arrow columns: the verdicts and records of `Admission`, whole columns at once.

A column is judged once for each distinct value, by the functions that judge a single event; what is unique in every row
is taken by comparisons that only ever say "plainly good". Every row that is not plainly good goes through the single
form, so a batch is its rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.admission import Admission, Seals, Sender, json_bytes
from gtm_dagster.admission.batch_columns import TIME_REASON, WRITTEN_TIME, one_array
from gtm_dagster.admission.batch_parts import Coded, coded, together
from gtm_dagster.admission.batch_values import (
    PersonId,
    Properties,
    clean_text,
    consent_of,
    person_id,
    plain_ids,
    properties_of,
    session_of,
    stored_ids,
    touch_fields,
)
from gtm_dagster.admission.record import LANDING_COLUMNS, Record
from gtm_dagster.channels.bots import bot_reason
from gtm_dagster.privacy.consent import REQUIRED, ConsentPolicy
from gtm_dagster.privacy.masking import UndeclaredText
from gtm_dagster.taxonomy import Plan, Rejected
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import (
    CAMPAIGN_FIELDS,
    CONTEXT_LIMITS,
    ID_LIMITS,
    MAX_FUTURE_US,
    MAX_US,
    MIN_US,
    UTM_FIELDS,
)
from gtm_dagster.taxonomy.event import FieldError

_TYPES = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
SCHEMA = pa.schema([pa.field(name, _TYPES[kind]) for name, kind in LANDING_COLUMNS])
_TEXTS = (*ID_LIMITS, "event_name", *CONTEXT_LIMITS, *UTM_FIELDS, "device_type", "user_agent", "consent", "properties")
__all__ = ["SCHEMA", "Judge", "Seals", "to_table"]


class Judge:
    """The form of admission for the batches of one import. `pseudonymize` maps an identifier to its pseudonym."""

    def __init__(
        self,
        plan: Plan,
        pseudonymize: Callable[[str], str],
        sealer: Seals,
        write_key: str,
        consent: ConsentPolicy = REQUIRED,
        gates_consent: bool = False,
        undeclared_text: UndeclaredText = "token",
    ) -> None:
        self.plan = plan
        self.write_key = write_key
        self.sender = Sender(write_key, gates_consent)
        self.admission = Admission(plan, cache(pseudonymize), sealer, consent, undeclared_text, pseudonymize)

    def table(self, events: pa.Table) -> pa.Table:
        """The landing rows of unjudged `events`: those kept, those suppressed, and those the single form judged."""
        table, is_plain = self.plain(events)
        rest = events.filter(pa.array(~is_plain)).to_pylist()
        return pa.concat_tables([table, to_table([self._single(row) for row in rest])])

    def plain(self, events: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """(landing rows of the unjudged `events` that are plainly good: kept, then suppressed; which of them are)."""
        if not events.num_rows:
            return SCHEMA.empty_table(), np.ones(0, dtype=bool)
        column = {name: one_array(events.column(name)) for name in events.column_names}
        column |= {name: pa.nulls(events.num_rows, pa.string()) for name in _TEXTS if name not in column}
        plain, suppressed, landed = self._plain(column)
        kept = self._landing(landed, plain & ~suppressed, events.num_rows)
        without = self._landing(
            {name: landed[name] for name in ("event_name", "received_us", "row_no")}, plain & suppressed, events.num_rows,
            verdict="suppressed", reason_codes="consent", rules=None,
        )  # fmt: skip
        return pa.concat_tables([kept, without]), plain

    def single(self, document: dict[str, Any], moment: int | str | None, received_us: int, row_no: int) -> Record:
        """The record of one decoded event with an id; `moment` as `EventValidator.validate_document` takes it."""
        record, _ = self.admission.document(document, moment, self.sender, received_us)
        return msgspec.structs.replace(record, origin="import", row_no=row_no)

    def broken(self, row_no: int, text: str, errors: tuple[FieldError, ...], received_us: int) -> Record:
        """The quarantined record of a row that is not readable as an event."""
        document = {"row": text}
        record, _ = self.admission.refuse(Rejected(errors), document, json_bytes(document), self.sender, received_us)
        return msgspec.structs.replace(record, origin="import", row_no=row_no)

    def _single(self, row: dict[str, Any]) -> Record:
        context = {field: row.get(field) for field in (*CONTEXT_LIMITS, *UTM_FIELDS, "device_type", "user_agent")}
        context["consent"] = _loads(row.get("consent"))
        document = {
            "event_id": row["event_id"],
            "event_name": row["event_name"],
            "timestamp": row[WRITTEN_TIME],
            "user_id": row.get("user_id"),
            "anonymous_id": row.get("anonymous_id"),
            "session_id": row.get("session_id"),
            "properties": _loads(row.get("properties")),
            "context": {field: value for field, value in context.items() if value is not None},
        }
        document = {field: value for field, value in document.items() if value is not None}
        moment = row["event_us"] if row["event_us"] is not None else row.get(TIME_REASON)
        return self.single(document, moment, row["received_us"], row["row_no"])

    def _plain(self, column: dict[str, pa.Array]) -> tuple[np.ndarray, np.ndarray, dict[str, pa.Array]]:
        """(plainly good rows, those of them that are suppressed, landing columns of the plainly good rows)."""
        admission = self.admission
        names = coded(column["event_name"], self.plan.resolve)
        plain = (
            names.valid
            & plain_ids("event_id", column["event_id"])
            & _plain_times(column["event_us"], column["received_us"])
        )
        landed = {name: column[name] for name in ("event_us", "received_us", "row_no")}
        landed["event_id"] = stored_ids(column["event_id"], admission.pseudonymize_id)
        landed["event_name"] = names.texts()

        user = coded(column["user_id"], lambda text: person_id("user_id", text, admission.pseudonymize))
        anonymous = coded(column["anonymous_id"], lambda text: person_id("anonymous_id", text, admission.pseudonymize))
        somebody = np.zeros(len(plain), dtype=bool)
        for field, ids in (("user_id", user), ("anonymous_id", anonymous)):
            somebody |= ids.where(_names_somebody)
            plain &= ids.fits
            landed[field] = ids.texts(lambda one: one.pseudonym)
        plain &= somebody
        session = coded(column["session_id"], lambda text: session_of(text, admission.pseudonymize))
        plain &= session.fits
        landed["session_id"] = session.texts(lambda found: found[0])

        for field in ("locale", "country", "region", "timezone"):
            cleaned = coded(column[field], partial(clean_text, field))
            plain &= cleaned.fits
            landed[field] = cleaned.texts(lambda found: found[0])
        plain &= self._touch(column, names, landed)
        landed["bot_reason"] = coded(column["user_agent"], lambda text: bot_reason(text) or None).texts()
        suppressed, fits = self._consent(column, names, landed)
        plain &= fits
        pairs = together([names, coded(column["properties"])])
        specs = self.plan.events

        def judged(pair: tuple[Any, ...]) -> Properties | None:
            if not pair[0]:
                return None
            return properties_of(specs[pair[0]], pair[1], admission.pseudonymize, admission.undeclared_text)

        properties = pairs.each(judged)
        plain &= properties.fits
        landed["properties"] = properties.texts(lambda found: found.text)
        return plain, suppressed, landed

    def _touch(self, column: dict[str, pa.Array], names: Coded, landed: dict[str, pa.Array]) -> np.ndarray:
        """Adds campaign, click id, page, referrer and device to `landed`; the rows of which all of them fit."""
        page = coded(column["page_url"], lambda text: clean_text("page_url", text))
        referrer = coded(column["referrer"], lambda text: clean_text("referrer", text))
        query = coded(column["page_url"], lambda text: text if "?" in text else None)
        browsing = names.each(lambda name: name is not None and self.plan.events[name].browsing)
        parts = [coded(column[field]) for field in (*CAMPAIGN_FIELDS, *UTM_FIELDS, "click_id")]
        sent = together([*parts, query, page.each(_has), referrer.each(_has), coded(column["device_type"]), browsing])
        touched = sent.each(touch_fields)
        for index, field in enumerate((*CAMPAIGN_FIELDS, "click_id", "device_type")):
            landed[field] = touched.texts(itemgetter(index))
        landed["page_url"] = page.texts(lambda found: found[0])
        landed["referrer"] = referrer.texts(lambda found: found[0])
        return page.fits & referrer.fits & touched.fits

    def _consent(
        self, column: dict[str, pa.Array], names: Coded, landed: dict[str, pa.Array]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(suppressed rows, rows whose consent fits); adds consent to `landed`."""
        consent = coded(column["consent"], consent_of)
        basis = names.each(lambda name: self.plan.events[name].basis if name else None)
        policy, gates = self.admission.consent, self.sender.gates_consent

        def is_suppressed(parts: tuple[Any, ...]) -> bool:
            found, basis, country, region = parts
            analytics = found.analytics if found else None
            return policy.suppresses(analytics, basis, country, region, gates_consent=gates)

        places = [coded(landed["country"]), coded(landed["region"])]
        landed["consent"] = consent.texts(lambda found: found.text)
        return together([consent, basis, *places]).where(is_suppressed), consent.fits

    def _landing(self, landed: dict[str, pa.Array], rows: np.ndarray, total: int, **constants: str | None) -> pa.Table:
        """The landing table of `rows` of the columns."""
        values: dict[str, str | None] = {
            "write_key": self.write_key,
            "plan_version": self.plan.version,
            "verdict": "accepted",
            "origin": "import",
            "rules": self.admission.rules,
        }
        values |= constants
        count = int(rows.sum())
        mask = None if count == total else pa.array(rows)
        arrays = []
        for field in SCHEMA:
            if field.name in values:
                arrays.append(pa.repeat(pa.scalar(values[field.name], field.type), count))
            elif field.name in landed:
                array = landed[field.name] if mask is None else landed[field.name].filter(mask)
                arrays.append(array.cast(field.type))
            else:
                arrays.append(pa.nulls(count, field.type))
        return pa.table(arrays, schema=SCHEMA)


def to_table(records: Iterable[Record]) -> pa.Table:
    """Records as landing rows."""
    columns = list(zip(*map(msgspec.structs.astuple, records), strict=True))
    if not columns:
        return SCHEMA.empty_table()
    return pa.table([pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def _names_somebody(found: PersonId | None) -> bool:
    return found is not None and found.pseudonym is not None


def _has(found: tuple[str | None] | None) -> bool:
    return found is not None and found[0] is not None


def _plain_times(event_us: pa.Array, received_us: pa.Array) -> np.ndarray:
    us = pc.fill_null(event_us, MIN_US - 1).to_numpy(zero_copy_only=False)
    return (us >= MIN_US) & (us < MAX_US) & (us <= received_us.to_numpy(zero_copy_only=False) + MAX_FUTURE_US)


def _loads(text: str | None) -> Any:
    """The JSON value of a cell; the text itself where it is none, which the plan refuses."""
    if text is None:
        return None
    try:
        return text if too_deep(text.encode()) else msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
