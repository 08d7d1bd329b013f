"""What the restatement log has to know before it is gone: why persons change, and the credit that is about to be replaced.

Each note is taken in the transaction of what it is about, and is there until the log has followed: a refresh that was
killed loses none. Nothing here decides what a table of events, sessions or credit holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.warehouse.affected import longest_window_us, within
from gtm_dagster.warehouse.statements import fragment

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

RULE_CHANGE = "rule_change"
WITHDRAWN_IMPORT = "withdrawn_import"
REFUND = "refund"
IDENTITY_MERGE = "identity_merge"
LATE_EVENT = "late_event"
SPEND_IMPORT = "spend_import"
REASONS = (RULE_CHANGE, WITHDRAWN_IMPORT, REFUND, IDENTITY_MERGE, LATE_EVENT, SPEND_IMPORT)
"""In the order in which a change that has several goes to one; spend has one of its own, whether it came or was withdrawn."""


def note_withdrawn(con: duckdb.DuckDBPyConnection, batches: Sequence[str]) -> None:
    """The persons whose events are about to go with withdrawn batches (the temporary table `withdrawn_ids` holds them)."""
    con.execute(
        """INSERT INTO meta.restatement_causes
        SELECT DISTINCT person_no, $1, $2 FROM meta.events SEMI JOIN withdrawn_ids USING (write_key, event_id)""",
        [WITHDRAWN_IMPORT, ", ".join(batches)],
    )


def note_moved_persons(con: duckdb.DuckDBPyConnection) -> None:
    """Persons between whom an id that was known before moves, while `owners` and `moved_users` say where it goes.

    An id that moves since an import of its person is withdrawn is a part of that withdrawal.
    """
    con.execute(
        f"INSERT INTO meta.restatement_causes {fragment('moved_causes')}",
        [WITHDRAWN_IMPORT, IDENTITY_MERGE],
    )


def remember_credit(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Credit of the conversions of earlier days that the affected ranges can touch, as it is before any of it is replaced.

    Taken once: a step that was killed and runs again finds conversions without their old credit.
    """
    conversions = within("c", "conversion_us", longest_window_us(settings))
    con.execute(f"INSERT INTO meta.replaced_credit {fragment('replaced_credit', within=conversions)}")
