"""Landing -> staging: landed files are validated, deduplicated and written in one transaction.

Everything a later step has to look at again is written down in the same transaction (`meta.changed`), so a run killed
between two steps leaves a debt and no damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.admission.record import DEFAULTS, REQUIRED_COLUMNS
from gtm_dagster.channels import classify
from gtm_dagster.channels.classify import click_kind
from gtm_dagster.storage.migrations import NewerFormatError
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.engine import compact, transaction
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, LandingFile
from gtm_dagster.warehouse.landing.manifests import FORMAT, NEWER
from gtm_dagster.warehouse.staging.books import settle_books
from gtm_dagster.warehouse.staging.contract import judge
from gtm_dagster.warehouse.tables import STEPS, BuildContext, create, get_state, mark_rebuild, set_state

_COMPACT_EVERY = 16
"""Stagings after which the small row groups they left are merged. Done by every one, a thousand events more cost a third more."""


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


def fresh_files(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> list[LandingFile]:
    """Landed files that staging has not read.

    Raises ContractBreak when one is not what its writer said, NewerFormatError when a later version wrote it.
    """
    known = {row[0] for row in con.execute("SELECT file_key FROM meta.landing_files").fetchall()}
    fresh = [file for file in Landing(ctx.settings.landing_dir).files() if file.key not in known]
    for file in fresh:
        try:
            with pq.ParquetFile(file.path) as opened:
                rows, found, notes = opened.metadata.num_rows, opened.schema_arrow, opened.metadata.metadata or {}
        except (OSError, pa.ArrowInvalid) as error:
            raise ContractBreak(
                f"{file.path}: cannot be read ({error}); restore it from a backup or remove its batch"
            ) from error
        if rows != file.rows:
            raise ContractBreak(
                f"{file.path}: its manifest says {file.rows} rows, the file holds {rows}; nothing was staged"
            )
        number = int(notes.get(b"gtm_dagster.format", b"1"))
        if number > FORMAT:
            raise NewerFormatError(f"{file.path}: has format {number}; {NEWER} or a later one")
        missing = [name for name in REQUIRED_COLUMNS if name not in found.names]
        if missing:
            raise ContractBreak(f"{file.path}: column {', '.join(missing)} is missing; nothing was staged")
        for column in ARROW_SCHEMA:
            if column.name in found.names and not _same_kind(found.field(column.name).type, column.type):
                raise ContractBreak(
                    f"{file.path}: column {column.name} holds {found.field(column.name).type}, not {column.type}; nothing was staged"
                )
    return fresh


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether DuckDB reads `found` as what the landing zone writes as `wanted`."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return True
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if pa.types.is_integer(wanted):
        return pa.types.is_integer(found)
    return pa.types.is_binary(found) or pa.types.is_large_binary(found) or pa.types.is_binary_view(found)


_SQL_TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.binary(): "BLOB"}
_REFUSED = {"verdict": "'quarantined'", "reason_codes": "f.reason_codes", "errors": "f.errors", "raw": "f.raw"}


def _read_landed(con: duckdb.DuckDBPyConnection, files: list[LandingFile]) -> None:
    """`landed`: the rows of `files` where they lie, named by file_path and file_row; `batch_files`: their file keys.

    A column that a file lacks has its default, NULL for most.
    """
    paths = ", ".join("'" + str(file.path).replace("'", "''") + "'" for file in files)
    source = f"read_parquet([{paths}], filename = true, file_row_number = true, hive_partitioning = false, union_by_name = true)"
    present: set[str] = set()
    for file in files:  # the first has them all, unless it is of a version that did not know some
        present.update(pq.read_schema(file.path).names)
        if present.issuperset(ARROW_SCHEMA.names):
            break
    columns = ", ".join(_column(column, column.name in present) for column in ARROW_SCHEMA)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW landed AS SELECT {columns}, filename AS file_path, file_row_number AS file_row FROM {source}"
    )
    con.execute("CREATE OR REPLACE TEMP TABLE batch_files (file_path VARCHAR, file_key VARCHAR)")
    keys = pa.table({"file_path": [str(file.path) for file in files], "file_key": [file.key for file in files]})
    con.register("keys", keys)
    con.execute("INSERT INTO batch_files SELECT * FROM keys")
    con.unregister("keys")


def _column(column: pa.Field, present: bool) -> str:
    """SQL for one landing column; one that is required is never filled in."""
    value = f"CAST({column.name if present else 'NULL'} AS {_SQL_TYPES[column.type]})"
    default = None if column.name in REQUIRED_COLUMNS else DEFAULTS.get(column.name)
    return f"{value if default is None else f'coalesce({value}, {default!r})'} AS {column.name}"


def _apply_verdicts(con: duckdb.DuckDBPyConnection, refused: int) -> None:
    """`batch`: the landed rows with the contract's verdict in place of the writer's, where it refuses."""
    body = "SELECT * FROM landed"
    if refused:
        told = ", ".join(
            f"CASE WHEN f.file_row IS NULL THEN l.{name} ELSE {sql} END AS {name}" for name, sql in _REFUSED.items()
        )
        body = f"""SELECT l.* EXCLUDE ({", ".join(_REFUSED)}), {told}
            FROM landed l LEFT JOIN refused f ON f.file_path = l.file_path AND f.file_row = l.file_row"""
    con.execute(f"CREATE OR REPLACE TEMP VIEW batch AS {body}")


def stage(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, progress: Callable[[int, int], None] | None = None
) -> StageResult:
    """Read every landed file that is not staged yet into `meta.events` and `staging.quarantine`.

    One transaction; on any error nothing is written. The files are read where they lie, once for each question, so
    memory does not grow with the batch. A row is judged by the plan version it carries; rows of another version are
    judged again only in a full rebuild. Raises ContractBreak when a file breaks the contract of the batch (missing
    column, wrong type, a row count that is not the writer's).
    """
    create(con)
    files = fresh_files(con, ctx)
    if not files:
        return StageResult(0, 0, 0, 0, 0, 0, 0)
    total = sum(file.rows for file in files)
    everything = not con.execute("SELECT 1 FROM meta.landing_files LIMIT 1").fetchall()
    if progress:
        progress(0, total)
    _read_landed(con, files)
    _apply_verdicts(con, judge(con, ctx.plan, "landed", ctx.full))
    with transaction(con):
        _add_sources(con)
        _number_ids(con)
        _quarantine(con)
        conflicts = _append(con, ctx, everything)
        stagings = int(get_state(con, "stagings") or 0) + 1
        set_state(con, "stagings", str(stagings))
        con.executemany(
            "INSERT INTO meta.landing_files VALUES (?, ?, ?, now())", [[f.key, f.ingest_date, f.rows] for f in files]
        )
        days = [
            str(row[0]) for row in con.execute("SELECT DISTINCT ingest_date FROM touched_days ORDER BY 1").fetchall()
        ]
        settle_books(con)
        told = dict(con.execute("SELECT verdict, count(*) FROM batch GROUP BY 1").fetchall())
        read = sum(told.values())
        if read != total:
            raise ContractBreak(
                f"{total} rows were promised by {len(files)} landed files, {read} were read; nothing was staged"
            )
    if stagings % _COMPACT_EVERY == 0:
        compact(con)
    lost = con.execute("SELECT coalesce(sum(n), 0)::BIGINT FROM batch_duplicates").fetchall()[0][0]
    for name in ("events_in", "accepted", "inputs", "batch", "landed"):
        con.execute(f"DROP VIEW IF EXISTS temp.{name}")
    for name in (
        "click_kinds",
        "refused",
        "copies",
        "losers",
        "clash",
        "batch_duplicates",
        "batch_ids",
        "touched_days",
        "batch_files",
    ):
        con.execute(f"DROP TABLE IF EXISTS temp.{name}")
    if progress:
        progress(total, total)
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
        WITH hosts AS (
          SELECT b.*, CASE WHEN b.referrer IS NOT NULL THEN {_host("b.referrer")} END AS told_host,
            CASE WHEN b.referrer IS NOT NULL THEN {_host("b.page_url")} END AS own_host
          FROM batch b WHERE b.verdict = 'accepted')
        SELECT h.* EXCLUDE (told_host, own_host),
          CASE WHEN told_host = own_host OR ends_with(told_host, '.' || own_host) OR ends_with(own_host, '.' || told_host) THEN NULL ELSE told_host END AS referrer_host,
          {"k.click_kind" if ids else "CAST(NULL AS VARCHAR) AS click_kind"}
        FROM hosts h {"LEFT JOIN click_kinds k ON k.click_id = h.click_id" if ids else ""}"""
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


def _number_ids(con: duckdb.DuckDBPyConnection) -> None:
    """Give every new user id and anonymous id of the batch its number; `batch_ids(id_no, id)` holds those of the batch."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE told_ids AS
        SELECT anonymous_id AS id FROM batch WHERE verdict = 'accepted' AND anonymous_id IS NOT NULL GROUP BY 1
        UNION SELECT user_id FROM batch WHERE verdict = 'accepted' AND user_id IS NOT NULL GROUP BY 1"""
    )
    con.execute(
        """INSERT INTO meta.ids
        SELECT (SELECT coalesce(max(id_no), 0) FROM meta.ids) + row_number() OVER (), id FROM told_ids ANTI JOIN meta.ids USING (id)"""
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE batch_ids AS SELECT id_no, id FROM meta.ids SEMI JOIN told_ids USING (id)"
    )
    con.execute("DROP TABLE told_ids")


def _quarantine(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """INSERT INTO staging.quarantine
        SELECT b.write_key, b.event_id, b.event_name, b.reason_codes, b.errors, b.raw, b.sealed, make_timestamp(b.received_us),
          b.received_us, b.plan_version, b.origin, k.file_key, b.row_no
        FROM batch b JOIN batch_files k ON k.file_path = b.file_path WHERE b.verdict = 'quarantined'"""
    )


_HELD = """event_name, event_us, session_id, properties, source, medium, campaign, term, content, device_type, locale,
  page_url, referrer, click_id, country, region, consent"""
_CONTENT = f"user_id, anonymous_id, {_HELD}"


def _append(con: duckdb.DuckDBPyConnection, ctx: BuildContext, everything: bool) -> int:
    """Deduplicate the accepted rows, append the winners, note what changed; returns copies with another content."""
    _copies(con)
    _clash(con)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE batch_duplicates AS
        WITH lost AS (
          SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date FROM copies WHERE NOT wins
          UNION ALL SELECT CAST(make_timestamp(CASE WHEN newer_wins THEN old_us ELSE new_us END) AS DATE) FROM clash)
        SELECT ingest_date, count(*) AS n FROM lost GROUP BY 1"""
    )
    conflicts = con.execute(
        """SELECT (SELECT count(*) FROM clash WHERE conflict)
          + (SELECT count(*) FROM copies l JOIN copies w ON w.wins AND l.write_key = w.write_key AND l.event_id = w.event_id AND l.content_hash <> w.content_hash)"""
    ).fetchall()[0][0]
    con.execute("INSERT INTO meta.duplicates SELECT ingest_date, n FROM batch_duplicates")
    con.execute(
        """CREATE OR REPLACE TEMP TABLE touched_days AS
        SELECT DISTINCT CAST(make_timestamp(received_us) AS DATE) AS ingest_date FROM batch
        UNION SELECT CAST(make_timestamp(old_us) AS DATE) FROM clash WHERE newer_wins"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE losers AS
        SELECT file_path, file_row FROM copies WHERE NOT wins UNION ALL SELECT file_path, file_row FROM clash WHERE NOT newer_wins"""
    )
    _events_in(con, ctx)
    if not everything:
        con.execute(
            "INSERT INTO meta.changed SELECT person_no, NULL, anonymous_no, event_us FROM clash WHERE newer_wins"
        )
        con.execute(
            """INSERT INTO meta.changed
            SELECT NULL, u.id_no, a.id_no, b.event_us FROM batch b
            LEFT JOIN batch_ids u ON u.id = b.user_id LEFT JOIN batch_ids a ON a.id = b.anonymous_id
            WHERE b.verdict = 'accepted' AND NOT EXISTS (
              SELECT 1 FROM losers l WHERE l.file_path = b.file_path AND l.file_row = b.file_row)"""
        )
    con.execute(
        """DELETE FROM meta.events USING clash c
        WHERE c.newer_wins AND meta.events.write_key = c.write_key AND meta.events.event_id = c.event_id"""
    )
    con.execute("INSERT INTO meta.events SELECT * EXCLUDE (file_path, file_row) FROM events_in")
    if everything:
        mark_rebuild(con, STEPS)
    return int(conflicts)


def _copies(con: duckdb.DuckDBPyConnection) -> None:
    """`copies`: the accepted rows whose id occurs more than once in the batch, and which of them `wins`.

    Only ids whose 64-bit hash occurs twice can be duplicates; the exact comparison is paid for them alone. The winner is
    the copy received first, ties by event time and content.
    """
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE copies AS
        WITH twice AS (
          SELECT hash(write_key, event_id) AS id_hash FROM batch WHERE verdict = 'accepted' GROUP BY 1 HAVING count(*) > 1),
        chosen AS (
          SELECT write_key, event_id, received_us, event_us, hash({_CONTENT}) AS content_hash, file_path, file_row,
            count(*) OVER (PARTITION BY write_key, event_id) AS held,
            row_number() OVER (PARTITION BY write_key, event_id ORDER BY received_us, event_us, hash({_CONTENT}), file_path, file_row) AS place
          FROM batch WHERE verdict = 'accepted' AND hash(write_key, event_id) IN (SELECT id_hash FROM twice))
        SELECT * EXCLUDE (held, place), place = 1 AS wins FROM chosen WHERE held > 1"""
    )


def _clash(con: duckdb.DuckDBPyConnection) -> None:
    """`clash`: winners of the batch whose id `meta.events` holds already, and whether the new copy was received before it.

    The content of both copies is read for these rows alone.
    """
    losing = con.execute("SELECT 1 FROM copies LIMIT 1").fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE met AS
        SELECT b.file_path, b.file_row, e.rowid AS event_row
        FROM batch b JOIN meta.events e ON b.write_key = e.write_key AND b.event_id = e.event_id
        WHERE b.verdict = 'accepted'
        {"AND NOT EXISTS (SELECT 1 FROM copies c WHERE NOT c.wins AND c.file_path = b.file_path AND c.file_row = b.file_row)" if losing else ""}"""
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE met_rows AS
        SELECT rowid AS event_row, received_us, person_no, user_no, anonymous_no, {_HELD} FROM meta.events
        WHERE rowid IN (SELECT event_row FROM met)"""
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE clash AS
        WITH fresh AS (
          SELECT m.event_row, b.write_key, b.event_id, b.received_us, b.event_us, hash({_CONTENT}) AS content_hash, b.file_path, b.file_row
          FROM batch b JOIN met m ON m.file_path = b.file_path AND m.file_row = b.file_row),
        ids AS MATERIALIZED (
          SELECT id_no, id FROM meta.ids
          WHERE id_no IN (SELECT user_no FROM met_rows UNION ALL SELECT anonymous_no FROM met_rows)),
        held AS (
          SELECT event_row, received_us, event_us, person_no, anonymous_no, hash({_CONTENT}) AS content_hash FROM (
            SELECT r.*, u.id AS user_id, a.id AS anonymous_id
            FROM met_rows r LEFT JOIN ids u ON u.id_no = r.user_no LEFT JOIN ids a ON a.id_no = r.anonymous_no))
        SELECT n.write_key, n.event_id, n.received_us AS new_us, h.received_us AS old_us, h.person_no, h.anonymous_no, h.event_us,
          (n.received_us, n.event_us, n.content_hash) < (h.received_us, h.event_us, h.content_hash) AS newer_wins,
          n.content_hash <> h.content_hash AS conflict, n.file_path, n.file_row
        FROM fresh n JOIN held h ON h.event_row = n.event_row
        {"" if con.execute("SELECT 1 FROM met LIMIT 1").fetchall() else "WHERE false"}"""
    )
    con.execute("DROP TABLE met")
    con.execute("DROP TABLE met_rows")


def _events_in(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> None:
    """`events_in`: the rows of the batch that are new, with the columns of `meta.events` in their order.

    The source is found by the hash of its five inputs, compared in full behind it; a row that names nothing asks nothing.
    """
    zone = ctx.settings.report_timezone
    moment = "make_timestamp(h.event_us)"
    local = moment if zone == "UTC" else f"timezone('{zone}', timezone('UTC', {moment}))"
    inputs = ("source", "medium", "campaign", "referrer_host", "click_kind")
    named = " OR ".join(f"{name} IS NOT NULL" for name in inputs)
    same = " AND ".join(f"h.{name} IS NOT DISTINCT FROM i.{name}" for name in inputs)
    losing = con.execute("SELECT 1 FROM losers LIMIT 1").fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW events_in AS
        WITH hashed AS (
          SELECT *, CASE WHEN {named} THEN hash({", ".join(inputs)}) END AS input_hash
          FROM inputs n
          {"WHERE NOT EXISTS (SELECT 1 FROM losers l WHERE l.file_path = n.file_path AND l.file_row = n.file_row)" if losing else ""}),
        known AS (
          SELECT s.*, k.touch_rank, hash({", ".join("s." + name for name in inputs)}) AS input_hash
          FROM meta.source_inputs s JOIN core.sources k ON k.source_key = s.source_key WHERE s.source_key > 0)
        SELECT h.write_key, h.event_id, h.event_name, coalesce(u.id_no, a.id_no) AS person_no, u.id_no AS user_no, a.id_no AS anonymous_no,
          h.session_id, h.properties, h.source, h.medium, h.campaign, h.term, h.content, h.device_type, h.locale, h.page_url, h.referrer,
          h.click_id, h.country, h.region, h.consent, h.plan_version, h.event_us, h.received_us,
          (h.device_type IS DISTINCT FROM 'api' AND h.event_name <> 'flag_exposed') AS browsing,
          CAST({local} AS DATE) AS local_day, i.source_key, i.touch_rank, h.file_path, h.file_row
        FROM hashed h LEFT JOIN batch_ids u ON u.id = h.user_id LEFT JOIN batch_ids a ON a.id = h.anonymous_id
        LEFT JOIN known i ON h.input_hash = i.input_hash AND {same}"""
    )
