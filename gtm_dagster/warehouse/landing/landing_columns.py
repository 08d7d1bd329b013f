"""The columns of a landing file, and what a file that lacks some of them is read as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.record import DEFAULTS, LANDING_COLUMNS, REQUIRED_COLUMNS
from gtm_dagster.taxonomy.conform import ContractBreak

_ARROW_TYPES = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
ARROW_SCHEMA = pa.schema([pa.field(name, _ARROW_TYPES[kind]) for name, kind in LANDING_COLUMNS])
"""The columns of a judged row."""
SEALED = "sealed"
ROW_COLUMNS = [name for name in ARROW_SCHEMA.names if name != SEALED]
"""The columns of a file of rows: sealed originals lie in files of their own. Files of earlier versions have them too."""


def complete(rows: pa.Table | pa.RecordBatch, names: Sequence[str] = ARROW_SCHEMA.names) -> pa.Table:
    """`rows` of a landing file as the columns `names` in their types; an absent one has its default, NULL for most.

    Raises ContractBreak when a required one is absent.
    """
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    columns = []
    for field in (ARROW_SCHEMA.field(name) for name in names):
        if field.name in table.schema.names:
            columns.append(table.column(field.name).cast(field.type))
        elif field.name in REQUIRED_COLUMNS:
            raise ContractBreak(f"landing column {field.name} is missing; land the batch again")
        else:
            columns.append(pa.repeat(pa.scalar(DEFAULTS.get(field.name), field.type), table.num_rows))
    return pa.Table.from_arrays(columns, names=list(names))


def named_as_today(rows: pa.Table, aliases: Mapping[str, str]) -> pa.Table:
    """`rows` with the plan's name of an event in the place of an alias: what landed before the plan renamed it has that."""
    names = rows.column("event_name")
    if not pc.any(pc.is_in(names, value_set=pa.array(list(aliases), pa.string()))).as_py():
        return rows
    today = pa.array([aliases.get(name, name) for name in names.to_pylist()], pa.string())
    return rows.set_column(rows.schema.get_field_index("event_name"), "event_name", today)


_NOT_CONTENT = {
    "write_key", "event_id", "received_us", "plan_version", "rules", "verdict", "reason_codes", "errors", "raw", "sealed",
    "origin", "row_no", "bot_reason", "trace_id", "sent_with", "original_us",
}  # fmt: skip
CONTENT = [name for name in ARROW_SCHEMA.names if name not in _NOT_CONTENT]
"""What an event says: two copies of one id agree when these do."""
