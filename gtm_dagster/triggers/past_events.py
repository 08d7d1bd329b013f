"""Landed events in the order of receipt, as rules see them: those a rule names, and what says who a person is and allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.settings import Settings
from gtm_dagster.triggers.rule_lint import CONTEXT_FIELDS
from gtm_dagster.triggers.trigger_event import TriggerEvent

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK_ROWS = 200_000
_COLUMNS = [
    "write_key", "event_id", "event_name", "event_us", "received_us", "user_id", "anonymous_id", "properties",
    "consent", "timezone", "bot_reason", "origin", *CONTEXT_FIELDS,
]  # fmt: skip
_SAME = ["user_id", "anonymous_id", "consent", "timezone", "country"]
PROFILE_EVENTS = ("consent_updated", "user_identified")
IMPORTED_LATE_US = 2 * 86_400 * 1_000_000
"""An imported event that arrived later than this was not live then: it counts as received when it happened."""
Progress = Callable[..., None]


class PastError(RuntimeError):
    """Landed events that cannot be read."""


class Past(msgspec.Struct, frozen=True):
    """`table`: the rows, in the order of receipt. `first_us`, `last_us`: receipts of all landed events, None without any."""

    table: Any
    first_us: int | None
    last_us: int | None


def read_past(
    settings: Settings,
    names: Collection[str],
    progress: Progress | None = None,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Past:
    """Accepted landed events named in `names`, and of the others those that say something new about their person.

    One row a (write_key, event_id), the first that was received; `aliases` of the plan: what landed under one of them
    has its name of today. Raises PastError.
    """
    import pyarrow as pa

    from gtm_dagster.warehouse.engine import in_memory

    tables = list(_tables(settings, frozenset(names), progress, aliases))
    if not tables:
        return Past(None, None, None)
    events = pa.concat_tables(tables)
    con = in_memory()
    try:
        con.register("landed", events)
        wanted = sorted({*names, *PROFILE_EVENTS})
        table = con.sql(_STATEMENT.format(same=", ".join(_SAME)), params=[IMPORTED_LATE_US, wanted]).to_arrow_table()
        bounds = con.execute(_BOUNDS, [IMPORTED_LATE_US]).fetchone()
    finally:
        con.close()
    return Past(table, *(bounds or (None, None)))


_RECEIVED = "CASE WHEN origin = 'log' OR received_us - event_us <= ? THEN received_us ELSE event_us END"
_BOUNDS = f"SELECT min(r), max(r) FROM (SELECT {_RECEIVED} AS r FROM landed)"  # noqa: S608
_STATEMENT = f"""
WITH once AS (
    SELECT * REPLACE ({_RECEIVED} AS received_us) FROM landed
    QUALIFY row_number() OVER (PARTITION BY write_key, event_id ORDER BY received_us, event_us, row_no) = 1
), marked AS (
    SELECT *, row({{same}}) IS DISTINCT FROM
        lag(row({{same}})) OVER (PARTITION BY coalesce(user_id, anonymous_id) ORDER BY event_us, event_id) AS is_news
    FROM once
)
SELECT * FROM marked WHERE is_news OR list_contains(?, event_name)
ORDER BY received_us, event_us, write_key, event_id
"""  # noqa: S608  (column names of this module; values are parameters)


def events_of(past: Past) -> Iterator[TriggerEvent]:
    """The rows as events, in order."""
    for batch in past.table.to_batches(_CHUNK_ROWS // 10) if past.table is not None else ():
        for row in batch.to_pylist():
            yield TriggerEvent(
                event_id=row["event_id"],
                name=row["event_name"],
                at_us=row["event_us"],
                received_us=row["received_us"],
                user_id=row["user_id"],
                anonymous_id=row["anonymous_id"],
                properties=_json(row["properties"]),
                context={name: row[name] for name in CONTEXT_FIELDS if row[name] is not None},
                timezone=row["timezone"],
                consent=_json(row["consent"]),
                bot=row["bot_reason"] is not None,
            )


def _tables(
    settings: Settings, names: frozenset[str], progress: Progress | None, aliases: Mapping[str, str]
) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from gtm_dagster.warehouse.landing import Landing, complete, named_as_today

    landing = Landing(settings.landing_dir)
    columns = [*_COLUMNS, "row_no", "verdict"]
    wanted = pa.array(sorted({*names, *PROFILE_EVENTS}), pa.string())
    with landing.reading() as files:  # while a run compacts, its files stay until this ends
        rows, done = sum(file.rows for file in files), 0
        for file in files:
            try:
                for batch in pq.ParquetFile(file.path).iter_batches(_CHUNK_ROWS, columns=_present(file.path, columns)):
                    table = named_as_today(complete(batch, columns), aliases)
                    table = table.filter(pc.equal(table.column("verdict"), "accepted")).drop_columns(["verdict"])
                    needed = pc.is_in(table.column("event_name"), value_set=wanted)
                    place = table.schema.get_field_index("properties")
                    texts = pc.if_else(needed, table.column("properties"), pa.scalar(None, pa.string()))
                    yield table.set_column(place, "properties", texts)
                    done += batch.num_rows
                    if progress:
                        progress(done, rows)
            except (OSError, pa.ArrowInvalid) as error:
                raise PastError(f"{file.path}: cannot be read ({error}); restore it from a backup") from error


def _present(path: Any, columns: list[str]) -> list[str]:
    """The columns that a file of any version has."""
    import pyarrow.parquet as pq

    names = set(pq.read_schema(path).names)
    return [name for name in columns if name in names]


def _json(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    value = msgspec.json.decode(text)
    return value if isinstance(value, dict) else {}
