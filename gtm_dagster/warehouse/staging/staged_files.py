"""Which landed files staging has read (`meta.landing_files`), also where they were compacted since.

A compacted file counts as read when every batch it was compacted from is; of one that is known in part, by a warehouse
from a backup, the rest is read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import duckdb

from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.landing import Landing, LandingFile
from gtm_dagster.warehouse.landing.listing import covered


def staged_keys(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Keys of the files that are staged."""
    return {key for (key,) in con.execute("SELECT file_key FROM meta.landing_files").fetchall()}


def unstaged_files(
    con: duckdb.DuckDBPyConnection, landing: Landing, gone: Sequence[LandingFile] = ()
) -> list[LandingFile]:
    """Files of batches of which `meta.landing_files` does not name everything, or that are `gone` and landed again."""
    keys = staged_keys(con) - {file.key for file in gone}
    return beside(keys, landing.files(but=names_of(keys), parts=True))


def names_of(keys: Collection[str]) -> set[str]:
    """The batches of these file keys; nobody has to look into them."""
    return {key.partition("/")[2] for key in keys}


def beside(keys: Collection[str], files: Sequence[LandingFile]) -> list[LandingFile]:
    """Those of `files` that are not among the staged `keys`; of compacted ones, the parts that are are left out.

    A batch that a staged one was compacted from is staged too: the landing zone is from a backup then.
    """
    names = names_of(keys) if files else set()
    compacted = covered({*names, *(file.name for file in files)})
    return [
        replace(file, left_out=frozenset(part for part in file.parts if file.key_of(part) in keys))
        for file in files
        if file.key not in keys and compacted.get(file.name) not in names
    ]


def follow_compaction(con: duckdb.DuckDBPyConnection, landing: Landing) -> None:
    """Name the staged files as the landing zone does now: by the compacted file where all it holds is staged, and by the
    batches it was compacted from where the landing zone is from a backup.
    """
    keys = staged_keys(con)
    names = names_of(keys)
    files = landing.files(but=names, parts=True)
    covers = covered({*names, *(file.name for file in files)}) if files else {}
    restored = [file for file in files if covers.get(file.name) in names]
    unstaged = beside(keys, files)
    partly = {file.name for file in unstaged if file.wanted_rows}
    compacted = [file for file in unstaged if file.name not in partly]
    if not restored and not compacted:
        return
    with transaction(con):
        for file in compacted:
            _rename(con, file, _keys_left_out(file))
        for file in restored:
            _rename(con, file, [file.key_of(covers[file.name])])
        for file in compacted:
            _forget(con, _keys_left_out(file))
        _forget(con, sorted({file.key_of(covers[file.name]) for file in restored}))


def _rename(con: duckdb.DuckDBPyConnection, file: LandingFile, keys: list[str]) -> None:
    con.execute(
        """INSERT INTO meta.landing_files
        SELECT $1, $2, $3, max(staged_at) FROM meta.landing_files WHERE file_key IN (SELECT unnest($4::VARCHAR[]))""",
        [file.key, file.ingest_date, file.rows, keys],
    )


def note_staged(con: duckdb.DuckDBPyConnection, files: Sequence[LandingFile]) -> None:
    """Note that `files` are staged as of now; in the staging transaction."""
    for file in files:
        if file.left_out:
            _forget(con, _keys_left_out(file))
    con.execute(
        "INSERT INTO meta.landing_files SELECT unnest($1::VARCHAR[]), unnest($2::DATE[]), unnest($3::BIGINT[]), now()",
        [[file.key for file in files], [file.ingest_date for file in files], [file.rows for file in files]],
    )


def _forget(con: duckdb.DuckDBPyConnection, keys: list[str]) -> None:
    con.execute("DELETE FROM meta.landing_files WHERE file_key IN (SELECT unnest($1::VARCHAR[]))", [keys])


def _keys_left_out(file: LandingFile) -> list[str]:
    return [file.key_of(part) for part in file.left_out]
