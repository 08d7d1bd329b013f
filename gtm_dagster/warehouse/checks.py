"""The laws that can be checked on the tables: each check measures, decides and reports; none changes anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import duckdb

from gtm_dagster.warehouse.landing import Landing, LandingFile
from gtm_dagster.warehouse.staging.books import books
from gtm_dagster.warehouse.tables import BuildContext

TOLERANCE = 1e-9


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome; metadata are numbers and short texts."""

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A check of one table. `severity` is ERROR (fails a run) or WARN."""

    name: str
    asset: tuple[str, str]
    description: str
    run: Callable[[duckdb.DuckDBPyConnection, BuildContext], CheckResult]
    blocking: bool = True
    severity: str = "ERROR"


def _number(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return con.execute(sql).fetchall()[0][0]


def _none_of(sql: str, told: str) -> Callable[[duckdb.DuckDBPyConnection, BuildContext], CheckResult]:
    """A check that counts offending rows with `sql` and passes on none."""

    def run(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
        offending = int(_number(con, sql))
        return CheckResult(offending == 0, f"{offending} {told}", {"offending": offending})

    return run


def _due(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> tuple[list[LandingFile], int]:
    """The landed files staging must have read by now, and how many rows landed since and wait for the next run.

    An import may land while a run is under way. What was there before the staging before the newest one began cannot
    have been too late for the newest.
    """
    landing = Landing(ctx.settings.landing_dir)
    known = {row[0] for row in con.execute("SELECT file_key FROM meta.landing_files").fetchall()}
    stagings = con.execute(
        "SELECT DISTINCT epoch_us(staged_at) FROM meta.landing_files ORDER BY 1 DESC LIMIT 2"
    ).fetchall()
    before = stagings[1][0] if len(stagings) > 1 else 0
    due, waiting = [], 0
    for file in landing.files():
        if file.key in known or landing.landed_us(file.name) < before:
            due.append(file)
        else:
            waiting += file.rows
    return due, waiting


def _books_balance(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    rows = books(con)
    landed: dict[Any, int] = {}
    due, waiting = _due(con, ctx)
    for file in due:
        landed[file.ingest_date] = landed.get(file.ingest_date, 0) + file.rows
    bad = [r.ingest_date.isoformat() for r in rows if not r.balanced or landed.get(r.ingest_date) != r.raw]
    missing = sorted(day.isoformat() for day in set(landed) - {r.ingest_date for r in rows})
    clean = int(_number(con, "SELECT count(*) FROM meta.events"))
    total = sum(r.clean for r in rows)
    passed = not bad and not missing and clean == total
    told = (
        f"{len(rows)} ingest days balance"
        if passed
        else f"days out of balance: {', '.join((bad + missing)[:10]) or 'none by day'}; {clean} clean rows in the table, {total} in the books"
    )
    return CheckResult(
        passed,
        told,
        {
            "days": len(rows),
            "days_out_of_balance": len(bad),
            "days_missing": len(missing),
            "clean_rows": clean,
            "clean_in_books": total,
            "rows_landed_meanwhile": waiting,
        },
    )


def _touched_days_recounted(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """Recount the days staged last from Parquet itself and from the tables."""
    days = [
        r[0]
        for r in con.execute(
            "SELECT DISTINCT ingest_date FROM meta.landing_files WHERE staged_at = (SELECT max(staged_at) FROM meta.landing_files) ORDER BY 1"
        ).fetchall()
    ]
    if not days:
        return CheckResult(True, "nothing staged yet", {"days": 0})
    held: dict[Any, int] = {}
    for file in _due(con, ctx)[0]:
        if file.ingest_date in set(days):
            held[file.ingest_date] = held.get(file.ingest_date, 0) + file.footer_rows()
    counted = dict(
        con.execute("SELECT CAST(make_timestamp(received_us) AS DATE), count(*) FROM meta.events GROUP BY 1").fetchall()
    )
    bad = [
        r.ingest_date.isoformat()
        for r in books(con)
        if r.ingest_date in held and (held[r.ingest_date] != r.raw or counted.get(r.ingest_date, 0) != r.clean)
    ]
    return CheckResult(
        not bad,
        f"{len(held)} days recounted from the files" if not bad else f"days that do not recount: {', '.join(bad[:10])}",
        {"days": len(held), "days_wrong": len(bad)},
    )


def _reject_rate(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    raw, bad = con.execute("SELECT coalesce(sum(raw), 0), coalesce(sum(quarantined), 0) FROM staging.books").fetchall()[
        0
    ]
    rate = bad / raw if raw else 0.0
    limit = ctx.settings.quarantine.warn_rate
    reasons = con.execute(
        "SELECT reason_codes, count(*) FROM staging.quarantine GROUP BY 1 ORDER BY 2 DESC LIMIT 5"
    ).fetchall()
    told = "; ".join(f"{code}: {n}" for code, n in reasons) or "no rejected rows"
    return CheckResult(
        rate <= limit,
        f"{rate:.2%} of rows are quarantined (limit {limit:.0%}); {told}",
        {"reject_rate": float(rate), "limit": limit, "quarantined": int(bad)},
    )


def _reject_limit(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """The newest ingest day of the books with at least 100 rows: a broken sender shows there first."""
    row = con.execute(
        "SELECT ingest_date, raw, quarantined FROM staging.books WHERE raw >= 100 ORDER BY 1 DESC LIMIT 1"
    ).fetchall()
    if not row:
        return CheckResult(True, "no ingest day with 100 rows yet", {})
    day, raw, bad = row[0]
    limit = ctx.settings.quarantine.max_rate
    return CheckResult(
        bad / raw <= limit,
        f"{day}: {bad} of {raw} rows quarantined ({bad / raw:.1%}, limit {limit:.0%})",
        {"reject_rate": bad / raw, "limit": limit},
    )


def _credit_conserves(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    row = con.execute(
        f"""WITH sums AS (SELECT a.conversion_id, a.model, a.window_hours, sum(a.credit) AS credit, sum(a.value) AS value FROM marts.attribution_credits a GROUP BY ALL),
        due AS (SELECT c.conversion_id, c.value, s.model, s.window_hours FROM core.conversions c CROSS JOIN (SELECT * FROM marts.attribution_status WHERE computed) s)
        SELECT count(*) FILTER (s.credit IS NULL OR abs(s.credit - 1) > {TOLERANCE}),
          count(*) FILTER (d.value IS NOT NULL AND abs(s.value - d.value) > {TOLERANCE} * greatest(1, abs(d.value))),
          count(*), coalesce(max(abs(s.credit - 1)), 0)
        FROM due d LEFT JOIN sums s USING (conversion_id, model, window_hours)"""
    ).fetchall()[0]
    stray = int(
        _number(
            con,
            "SELECT count(*) FROM marts.attribution_credits a LEFT JOIN core.conversions c USING (conversion_id) WHERE c.conversion_id IS NULL",
        )
    )
    passed = row[0] == 0 and row[1] == 0 and stray == 0
    return CheckResult(
        passed,
        f"{row[2]} conversion-model pairs: {row[0]} whose credit is not 1, {row[1]} whose value is not the conversion's, {stray} credits of no conversion",
        {
            "pairs": int(row[2]),
            "credit_off": int(row[0]),
            "value_off": int(row[1]),
            "stray": stray,
            "largest_difference": float(row[3]),
        },
    )


def _sessions_hold_events(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    held = int(_number(con, "SELECT coalesce(sum(n_events), 0) FROM core.sessions"))
    condition = "browsing AND session_id IS NOT NULL" if ctx.settings.sessions.definition == "tracker" else "browsing"
    browsing = int(_number(con, f"SELECT count(*) FROM meta.events WHERE {condition}"))
    return CheckResult(
        held == browsing,
        f"sessions hold {held} of {browsing} browsing events",
        {"in_sessions": held, "browsing_events": browsing},
    )


def _funnel_narrows(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    stages = con.execute("SELECT stage_no, sum(persons) FROM marts.funnel GROUP BY 1 ORDER BY 1").fetchall()
    widens = sum(1 for before, after in pairwise(stages) if after[1] > before[1])
    return CheckResult(
        widens == 0,
        "persons by stage: " + ", ".join(str(int(s[1])) for s in stages),
        {"stages": len(stages), "widening": widens},
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "books_balance",
        ("staging", "events"),
        "Every ingest day: raw = clean + duplicates + quarantined + suppressed, and the landing zone agrees.",
        _books_balance,
    ),
    Check(
        "touched_days_recounted",
        ("staging", "events"),
        "The days staged last, counted again from the Parquet files and the table.",
        _touched_days_recounted,
    ),
    Check(
        "once",
        ("staging", "events"),
        "One row for each (write_key, event_id).",
        _none_of(
            """WITH twice AS (SELECT hash(write_key, event_id) AS id_hash FROM meta.events GROUP BY 1 HAVING count(*) > 1)
            SELECT count(*) FROM (SELECT 1 FROM meta.events WHERE hash(write_key, event_id) IN (SELECT id_hash FROM twice)
            GROUP BY write_key, event_id HAVING count(*) > 1)""",
            "ids occur more than once",
        ),
    ),
    Check(
        "person_known",
        ("staging", "events"),
        "Every event belongs to a person.",
        _none_of(
            "SELECT count(*) FROM meta.events e LEFT JOIN meta.ids p ON p.id_no = e.person_no WHERE p.id IS NULL",
            "events without a person",
        ),
    ),
    Check(
        "reject_rate",
        ("staging", "quarantine"),
        "The share of quarantined rows stays below quarantine.warn_rate.",
        _reject_rate,
        blocking=False,
        severity="WARN",
    ),
    Check(
        "reject_limit",
        ("staging", "quarantine"),
        "On the newest ingest day no more than quarantine.max_rate of the rows are quarantined.",
        _reject_limit,
    ),
    Check(
        "reasons_told",
        ("staging", "quarantine"),
        "Every quarantined row says why.",
        _none_of(
            "SELECT count(*) FROM staging.quarantine WHERE coalesce(reason_codes, '') = ''", "rows without a reason"
        ),
    ),
    Check(
        "one_owner",
        ("core", "identities"),
        "An anonymous id has one owner.",
        _none_of(
            "SELECT count(*) FROM (SELECT 1 FROM core.identities GROUP BY anonymous_id HAVING count(*) > 1)",
            "anonymous ids with two owners",
        ),
    ),
    Check(
        "hold_every_browsing_event",
        ("core", "sessions"),
        "Sessions hold every browsing event exactly once.",
        _sessions_hold_events,
    ),
    Check(
        "no_overlap",
        ("core", "sessions"),
        "A person's sessions do not overlap (definition `tracker` excepted).",
        lambda con, ctx: (
            CheckResult(True, "given sessions may overlap", {})
            if ctx.settings.sessions.definition == "tracker"
            else _none_of(
                "SELECT count(*) FROM (SELECT start_us, lag(end_us) OVER (PARTITION BY person_no ORDER BY start_us) AS before FROM core.sessions) WHERE before >= start_us",
                "overlapping sessions",
            )(con, ctx)
        ),
    ),
    Check(
        "one_row_an_event",
        ("core", "conversions"),
        "A conversion is counted once.",
        _none_of(
            "SELECT count(*) FROM (SELECT 1 FROM core.conversions GROUP BY conversion_id HAVING count(*) > 1)",
            "conversions counted twice",
        ),
    ),
    Check(
        "before_the_conversion",
        ("core", "touchpoints"),
        "No touch lies after its conversion.",
        _none_of("SELECT count(*) FROM core.touchpoints WHERE age_us < 0", "touches after the conversion"),
    ),
    Check(
        "credit_conserves",
        ("marts", "attribution_credits"),
        "Credits of each conversion and model add up to 1, values to its value.",
        _credit_conserves,
    ),
    Check("narrows", ("marts", "funnel"), "No stage holds more persons than the one before.", _funnel_narrows),
    Check(
        "within_cohort",
        ("marts", "retention"),
        "No more persons return than the cohort holds; all are there in period 0.",
        _none_of(
            "SELECT count(*) FROM marts.retention WHERE retained > persons OR (period = 0 AND retained <> persons)",
            "impossible cohort rows",
        ),
    ),
)
