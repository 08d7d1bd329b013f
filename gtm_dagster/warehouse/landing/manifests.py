"""The manifest of a batch: what it holds, under which format, and from which offsets of which log.

Format 2 names its columns, the log and its offsets, and the rows a day. A compacted batch has a column that earlier
versions do not know, so they refuse it instead of counting its rows twice. A program from before reads the rows of a batch
under `days`; it finds a sentence there that it takes for a date, and refuses with it. Format 1 is `name` and `days` alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from gtm_dagster import __version__
from gtm_dagster.admission.record import LANDING_COLUMNS
from gtm_dagster.storage.migrations import NEWER, NewerFormatError
from gtm_dagster.taxonomy.conform import ContractBreak

FORMAT = 2
FILE_METADATA = {"gtm_dagster.format": str(FORMAT), "gtm_dagster.version": __version__}
"""Key-value metadata of every Parquet file of a batch."""
_LOG_NAME = re.compile(r"log-(?:([0-9a-f]{16})-)?(\d+)-(\d+)\Z")
BATCH_NAME = "batch_name"
"""The column of a compacted batch that names the batch each row landed in."""
_KNOWN = {*(name for name, _ in LANDING_COLUMNS), BATCH_NAME}


class LogRange(msgspec.Struct, frozen=True):
    """The offsets of log `log_id` that a batch holds, both included; `log_id` "" is a log from before logs had an identity.

    `received_us`: receipt of the last record, None where the batch does not say.
    """

    log_id: str
    first_seq: int
    last_seq: int
    received_us: int | None = None


class ReplayNotes(msgspec.Struct, frozen=True):
    """Who asked for a replay of the quarantine, of which rows (`Selection`), with which corrections, by which plan version."""

    by: str
    selection: str
    corrections: list[str]
    plan_version: str


class ImportNotes(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the rows of an import come from: names of the file and of the mapping (None: native), write key, when it
    landed (microseconds UTC); `replay`: of a replay of the quarantine, in batches of earlier versions never.
    """

    file: str
    mapping: str | None
    write_key: str
    landed_us: int
    replay: ReplayNotes | None = None


class Withdrawal(msgspec.Struct, frozen=True):
    """That a batch was withdrawn: `id` names this withdrawal, `at_us` is microseconds UTC."""

    id: str
    at_us: int
    by: str
    reason: str


class Manifest(msgspec.Struct, frozen=True):
    """One whole batch: its rows by ISO ingest date, its columns (empty: not named), and its range of the log, if any.

    `verdicts`: rows by verdict. `notes`: of an import. Both are empty in manifests of earlier versions. `withdrawn`: the
    batch does not count any more. `replaces`: the batches of the log that were compacted into this one, each with its rows
    by ISO ingest date; where the manifest of one of them still lies beside this one, it does not count.
    """

    name: str
    rows: dict[str, int]
    format: int = FORMAT
    columns: list[str] = []
    log: LogRange | None = None
    version: str = __version__
    verdicts: dict[str, int] = {}
    notes: ImportNotes | None = None
    withdrawn: Withdrawal | None = None
    replaces: dict[str, dict[str, int]] = {}


def log_name(log_id: str, first_seq: int, last_seq: int) -> str:
    """The name of the batch of a range of log offsets, both included. Raises ValueError for what is not a log's id."""
    if not re.fullmatch("[0-9a-f]{16}", log_id):
        raise ValueError(f"log id {log_id!r} is not 16 hex characters")
    return range_name(LogRange(log_id, first_seq, last_seq))


def range_name(batch: LogRange) -> str:
    """As `log_name`, also of a log from before logs had an identity."""
    log_id = f"{batch.log_id}-" if batch.log_id else ""
    return f"log-{log_id}{batch.first_seq:015d}-{batch.last_seq:015d}"


def log_range(name: str) -> LogRange | None:
    """The range of the log a batch of this name holds, None for an import."""
    match = _LOG_NAME.match(name)
    return LogRange(match.group(1) or "", int(match.group(2)), int(match.group(3))) if match else None


def manifest_of(
    name: str, rows: dict[str, int], last: pa.Table, verdicts: dict[str, int], notes: ImportNotes | None = None
) -> Manifest:
    """The manifest of batch `name`; `last`: the last of its landing rows, `verdicts`: its rows by verdict."""
    log = log_range(name)
    if log is not None and last.column("row_no")[-1].as_py() == log.last_seq:
        log = msgspec.structs.replace(log, received_us=last.column("received_us")[-1].as_py())
    counted = dict(sorted(verdicts.items())) if notes is not None else {}
    return Manifest(name, rows, columns=last.schema.names, log=log, verdicts=counted, notes=notes)


def encoded(manifest: Manifest) -> bytes:
    """The manifest as it is stored: in the present format, also when it was in an earlier one."""
    document = msgspec.to_builtins(msgspec.structs.replace(manifest, format=FORMAT))
    unset = [name for name in ("verdicts", "notes", "withdrawn", "replaces") if not document[name]]
    return msgspec.json.encode(
        {**{name: value for name, value in document.items() if name not in unset}, "days": {NEWER: None}}
    )


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`, None when there is none.

    Raises NewerFormatError when a later version wrote it, ContractBreak when it is not a manifest.
    """
    try:
        document: Any = json.loads(path.read_bytes())
        number = int(document.get("format", 1))
        if number > FORMAT:
            raise NewerFormatError(f"{path}: has format {number}; {NEWER} or a later one")
        if number < FORMAT:
            return msgspec.convert({"name": path.stem, "rows": document["days"], "format": 1, "version": ""}, Manifest)
        manifest = msgspec.convert(document, Manifest)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ContractBreak(f"{path}: not a manifest ({error}); restore it from a backup, or remove it and land its batch again") from error  # fmt: skip
    unknown = [name for name in manifest.columns if name not in _KNOWN]
    if unknown:
        raise NewerFormatError(f"{path}: has the column {', '.join(unknown)}; {NEWER} or a later one")
    return manifest
