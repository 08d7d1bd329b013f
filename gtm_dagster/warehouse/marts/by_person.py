"""What marts share that are counted from what is kept by person: whose rows are to be written again, and whether any are."""

from __future__ import annotations

import json

import duckdb
import msgspec

from gtm_dagster.warehouse.affected import nothing_new, rebuild, take_affected
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.state import get_state, set_state


def is_counted(con: duckdb.DuckDBPyConnection, step: str, settings: object) -> bool:
    """Whether nothing is to be counted again: `settings` are those of last time, and nothing is new."""
    return get_state(con, step) == _text(settings) and nothing_new(con, step)


def _text(settings: object) -> str:
    return json.dumps(msgspec.to_builtins(settings), sort_keys=True)


def take_counted(con: duckdb.DuckDBPyConnection, step: str, settings: object) -> bool:
    """Follow the log with `settings`; True when everything is to be counted again. Makes the table `affected`."""
    text = _text(settings)
    if get_state(con, step) != text:
        rebuild(con, step)
    whole = take_affected(con, step)
    set_state(con, step, text)
    return whole


def take_persons(con: duckdb.DuckDBPyConnection, step: str, settings: object) -> str:
    """The condition on person_no of those to count again: the affected ones, or all when `settings` changed.

    Their rows in `meta.<step>_persons` are gone when this returns. Makes the view `person_origin`.
    """
    whole = take_counted(con, step, settings)
    among = "true" if whole else "person_no IN (SELECT person_no FROM affected)"
    con.execute(composed("DELETE FROM meta.$step WHERE $among", step=f"{step}_persons", among=among))
    con.execute(
        "CREATE OR REPLACE TEMP VIEW person_origin AS SELECT * RENAME (person_no AS person_id) FROM meta.person_origin"
    )
    return among
