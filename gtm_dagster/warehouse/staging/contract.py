"""The tracking plan on landed rows that other rules admitted: one SQL pass clears the rows that plainly hold, Pandera judges the others.

The SQL is compiled from the Pandera schema of the envelope and only ever says "holds" of a row that schema lets pass;
properties and consent are judged by Pandera itself, once for each distinct text. A differential test holds both ways
to one verdict.
"""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pandera.pandas as pandera
import pyarrow as pa

from gtm_dagster.admission.rules import rules_fingerprint
from gtm_dagster.privacy.masked_event import mask_event
from gtm_dagster.taxonomy import Plan
from gtm_dagster.taxonomy.conform import INT_COLUMNS, TEXT_COLUMNS, ContractBreak
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, DEVICE_TYPES, ID_LIMITS, MAX_US, MIN_US
from gtm_dagster.taxonomy.landing_schema import JUDGED_TEXTS, landing_schema, texts_kept, validate_frame
from gtm_dagster.warehouse.literals import composed, literals

_ROWS_AT_ONCE = 500_000
SAMPLE_ROWS = 1_000
"""Rows of a staging that are judged although the rules in force admitted them."""
_SAMPLE_FILES = 8
"""Files they come from, unless these are small: to read some rows of a file costs a third of reading all."""
_SAMPLE_RUN = 32
"""Rows of them that stand one behind the other: of what lies between two runs only the verdict is decoded."""
_LIMITS = ID_LIMITS | CONTEXT_LIMITS


def _text(column: str, kind: str) -> str | None:
    """SQL that is true only where the check `kind` of a text column holds or the text is NULL; None: see JUDGED_TEXTS."""
    if kind == "length":  # bytes: never fewer than characters
        shortest = f" AND {column} <> ''" if column in ID_LIMITS else ""
        return f"({column} IS NULL OR (strlen({column}) <= {_LIMITS[column]}{shortest}))"
    if kind == "nul":
        return f"({column} IS NULL OR NOT contains({column}, chr(0)))"
    if kind == "missing":
        return f"{column} IS NOT NULL"
    if kind == "personal_data":
        return f"({column} IS NULL OR NOT contains({column}, '@'))"
    if kind == "not_allowed" and column == "device_type":
        return f"({column} IS NULL OR {column} IN ({', '.join(repr(name) for name in DEVICE_TYPES)}))"
    if kind == "timestamp_out_of_range" and column == "event_us":
        return f"({column} >= {MIN_US} AND {column} < {MAX_US})"
    if column in JUDGED_TEXTS and kind in ("unknown_event", "consent"):
        return None
    raise ValueError(f"check {kind!r} of landing column {column} has no SQL; add it to {__name__}")


def envelope_sql(plan: Plan) -> str:
    """A condition on one landed row: true only where the envelope of `plan` holds (it may be false on a row that does).

    Raises ValueError for a check of the schema that has no SQL here: none is skipped.
    """
    schema: pandera.DataFrameSchema = landing_schema(plan)
    terms = [
        _text(name, str(check.name)) for name, column in schema.columns.items() for check in column.checks if check.name
    ]
    for check in schema.checks:
        if check.name != "missing_identity":
            raise ValueError(f"check {check.name!r} of the landing frame has no SQL; add it to {__name__}")
        terms.append("(user_id IS NOT NULL OR anonymous_id IS NOT NULL)")
    return " AND ".join(term for term in terms if term)


def judge(con: duckdb.DuckDBPyConnection, plan: Plan, relation: str, full: bool) -> int:
    """Make the temporary table `refused(file_path, file_row, reason_codes, errors, raw)`; returns its rows.

    `relation` holds the landing columns, file_path and file_row. Only accepted rows are judged, and of those only the
    ones of this plan's version, unless `full`. Rows that the same plan and rules admitted are not judged again, but for
    a sample of them that keeps both judges honest. Raises ContractBreak when the batch is not what a landing file is,
    or Pandera refuses a row of that sample.
    """
    con.execute(
        "CREATE OR REPLACE TEMP TABLE refused (file_path VARCHAR, file_row BIGINT, reason_codes VARCHAR, errors VARCHAR, raw VARCHAR)"
    )
    rules = rules_fingerprint(plan)
    admitted = f"verdict = 'accepted' AND rules = '{rules}'"
    due = f"verdict = 'accepted' AND rules IS DISTINCT FROM '{rules}'"
    due += "" if full else f" AND plan_version = '{plan.version}'"
    files = con.execute(
        composed(
            """SELECT file_path, count(*) FILTER ($admitted), count(*) FILTER ($due), count(*) FILTER (received_us IS NULL)
            FROM $relation GROUP BY 1 ORDER BY 1""",
            relation=relation,
            admitted=admitted,
            due=due,
        )
    ).fetchall()
    if any(undated for *_, undated in files):
        raise ContractBreak("landing column received_us holds nulls; land the batch again")
    _check_sample(con, plan, relation, admitted, [(path, rows) for path, rows, *_ in files if rows])
    if not any(rows for _, _, rows, _ in files):
        return 0
    _judge_texts(con, plan, relation, due)
    doubtful = f"NOT coalesce({envelope_sql(plan)}, false)"
    if con.execute("SELECT 1 FROM refused_texts LIMIT 1").fetchall():
        same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM r.{name}" for name in JUDGED_TEXTS)
        doubtful = composed(
            "($doubtful OR EXISTS (SELECT 1 FROM refused_texts t WHERE $same))", doubtful=doubtful, same=same
        )
    judged = [*TEXT_COLUMNS, *INT_COLUMNS]
    rows = con.sql(
        composed(
            "SELECT file_path, file_row, $columns FROM $relation r WHERE $due AND $doubtful",
            columns=", ".join(judged),
            relation=relation,
            due=due,
            doubtful=doubtful,
        )
    )
    found = [_refusals(plan, pa.Table.from_batches([batch])) for batch in rows.to_arrow_reader(_ROWS_AT_ONCE)]
    for refusals in found:
        con.register("refusals", refusals)
        con.execute("INSERT INTO refused SELECT * FROM refusals")
        con.unregister("refusals")
    con.execute("DROP TABLE refused_texts")
    return sum(refusals.num_rows for refusals in found)


def _check_sample(
    con: duckdb.DuckDBPyConnection, plan: Plan, relation: str, admitted: str, counted: list[tuple[str, int]]
) -> None:
    """Raises ContractBreak when Pandera refuses one of some rows, spread over the batch, that this plan's rules admitted.

    `counted`: how many rows of each file the condition `admitted` holds of.
    """
    if not counted:
        return
    admitted_rows = sum(rows for _, rows in counted)
    files = counted[:: max(1, min(len(counted) // _SAMPLE_FILES, admitted_rows // (2 * SAMPLE_ROWS)))]
    every = max(1, sum(rows for _, rows in files) // SAMPLE_ROWS)
    judged = ", ".join([*TEXT_COLUMNS, *INT_COLUMNS])
    found = con.sql(
        composed(
            """SELECT file_path, file_row, $judged FROM $relation
            WHERE $admitted AND file_path IN ($files) AND file_row // $run % $every = 0 LIMIT $sample_rows""",
            judged=judged,
            relation=relation,
            admitted=admitted,
            files=literals(path for path, _ in files) or "NULL",
            run=_SAMPLE_RUN,
            every=every,
            sample_rows=SAMPLE_ROWS,
        )
    )
    rows = found.to_arrow_table()
    verdict = validate_frame(plan, rows.to_pandas())
    for index, errors in zip(np.flatnonzero(~np.asarray(verdict.ok)).tolist(), verdict.reasons, strict=True):
        where = f"{rows.column('file_path')[index]} row {rows.column('file_row')[index]}"
        reasons = "; ".join(f"{error.path}: {error.message} ({error.code})" for error in errors)
        raise ContractBreak(f"{where}: was admitted by this plan and breaks it: {reasons}; nothing was staged")


def _judge_texts(con: duckdb.DuckDBPyConnection, plan: Plan, relation: str, due: str) -> None:
    """`refused_texts`: the distinct (event_name, properties, consent) that Pandera refuses."""
    con.execute("CREATE OR REPLACE TEMP TABLE refused_texts (event_name VARCHAR, properties VARCHAR, consent VARCHAR)")
    distinct = con.sql(
        composed(
            "SELECT DISTINCT $columns FROM $relation WHERE $due",
            columns=", ".join(JUDGED_TEXTS),
            relation=relation,
            due=due,
        )
    )
    bad = []
    for batch in distinct.to_arrow_reader(_ROWS_AT_ONCE):
        texts = pa.Table.from_batches([batch])
        bad.append(texts.filter(pa.array(~texts_kept(plan, texts.to_pandas()))))
    for texts in bad:
        con.register("texts", texts)
        con.execute("INSERT INTO refused_texts SELECT * FROM texts")
        con.unregister("texts")


def _refusals(plan: Plan, rows: pa.Table) -> pa.Table:
    """Pandera's verdict on doubtful rows: those it refuses, each with every reason and the masked event."""
    verdict = validate_frame(plan, rows.to_pandas())
    refused = rows.take(pa.array(np.flatnonzero(~np.asarray(verdict.ok)))).to_pylist()
    rejections = []
    for row, errors in zip(refused, verdict.reasons, strict=True):
        event = {"event_id": row["event_id"], "event_name": row["event_name"], "properties": _properties(row)}
        rejections.append(
            {
                "file_path": row["file_path"],
                "file_row": row["file_row"],
                "reason_codes": ",".join(sorted({error.code for error in errors})),
                "errors": json.dumps([{"path": e.path, "code": e.code, "message": e.message} for e in errors]),
                "raw": mask_event(plan, json.dumps(event).encode()),
            }
        )
    text = pa.string()
    return pa.Table.from_pylist(
        rejections,
        schema=pa.schema(
            [("file_path", text), ("file_row", pa.int64()), ("reason_codes", text), ("errors", text), ("raw", text)]
        ),
    )


def _properties(row: dict[str, object]) -> object:
    """The properties as sent; of a text that is no JSON nothing is shown."""
    try:
        return json.loads(str(row["properties"] or "{}"))
    except ValueError:
        return {}
