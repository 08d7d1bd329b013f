"""The small pictures of a table as they were drawn last: shown again by a run in which nothing in the table changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
import duckdb
import msgspec

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.schema.table import Table
from gtm_dagster.warehouse.state import get_state, set_state


def drawn_before(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: Table, now: datetime | None = None
) -> dict[str, dg.MarkdownMetadataValue] | None:
    """The pictures by name; None where none were drawn on this UTC day under these settings."""
    stored = get_state(con, _name(table)) if table.charts else None
    if stored is None:
        return None
    drawn_for, texts = msgspec.json.decode(stored, type=tuple[str, dict[str, str]])
    return {name: dg.MetadataValue.md(text) for name, text in texts.items()} if drawn_for == _digest(ctx, now) else None


def note_drawn(
    con: duckdb.DuckDBPyConnection,
    ctx: BuildContext,
    table: Table,
    pictures: Mapping[str, dg.MarkdownMetadataValue],
    now: datetime | None = None,
) -> None:
    """Remember the pictures for `drawn_before`."""
    texts = {name: picture.md_str for name, picture in pictures.items()}
    set_state(con, _name(table), msgspec.json.encode((_digest(ctx, now), texts)).decode())


def _name(table: Table) -> str:
    return f"figures of {table.name}"


def _digest(ctx: BuildContext, now: datetime | None) -> str:
    today = (now or datetime.now(UTC)).date().isoformat()
    return hashlib.sha256(f"{today} {ctx.settings!r}".encode()).hexdigest()[:16]
