"""Landing -> staging: the log lands, landed files are validated, deduplicated and written in one transaction.

Everything a later step has to look at again is written down in the same transaction (`meta.changed`), so a run killed
between two steps leaves a debt and no damage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtm_dagster.channels import classify
from gtm_dagster.channels.classify import click_kind
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.privacy.masking import mask_event
from gtm_dagster.taxonomy import Plan
from gtm_dagster.taxonomy.frames import ContractBreak, validate_frame
from gtm_dagster.warehouse.books import settle_books
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, LandingFile, log_name
from gtm_dagster.warehouse.tables import BuildContext, create

CONSUMER = "warehouse"
LOG_KEPT = timedelta(days=7)
"""Landed events stay this long in the log for consumers that start later; the landing files keep them for good."""
_CHUNK_ROWS = 500_000


@dataclass(frozen=True)
class LandResult:
    """What one pull from the event log landed: rows written, rows the log says the range holds, its offsets."""

    rows: int
    log_count: int
    files: int
    first_seq: int
    last_seq: int

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return asdict(self)


@dataclass(frozen=True)
class StageResult:
    """The books of one staging run over the files it read."""

    read: int
    clean: int
    duplicates: int
    quarantined: int
    suppressed: int
    conflicts: int
    files: int
    days: list[str] = field(default_factory=list)

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {**{k: v for k, v in asdict(self).items() if k != "days"}, "days": len(self.days)}


def land_log(ctx: BuildContext, progress: Callable[[int, int], None] | None = None) -> LandResult:
    """Land everything the event log holds past the last landed offset, then tell the log how far this consumer is."""
    settings = ctx.settings
    landing = Landing(settings.landing_dir)
    start = after = landing.log_end()
    rows = counted = files = 0
    if not settings.log_path.exists():
        return LandResult(0, 0, 0, start, start)
    log = SqliteEventLog(settings.log_path, dedup_days=settings.dedup_days)
    try:
        end = log.last_seq()
        while after < end:
            table, last = log.read_arrow(after, _CHUNK_ROWS)
            if last <= after:
                break
            counted += log.count(after, last)
            if table.num_rows != counted - rows:
                raise ContractBreak(
                    f"event log offsets {after + 1} to {last}: the log counts {counted - rows} records, "
                    f"{table.num_rows} were read; nothing of this range was landed"
                )
            files += len(landing.write(table, log_name(after + 1, last)))
            rows += table.num_rows
            after = last
            if progress:
                progress(rows, end - start)
        if after > start:
            log.commit(CONSUMER, after)
        log.trim((datetime.now(UTC) - LOG_KEPT).date().isoformat())
    finally:
        log.close()
    return LandResult(rows, counted, files, start + 1 if after > start else start, after)


def fresh_files(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> list[LandingFile]:
    """Landed files that staging has not read; raises ContractBreak when one is not what its writer said."""
    known = {row[0] for row in con.execute("SELECT file_key FROM meta.landing_files").fetchall()}
    fresh = [file for file in Landing(ctx.settings.landing_dir).files() if file.key not in known]
    for file in fresh:
        try:
            rows = file.footer_rows()
        except (OSError, pa.ArrowInvalid) as error:
            raise ContractBreak(
                f"{file.path}: cannot be read ({error}); restore it from a backup or remove its batch"
            ) from error
        if rows != file.rows:
            raise ContractBreak(
                f"{file.path}: its manifest says {file.rows} rows, the file holds {rows}; nothing was staged"
            )
        found = pq.read_schema(file.path)
        missing = [name for name in ARROW_SCHEMA.names if name not in found.names]
        if missing:
            raise ContractBreak(f"{file.path}: column {', '.join(missing)} is missing; nothing was staged")
    return fresh


def _chunks(files: list[LandingFile]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    size = 0
    for file in files:
        for batch in pq.ParquetFile(file.path).iter_batches(_CHUNK_ROWS, columns=ARROW_SCHEMA.names):
            table = pa.Table.from_batches([batch]).cast(ARROW_SCHEMA)
            held.append(table.append_column("file_key", pa.array([file.key] * table.num_rows, pa.string())))
            size += table.num_rows
            if size >= _CHUNK_ROWS:
                yield pa.concat_tables(held)
                held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def _judged(table: pa.Table, plan: Plan, full: bool) -> pa.Table:
    """The chunk with the contract's verdict: rows it refuses become quarantined with every reason.

    A row is judged by the plan version it carries; rows of another version are judged again only in a full rebuild.
    """
    due = pc.fill_null(pc.equal(table.column("verdict"), "accepted"), False).to_numpy()
    if not full:
        due = due & pc.fill_null(pc.equal(table.column("plan_version"), plan.version), False).to_numpy()
    if not due.any():
        return table
    verdict = validate_frame(plan, table.filter(pa.array(due)).to_pandas())
    bad = np.flatnonzero(due)[~np.asarray(verdict.ok)]
    if not len(bad):
        return table
    reasons = list(verdict.reasons)
    columns = {name: table.column(name).to_pylist() for name in ("verdict", "reason_codes", "errors", "raw")}
    rows = table.take(pa.array(bad)).to_pylist()
    for index, row, errors in zip(bad, rows, reasons, strict=True):
        columns["verdict"][index] = "quarantined"
        columns["reason_codes"][index] = ",".join(sorted({error.code for error in errors}))
        columns["errors"][index] = json.dumps([{"path": e.path, "code": e.code, "message": e.message} for e in errors])
        told = {
            "event_id": row["event_id"],
            "event_name": row["event_name"],
            "properties": json.loads(row["properties"] or "{}"),
        }
        columns["raw"][index] = mask_event(plan, json.dumps(told).encode())
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(values, pa.string()))
    return table


def stage(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, progress: Callable[[int, int], None] | None = None
) -> StageResult:
    """Read every landed file that is not staged yet into `staging.events` and `staging.quarantine`.

    One transaction; on any error nothing is written. Raises ContractBreak when a file breaks the contract of the batch
    (missing column, wrong type, a row count that is not the writer's).
    """
    create(con)
    files = fresh_files(con, ctx)
    if not files:
        return StageResult(0, 0, 0, 0, 0, 0, 0)
    total = sum(file.rows for file in files)
    # A version is re-judged only where the whole history is read again.
    everything = not con.execute("SELECT 1 FROM meta.landing_files LIMIT 1").fetchall()
    con.execute("CREATE OR REPLACE TEMP TABLE batch AS SELECT * FROM read_parquet($1) LIMIT 0", [str(files[0].path)])
    con.execute("ALTER TABLE batch ADD COLUMN IF NOT EXISTS file_key VARCHAR")
    con.execute("ALTER TABLE batch DROP COLUMN IF EXISTS ingest_date")
    read = 0
    names = ", ".join([*ARROW_SCHEMA.names, "file_key"])
    for chunk in _chunks(files):
        judged = _judged(chunk, ctx.plan, ctx.full)
        con.register("chunk", judged)
        con.execute(f"INSERT INTO batch ({names}) SELECT {names} FROM chunk")
        con.unregister("chunk")
        read += chunk.num_rows
        if progress:
            progress(read, total)
    if read != total:
        raise ContractBreak(
            f"{total} rows were promised by {len(files)} landed files, {read} were read; nothing was staged"
        )
    with transaction(con):
        _add_sources(con)
        _quarantine(con)
        conflicts = _append(con, ctx, everything)
        con.executemany(
            "INSERT INTO meta.landing_files VALUES (?, ?, ?, now())", [[f.key, f.ingest_date, f.rows] for f in files]
        )
        days = [
            str(row[0]) for row in con.execute("SELECT DISTINCT ingest_date FROM touched_days ORDER BY 1").fetchall()
        ]
        settle_books(con)
    told = dict(con.execute("SELECT verdict, count(*) FROM batch GROUP BY 1").fetchall())
    lost = con.execute("SELECT coalesce(sum(n), 0)::BIGINT FROM batch_duplicates").fetchall()[0][0]
    con.execute("DROP VIEW IF EXISTS temp.inputs")
    for name in ("click_kinds", "batch", "accepted", "winners", "clash", "batch_duplicates", "touched_days"):
        con.execute(f"DROP TABLE IF EXISTS temp.{name}")
    return StageResult(
        read=read, clean=told.get("accepted", 0) - lost, duplicates=lost, quarantined=told.get("quarantined", 0),
        suppressed=told.get("suppressed", 0), conflicts=conflicts, files=len(files), days=days,
    )  # fmt: skip


def _host(column: str) -> str:
    """SQL for the host of a URL, `www.` and port left out; a bare host stays what it is."""
    return f"nullif(lower(regexp_extract({column}, '^(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:www[.])?([^/?#:]+)', 1)), '')"


def _touch_inputs(con: duckdb.DuckDBPyConnection) -> None:
    """`inputs`: for each accepted row of the batch what a source is read from.

    A referrer of the page's own site is navigation, not a source; a click id counts by its kind alone.
    """
    ids = con.execute(
        "SELECT DISTINCT click_id FROM batch WHERE verdict = 'accepted' AND click_id IS NOT NULL"
    ).fetchall()
    con.execute("CREATE OR REPLACE TEMP TABLE click_kinds (click_id VARCHAR, click_kind VARCHAR)")
    kinds = pa.table({"click_id": [row[0] for row in ids], "click_kind": [click_kind(row[0]) for row in ids]})
    if ids:
        con.register("kinds", kinds)
        con.execute("INSERT INTO click_kinds SELECT * FROM kinds")
        con.unregister("kinds")
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW inputs AS
        WITH hosts AS (SELECT b.*, {_host("b.referrer")} AS told_host, {_host("b.page_url")} AS own_host FROM batch b WHERE b.verdict = 'accepted')
        SELECT h.* EXCLUDE (told_host, own_host),
          CASE WHEN told_host = own_host OR ends_with(told_host, '.' || own_host) OR ends_with(own_host, '.' || told_host) THEN NULL ELSE told_host END AS referrer_host,
          k.click_kind
        FROM hosts h LEFT JOIN click_kinds k ON k.click_id = h.click_id"""
    )


def _add_sources(con: duckdb.DuckDBPyConnection) -> None:
    """Give every new combination of source, medium, campaign, referring host and kind of click id its source key."""
    _touch_inputs(con)
    new = con.execute(
        """SELECT DISTINCT source, medium, campaign, referrer_host, click_kind FROM inputs
        WHERE source IS NOT NULL OR medium IS NOT NULL OR campaign IS NOT NULL OR referrer_host IS NOT NULL OR click_kind IS NOT NULL
        EXCEPT SELECT source, medium, campaign, referrer_host, click_kind FROM meta.source_inputs"""
    ).fetchall()
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


def _quarantine(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """INSERT INTO staging.quarantine
        SELECT write_key, event_id, event_name, reason_codes, errors, raw, sealed, make_timestamp(received_us), received_us,
               plan_version, origin, file_key, row_no
        FROM batch WHERE verdict = 'quarantined'"""
    )


_CONTENT = """event_name, event_us, user_id, anonymous_id, session_id, properties, source, medium, campaign, term, content,
  device_type, locale, page_url, referrer, click_id, country, region, consent"""


def _append(con: duckdb.DuckDBPyConnection, ctx: BuildContext, everything: bool) -> int:
    """Deduplicate the accepted rows, append the winners, note what changed; returns copies with another content."""
    zone = ctx.settings.report_timezone
    moment = "make_timestamp(h.event_us)"
    local = moment if zone == "UTC" else f"timezone('{zone}', timezone('UTC', {moment}))"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE accepted AS
        WITH hashed AS (SELECT *, hash(write_key, event_id) AS id_hash, hash({_CONTENT}) AS content_hash FROM inputs)
        SELECT h.* EXCLUDE (referrer_host, click_kind), CAST({local} AS DATE) AS local_day,
          (h.device_type IS DISTINCT FROM 'api' AND h.event_name <> 'flag_exposed') AS browsing,
          CASE WHEN i.source_key > 0 THEN i.source_key END AS source_key
        FROM hashed h LEFT JOIN meta.source_inputs i
          ON h.source IS NOT DISTINCT FROM i.source AND h.medium IS NOT DISTINCT FROM i.medium
          AND h.campaign IS NOT DISTINCT FROM i.campaign AND h.referrer_host IS NOT DISTINCT FROM i.referrer_host
          AND h.click_kind IS NOT DISTINCT FROM i.click_kind"""
    )
    # Only ids whose 64-bit hash occurs twice can be duplicates; the exact comparison is paid for them alone.
    con.execute(
        """CREATE OR REPLACE TEMP TABLE winners AS
        WITH twice AS (SELECT id_hash FROM accepted GROUP BY id_hash HAVING count(*) > 1)
        SELECT * FROM accepted WHERE id_hash NOT IN (SELECT id_hash FROM twice)
        UNION ALL
        SELECT * FROM accepted WHERE id_hash IN (SELECT id_hash FROM twice)
        QUALIFY row_number() OVER (PARTITION BY write_key, event_id ORDER BY received_us, event_us, content_hash) = 1"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE clash AS
        SELECT w.write_key, w.event_id, w.received_us AS new_us, e.received_us AS old_us, e.person_id, e.anonymous_id, e.event_us,
          (w.received_us, w.event_us, w.content_hash) < (e.received_us, e.event_us, e.content_hash) AS newer_wins,
          w.content_hash <> e.content_hash AS conflict
        FROM winners w JOIN staging.events e ON w.write_key = e.write_key AND w.event_id = e.event_id"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE batch_duplicates AS
        WITH lost AS (
          SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date, 1 AS n FROM accepted
          UNION ALL SELECT CAST(make_timestamp(received_us) AS DATE), -1 FROM winners
          UNION ALL SELECT CAST(make_timestamp(CASE WHEN newer_wins THEN old_us ELSE new_us END) AS DATE), 1 FROM clash)
        SELECT ingest_date, sum(n) AS n FROM lost GROUP BY 1"""
    )
    conflicts = con.execute(
        """SELECT (SELECT count(*) FROM clash WHERE conflict)
          + (SELECT count(*) FROM accepted a JOIN winners w ON a.write_key = w.write_key AND a.event_id = w.event_id AND a.content_hash <> w.content_hash)"""
    ).fetchall()[0][0]
    con.execute("INSERT INTO meta.duplicates SELECT ingest_date, n FROM batch_duplicates WHERE n <> 0")
    con.execute(
        """CREATE OR REPLACE TEMP TABLE touched_days AS
        SELECT DISTINCT CAST(make_timestamp(received_us) AS DATE) AS ingest_date FROM batch
        UNION SELECT CAST(make_timestamp(old_us) AS DATE) FROM clash WHERE newer_wins"""
    )
    if not everything:
        con.execute(
            "INSERT INTO meta.changed SELECT person_id, NULL, anonymous_id, event_us FROM clash WHERE newer_wins"
        )
        con.execute(
            """INSERT INTO meta.changed SELECT NULL, user_id, anonymous_id, event_us FROM winners w
            WHERE NOT EXISTS (SELECT 1 FROM clash c WHERE c.write_key = w.write_key AND c.event_id = w.event_id AND NOT c.newer_wins)"""
        )
    con.execute(
        """DELETE FROM staging.events USING clash c
        WHERE c.newer_wins AND staging.events.write_key = c.write_key AND staging.events.event_id = c.event_id"""
    )
    con.execute(
        """INSERT INTO staging.events
        SELECT w.write_key, w.event_id, w.event_name, make_timestamp(w.event_us), coalesce(w.user_id, w.anonymous_id), w.user_id, w.anonymous_id,
          w.session_id, w.properties, w.source, w.medium, w.campaign, w.term, w.content, w.device_type, w.locale, w.page_url, w.referrer,
          w.click_id, w.country, w.region, w.consent, w.plan_version, make_timestamp(w.received_us), w.event_us, w.received_us, w.browsing,
          w.local_day, w.source_key, s.touch_rank, w.content_hash
        FROM winners w
        LEFT JOIN core.sources s ON s.source_key = w.source_key
        WHERE NOT EXISTS (SELECT 1 FROM clash c WHERE c.write_key = w.write_key AND c.event_id = w.event_id AND NOT c.newer_wins)"""
    )
    if everything:
        con.execute("DELETE FROM meta.rebuild")
        con.execute(
            "INSERT INTO meta.rebuild VALUES ('identities'), ('sessions'), ('conversions'), ('touchpoints'), ('credits')"
        )
    return int(conflicts)
