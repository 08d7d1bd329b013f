"""Which persons a batch changed, and in which time: written once, followed by every step at its own pace.

`meta.affected_ranges` is a log of (batch, stage, person, from, to). `meta.steps` says how far each step has followed it;
a step without a row builds its table whole, so a table that is new, or has to be built anew, needs nothing else. What a
killed run has not followed yet is still there for the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.attribution.models import model
from gtm_dagster.warehouse.literals import composed

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

EVENTS = "events"
"""Ranges of changed events, found by `identities`; `sessions` follows them."""
SESSIONS = "sessions"
"""Ranges of rebuilt sessions; every later step follows them."""
SPEND = "spend"
"""Changed spend, which has no person: one range of nobody a change; the marts that hold spend follow it, too."""
CHANGES = "changes"
"""What staging changed (`meta.changed`, kept apart); `identities` follows it."""
OWNERS = "owners"
"""Persons whose identities were written again; publishing follows them."""
PUBLISH = "publish"
"""Publishing is a step like any other: it follows what the others replaced."""
HOUR_US = 3_600_000_000
_CHECKS = "checks of "
_ANY_TIME = 4_000_000_000_000_000_000
_END = "greatest((SELECT coalesce(max(batch), 0) FROM meta.affected_ranges), (SELECT coalesce(max(followed), 0) FROM meta.steps))"
"""The last batch there was, followed or not."""


def check_step(name: str) -> str:
    """The step by which the checks of a table (its name, or that of its step) follow the log."""
    return _CHECKS + name


def add_ranges(con: duckdb.DuckDBPyConnection, stage: str, query: str) -> None:
    """Append the ranges of `query` (person_no, lo_us, hi_us) to the log, as one batch of `stage`."""
    con.execute(
        composed(
            """INSERT INTO meta.affected_ranges
        SELECT (SELECT 1 + $end),
          $1, person_no, lo_us, hi_us FROM ($query)""",
            end=_END,
            query=query,
        ),
        [stage],
    )


def take_affected(con: duckdb.DuckDBPyConnection, step: str, stage: str = SESSIONS) -> bool:
    """Follow the log up to its end: the temporary table `affected` (person_no, lo_us, hi_us) is what is new to `step`.

    True when the step has to build its table whole; the serving copy is then written whole, too, and the table's checks
    look at everything. Part of the step's transaction.
    """
    whole = needs_rebuild(con, step)
    find_affected(con, step, stage)
    follow_to_end(con, step, stage)
    if whole:
        rebuild(con, PUBLISH, check_step(step))
    return whole


def follow_to_end(con: duckdb.DuckDBPyConnection, step: str, stage: str) -> None:
    """`step` has followed the log of `stage` up to its end."""
    con.execute("DELETE FROM meta.steps WHERE step = ?", [step])
    con.execute(f"INSERT INTO meta.steps SELECT $1, $2, {_END}", [step, stage])


def nothing_new(con: duckdb.DuckDBPyConnection, step: str, stage: str = SESSIONS) -> bool:
    """Whether the log holds nothing that `step` has not followed, and its table need not be built whole."""
    followed = con.execute("SELECT followed FROM meta.steps WHERE step = ?", [step]).fetchall()
    news = "SELECT 1 FROM meta.affected_ranges WHERE stage = ? AND batch > ? LIMIT 1"
    return bool(followed) and not con.execute(news, [stage, followed[0][0]]).fetchall()


def find_affected(con: duckdb.DuckDBPyConnection, step: str, *stages: str) -> None:
    """Fill the temporary table `affected` with what is new to `step`, and leave it so."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE affected AS
        SELECT person_no, min(lo_us) AS lo_us, max(hi_us) AS hi_us FROM meta.affected_ranges
        WHERE list_contains($1::VARCHAR[], stage) AND batch > coalesce((SELECT followed FROM meta.steps WHERE step = $2), 0)
        GROUP BY 1""",
        [list(stages), step],
    )


def needs_rebuild(con: duckdb.DuckDBPyConnection, step: str) -> bool:
    """Whether `step` builds its table whole the next time."""
    return not con.execute("SELECT 1 FROM meta.steps WHERE step = ?", [step]).fetchall()


def rebuild(con: duckdb.DuckDBPyConnection, *steps: str) -> None:
    """The named steps build their tables whole the next time."""
    con.execute("DELETE FROM meta.steps WHERE list_contains($1::VARCHAR[], step)", [list(steps)])


def rebuild_except(con: duckdb.DuckDBPyConnection, *steps: str) -> None:
    """Every other step builds its table whole the next time; its checks look at everything then."""
    con.execute(
        "DELETE FROM meta.steps WHERE NOT list_contains($1::VARCHAR[], step) AND NOT starts_with(step, $2)",
        [list(steps), _CHECKS],
    )


def publish_is_due(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether a step replaced anything since the last publishing."""
    find_affected(con, PUBLISH, SESSIONS, OWNERS, SPEND)
    changed = bool(con.execute("SELECT 1 FROM affected LIMIT 1").fetchall())
    con.execute("DROP TABLE temp.affected")
    return changed or needs_rebuild(con, PUBLISH)


def note_published(con: duckdb.DuckDBPyConnection) -> None:
    """What changed is with the readers; ranges a step has yet to follow stay due, and those that all have followed go."""
    con.execute("DELETE FROM meta.steps WHERE step = ?", [PUBLISH])
    con.execute(
        composed(
            """INSERT INTO meta.steps SELECT $1, $2, least($end,
          coalesce((SELECT min(followed) FROM meta.steps WHERE stage = $2 AND NOT starts_with(step, $3)), 9223372036854775807))""",
            end=_END,
        ),
        [PUBLISH, SESSIONS, _CHECKS],
    )
    con.execute(  # of the others, the checks of identities alone follow these
        """DELETE FROM meta.affected_ranges
        WHERE stage = $1 AND batch <= coalesce((SELECT followed FROM meta.steps WHERE step = $2), batch)""",
        [OWNERS, check_step("identities")],
    )
    con.execute(
        """DELETE FROM meta.affected_ranges WHERE batch <= (
          SELECT min(s.followed) FROM meta.steps s WHERE s.stage = meta.affected_ranges.stage)"""
    )


def within(row: str, moment: str, lookback_us: int = 0) -> str:
    """The condition on `row` and `affected r`: its person's, and in the range or up to `lookback_us` behind it."""
    return f"{row}.person_no = r.person_no AND {row}.{moment} >= r.lo_us AND {row}.{moment} - {lookback_us} <= r.hi_us"


def longest_window_us(settings: Settings) -> int:
    """How far before a conversion a change may lie that its touches or its credit depend on, in microseconds.

    It is the longest lookback of all windows; without limit where a model weighs stages, because the first event of a
    stage counts however old it is.
    """
    if reads_stages(settings):
        return _ANY_TIME
    return max((round(w.longest_hours * HOUR_US) for w in settings.attribution.windows), default=0)


def reads_stages(settings: Settings) -> bool:
    """Whether a window's model weighs the stages of the settings."""
    attribution = settings.attribution
    return bool(attribution.stages) and any(model(w.model).needs_stages for w in attribution.windows)


def affected_conversions(con: duckdb.DuckDBPyConnection, settings: Settings, whole: bool, columns: str) -> None:
    """The temporary view `conversion_moments`: those that the affected ranges can touch through the longest lookback."""
    among = "" if whole else f"JOIN affected r ON {within('c', 'conversion_us', longest_window_us(settings))}"
    con.execute(
        composed(
            "CREATE OR REPLACE TEMP VIEW conversion_moments AS SELECT $columns FROM core.conversions c $among",
            columns=columns,
            among=among,
        )
    )


def delete_affected(con: duckdb.DuckDBPyConnection, table: str, moment: str, whole: bool, lookback_us: int = 0) -> None:
    """Delete the rows of `table` in the affected ranges, or all of them."""
    if whole:
        con.execute(composed("DELETE FROM $table", table=table))
    else:
        con.execute(
            composed(
                "DELETE FROM $table USING affected r WHERE $within",
                table=table,
                within=within(table, moment, lookback_us),
            )
        )


def drop_views(con: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Drop the temporary views of a step, those that are there."""
    for name in names:
        con.execute(f"DROP VIEW IF EXISTS temp.{name}")


def drop_tables(con: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Drop the temporary tables of a step, those that are there."""
    for name in names:
        con.execute(f"DROP TABLE IF EXISTS temp.{name}")
