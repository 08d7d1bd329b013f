"""What brought each row of the batch: the inputs of its source, and their rows of `core.sources`."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from gtm_dagster.channels.classify import classify, click_kind
from gtm_dagster.warehouse.statements import fragment


def add_sources(con: duckdb.DuckDBPyConnection) -> None:
    """Give every new combination of source, medium, campaign, referring host and kind of click id its source key.

    Leaves the view `source_inputs`: the accepted rows with these five.
    """
    _source_inputs(con)
    new = con.execute(fragment("new_source_inputs")).fetchall()
    known = {tuple(row[1:]): row[0] for row in con.execute("SELECT * FROM core.sources").fetchall()}
    sources, inputs = [], []
    for source, medium, campaign, host, click in sorted(new, key=repr):
        touch = classify(source, medium, campaign, f"https://{host}/" if host else None, click)
        if touch.rank is None:
            inputs.append([source, medium, campaign, host, click, 0])
            continue
        row = (touch.rank, touch.source, touch.medium, touch.campaign, touch.channel)
        if row not in known:
            known[row] = max(known.values()) + 1
            sources.append([known[row], *row])
        inputs.append([source, medium, campaign, host, click, known[row]])
    if sources:
        con.executemany("INSERT INTO core.sources VALUES (?, ?, ?, ?, ?, ?)", sources)
    if inputs:
        con.executemany("INSERT INTO meta.source_inputs VALUES (?, ?, ?, ?, ?, ?)", inputs)


def drop_unused_sources(con: duckdb.DuckDBPyConnection) -> None:
    """Forget sources that no event has: only copies that lost, or were withdrawn, named them."""
    unused = "source_key > 0 AND source_key NOT IN (SELECT source_key FROM meta.events WHERE source_key IS NOT NULL)"
    con.execute(f"DELETE FROM meta.source_inputs WHERE {unused}")
    con.execute(f"DELETE FROM core.sources WHERE {unused}")


def _source_inputs(con: duckdb.DuckDBPyConnection) -> None:
    ids = con.execute(
        "SELECT DISTINCT click_id FROM batch WHERE verdict = 'accepted' AND click_id IS NOT NULL"
    ).fetchall()
    con.execute("CREATE OR REPLACE TEMP TABLE click_kinds (click_id VARCHAR, click_kind VARCHAR)")
    if ids:
        kinds = pa.table({"click_id": [row[0] for row in ids], "click_kind": [click_kind(row[0]) for row in ids]})
        con.register("kinds", kinds)
        con.execute("INSERT INTO click_kinds SELECT * FROM kinds")
        con.unregister("kinds")
    statement = fragment(
        "source_inputs",
        click_kind="k.click_kind" if ids else "CAST(NULL AS VARCHAR) AS click_kind",
        click_kinds="LEFT JOIN click_kinds k ON k.click_id = h.click_id" if ids else "",
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW source_inputs AS {statement}")
