"""The checks of staging: books, recounts and reject rates. Each measures, decides and reports; none changes anything."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import Landing, LandingFile
from gtm_dagster.warehouse.results import CheckResult, number
from gtm_dagster.warehouse.staging.books import books
from gtm_dagster.warehouse.staging.rejections import described, rejections_above


def due_files(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> tuple[list[LandingFile], int]:
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


def books_balance(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    return _balanced(con, ctx, None)


def changed_books_balance(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """Every day by itself; the landing zone's count of the days of changed files."""
    return _balanced(con, ctx, _changed_days(con))


def _changed_days(con: duckdb.DuckDBPyConnection) -> set[date]:
    return {day for (day,) in con.execute("SELECT DISTINCT ingest_date FROM changed_files").fetchall()}


def _balanced(con: duckdb.DuckDBPyConnection, ctx: BuildContext, days: set[date] | None) -> CheckResult:
    """`days`: those whose landed rows are compared; None: all."""
    rows = books(con)
    landed: dict[date, int] = {}
    due, waiting = due_files(con, ctx)
    for file in due:
        landed[file.ingest_date] = landed.get(file.ingest_date, 0) + file.rows
    compared = {row.ingest_date for row in rows} if days is None else days
    bad = [
        row.ingest_date.isoformat()
        for row in rows
        if not row.balanced or (row.ingest_date in compared and landed.get(row.ingest_date, 0) != row.raw)
    ]
    missing = sorted(day.isoformat() for day in set(landed) - {row.ingest_date for row in rows})
    clean = int(number(con, "SELECT count(*) FROM meta.events"))
    total = sum(row.clean for row in rows)
    passed = not bad and not missing and clean == total
    description = (
        f"{len(rows)} ingest days balance"
        if passed
        else f"days out of balance: {', '.join((bad + missing)[:10]) or 'none by day'}; {clean} clean rows in the table, {total} in the books"
    )
    if lost := sum(max(row.raw - landed.get(row.ingest_date, 0), 0) for row in rows if row.ingest_date in compared):
        description += f"; {lost:,} rows that were staged are not in {ctx.settings.landing_dir} any more: restore its files from a backup"
    return CheckResult(
        passed,
        description,
        {
            "days": len(rows),
            "days_out_of_balance": len(bad),
            "days_missing": len(missing),
            "clean_rows": clean,
            "clean_in_books": total,
            "rows_landed_meanwhile": waiting,
        },
    )


def days_recount(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """Recount every day from Parquet itself and from the tables."""
    return _recounted(con, ctx, {row.ingest_date for row in books(con)})


def changed_days_recount(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """Recount the days of changed files."""
    return _recounted(con, ctx, _changed_days(con))


def _recounted(con: duckdb.DuckDBPyConnection, ctx: BuildContext, days: set[date]) -> CheckResult:
    if not days:
        return CheckResult(True, "nothing staged yet", {"days": 0})
    counted_rows: dict[date, int] = dict.fromkeys(days, 0)
    for file in due_files(con, ctx)[0]:
        if file.ingest_date in days:
            counted_rows[file.ingest_date] += file.footer_rows()
    counted = {
        day: (clean, bots)
        for day, clean, bots in con.execute(
            """SELECT CAST(make_timestamp(received_us) AS DATE), count(*), count(bot_reason) FROM meta.events
            WHERE received_us >= epoch_us(CAST($1 AS TIMESTAMP)) AND received_us < epoch_us(CAST($2 AS TIMESTAMP)) GROUP BY 1""",
            [min(days), max(days) + timedelta(days=1)],
        ).fetchall()
    }
    bad = [
        row.ingest_date.isoformat()
        for row in books(con)
        if row.ingest_date in days
        and (counted_rows[row.ingest_date], *counted.get(row.ingest_date, (0, 0))) != (row.raw, row.clean, row.bots)
    ]
    return CheckResult(
        not bad,
        f"{len(days)} days recounted from the files" if not bad else f"days that do not recount: {', '.join(bad[:10])}",
        {"days": len(days), "days_wrong": len(bad)},
    )


def reject_rate(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """Each batch by itself; the share over all of them is reported beside."""
    raw, bad = con.execute("SELECT coalesce(sum(raw), 0), coalesce(sum(quarantined), 0) FROM staging.books").fetchall()[
        0
    ]
    limit = ctx.settings.quarantine.warn_rate
    above, batches = rejections_above(con, limit, least=1)
    landing = Landing(ctx.settings.landing_dir)
    listed = "; ".join(described(con, landing, batch) for batch in above[:3])
    return CheckResult(
        not above,
        f"more than {limit:.0%} of {len(above)} of {batches} batches is quarantined: {listed}"
        if above
        else f"no more than {limit:.0%} of each of {batches} batches is quarantined",
        {"reject_rate": float(bad / raw) if raw else 0.0, "limit": limit, "quarantined": int(bad), "batches_above": len(above)},
    )  # fmt: skip


def reject_limit(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """Batches of at least 100 rows: every import, and of the log the newest such day, where a broken sender shows first."""
    limit = ctx.settings.quarantine.max_rate
    above, batches = rejections_above(con, limit, least=100)
    if not above:
        return CheckResult(
            True, f"no more than {limit:.0%} of each of {batches} batches is quarantined", {"limit": limit}
        )
    landing = Landing(ctx.settings.landing_dir)
    listed = "; ".join(described(con, landing, batch) for batch in above[:3])
    wrong = next((batch.batch for batch in above if not batch.of_log), None)
    way_out = "mend the sender"
    if wrong is not None:
        way_out = f"import the file again with a corrected mapping, or run `gtm imports withdraw {wrong} --reason TEXT`"
    return CheckResult(
        False,
        f"{listed} (limit {limit:.0%}, quarantine.max_rate); {way_out}; `gtm quarantine list` shows the rows",
        {"reject_rate": above[0].rate, "limit": limit, "batches_above": len(above)},
    )


def copies_agree(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """Ids whose copies differ in content: the copy received first stands, and another sender thought otherwise."""
    ids = int(number(con, "SELECT count(*) FROM meta.conflicts"))
    if not ids:
        return CheckResult(True, "the copies of every id agree", {"ids": 0})
    few = con.execute("SELECT write_key, event_id FROM meta.conflicts ORDER BY 1, 2 LIMIT 3").fetchall()
    listed = ", ".join(f"{event_id} of {write_key}" for write_key, event_id in few)
    return CheckResult(
        False,
        f"{ids:,} ids came again with another content, such as {listed}: the copy received first stands. Of two imports, "
        "`gtm imports withdraw` removes the wrong one",
        {"ids": ids},
    )
