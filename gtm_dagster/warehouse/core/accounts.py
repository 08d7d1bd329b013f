"""`core.accounts`: the account of each person, by what the person's events say (`account_property`).

At a moment a person belongs to the account that the newest event at or before it names; before the first such event to
the first account, as the events of a visitor belong to the user seen later. Only events count of which the plan declares the
property: undeclared, it lands in another form, and one account would be two. What was named is kept by person and moment
(`meta.account_moments`), so a batch reads its own events and the persons it names.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import (
    delete_affected,
    drop_tables,
    drop_views,
    nothing_new,
    take_affected,
    within,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed, literal, literals
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.statements import fragment, statement


def build_accounts(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """The stretches of the affected persons; none where the settings name no property, or one that the plan does not declare."""
    name = ctx.settings.account_property or ""
    events = sorted(event for event, spec in ctx.plan.events.items() if name in spec.properties)
    if nothing_new(con, "accounts"):
        return unchanged(con, "core.accounts")
    with transaction(con):
        whole = take_affected(con, "accounts")
        _note_moments(con, name, events, whole)
        among = "true" if whole else "person_no IN (SELECT person_no FROM affected)"
        con.execute(
            composed(
                """CREATE OR REPLACE TEMP VIEW account_moments AS
            SELECT person_no AS person_id, event_us, CAST(local_day - DATE '1970-01-01' AS INTEGER) AS day_no, account_id
            FROM meta.account_moments WHERE $among""",
                among=among,
            )
        )
        con.execute(composed("DELETE FROM core.accounts WHERE $among", among=among))
        stretches = fragment("accounts_table", stretches=statement("accounts"))
        written = con.execute(f"INSERT INTO core.accounts {stretches}").fetchall()[0][0]
        result = StepResult(count(con, "core.accounts"), written, count(con, "affected"), whole)
    drop_views(con, "account_moments")
    drop_tables(con, "affected")
    return result


def _note_moments(con: duckdb.DuckDBPyConnection, name: str, events: list[str], whole: bool) -> None:
    """Write `meta.account_moments` again in the affected ranges."""
    delete_affected(con, "meta.account_moments", "event_us", whole)
    if not events:
        return
    found = fragment(
        "account_moments",
        events=literals(events),
        pointer=literal("/" + name.replace("~", "~0").replace("/", "~1")),
        quoted=literal(f'"{name}"' if name.isascii() else ""),  # a name beyond ASCII may be written as \u escapes
        among="" if whole else f"JOIN affected r ON {within('e', 'event_us')}",
    )
    con.execute(f"INSERT INTO meta.account_moments {found}")
