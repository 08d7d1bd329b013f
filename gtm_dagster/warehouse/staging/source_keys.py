"""What brought each row of the batch: SQL finds the distinct inputs, `channels` decides each of them once."""

from __future__ import annotations

from functools import cache

import duckdb
import pyarrow as pa

from gtm_dagster.channels.classify import Touch, touch_of
from gtm_dagster.channels.click_ids import click_kind
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.channels.sources import path_matters, referrer_key
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.statements import fragment

ORIGIN = r"^[^/\\?#]*(?://[^/\\?#]*)?[/\\?#]?"
"""The beginning of a URL that `host_of` reads, and the sign behind it: without that sign a blank in front of it, which no
host may hold, would look like one behind the URL."""
CLICK = "^[^=:]*[=:]?"
"""The part of a click id that names its kind; an id without a name is whole."""

_INPUTS = ("source", "medium", "campaign", "referrer_text", "page_origin", "click_kind")


def add_sources(con: duckdb.DuckDBPyConnection, own_hosts: tuple[str, ...]) -> None:
    """Give every combination of inputs that names a source its row of `core.sources`.

    Leaves the view `source_inputs`, the accepted rows with their inputs, and `batch_sources`, the source key and rank of
    each combination that has them.
    """
    _source_inputs(con)
    key_of, host = cache(referrer_key), cache(host_of)
    decided: list[tuple[tuple[str | None, ...], Touch]] = []
    for inputs in con.execute(fragment("batch_source_inputs")).fetchall():
        source, medium, campaign, referrer, page, click = inputs
        touch = touch_of(source, medium, campaign, key_of(referrer), click, host(page), own_hosts)
        if touch.rank is not None:
            decided.append((inputs, touch))
    keys = _keys(con, {touch for _, touch in decided})
    rows = [(*inputs, keys[touch], touch.rank) for inputs, touch in decided]
    schema = pa.schema(
        [*((name, pa.string()) for name in _INPUTS), ("source_key", pa.int32()), ("touch_rank", pa.int32())]
    )
    _keep(
        con, "batch_sources", pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    )


def _keys(con: duckdb.DuckDBPyConnection, touches: set[Touch]) -> dict[Touch, int]:
    """The key of each touch in `core.sources`, which gets those it does not have."""
    rows = con.execute(
        "SELECT touch_rank, source, medium, campaign, channel, rule, source_key FROM core.sources"
    ).fetchall()
    keys = {Touch(*row[:-1]): row[-1] for row in rows}
    new = sorted(touches - keys.keys(), key=repr)
    keys.update({touch: key for key, touch in enumerate(new, start=max(keys.values()) + 1)})
    if new:
        con.executemany(
            "INSERT INTO core.sources VALUES (?, ?, ?, ?, ?, ?, ?)", [(keys[touch], *touch) for touch in new]
        )
    return keys


def drop_unused_sources(con: duckdb.DuckDBPyConnection) -> None:
    """Forget sources that no event has: only copies that lost, or were withdrawn, named them."""
    unused = "source_key > 0 AND source_key NOT IN (SELECT source_key FROM meta.events WHERE source_key IS NOT NULL)"
    con.execute(composed("DELETE FROM core.sources WHERE $unused", unused=unused))


def _source_inputs(con: duckdb.DuckDBPyConnection) -> None:
    """The view: a referrer stays whole where a path of its host decides, and a click id becomes its kind."""
    origins = _texts(con, f"regexp_extract(referrer, '{ORIGIN}')")
    listed = [origin for origin in origins if (host := host_of(origin)) and path_matters(host)]
    _keep(con, "listed_origins", pa.table({"origin": pa.array(listed, pa.string())}))
    clicks = _texts(con, f"regexp_extract(click_id, '{CLICK}')")
    kinds = pa.array([click_kind(text) for text in clicks], pa.string())
    _keep(con, "click_kinds", pa.table({"click_text": pa.array(clicks, pa.string()), "click_kind": kinds}))
    joins = []
    if listed:
        joins.append(f"LEFT JOIN listed_origins o ON o.origin = regexp_extract(b.referrer, '{ORIGIN}')")
    if clicks:
        joins.append(f"LEFT JOIN click_kinds k ON k.click_text = regexp_extract(b.click_id, '{CLICK}')")
    statement = fragment(
        "source_inputs",
        origin=ORIGIN,
        path_decides="o.origin IS NOT NULL" if listed else "false",
        click_kind="k.click_kind" if clicks else "CAST(NULL AS VARCHAR) AS click_kind",
        joins=" ".join(joins),
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW source_inputs AS {statement}")


def _texts(con: duckdb.DuckDBPyConnection, expression: str) -> list[str]:
    rows = con.execute(
        composed("SELECT DISTINCT $expression FROM batch WHERE verdict = 'accepted'", expression=expression)
    ).fetchall()
    return [text for (text,) in rows if text is not None]


def _keep(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    con.register("rows_to_keep", rows)
    con.execute(composed("CREATE OR REPLACE TEMP TABLE $name AS SELECT * FROM rows_to_keep", name=name))
    con.unregister("rows_to_keep")
