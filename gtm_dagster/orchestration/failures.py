"""A run that fails says why in a sentence, before any stack trace, and what a person does about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import duckdb

from gtm_dagster.eventlog import EventLogError
from gtm_dagster.opsstore.database import OpsStoreError
from gtm_dagster.settings import SettingsError
from gtm_dagster.storage.migrations import NewerFormatError
from gtm_dagster.taxonomy import PlanError
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.fingerprints import SettingsChangedError

_REMEDIES: dict[type[Exception], str] = {
    SettingsChangedError: "Launch the job `rebuild` (Jobs, rebuild, Launchpad), or run `gtm refresh` where the deployment is.",
    SettingsError: "Correct gtm.toml or the variable, then reload the code location (Deployment, Reload). `gtm doctor` checks it.",
    PlanError: "Correct the tracking plan; `gtm plan check` says what is wrong with it. The next run takes it.",
    ContractBreak: "Put the landed file right (from a backup), or take its batch back: `gtm imports list`, `gtm imports withdraw`.",
    NewerFormatError: "Run the version of gtm-dagster that wrote it, or a later one.",
    EventLogError: "`gtm doctor` looks at the event log; docs/deploy.md says how it is restored.",
    OpsStoreError: "`gtm doctor` looks at the ops store; see `ops_url` in gtm.toml.",
    duckdb.Error: "`gtm doctor` looks at the warehouse. It can be made again from the landing files: `gtm refresh --full`; of a damaged file, move it away first.",
    OSError: "`gtm doctor` looks at disk and files. The next run goes on from what was committed.",
}
"""What people do about an error that is none of the program's, by its class; the first that fits."""


@contextmanager
def in_words() -> Iterator[None]:
    """Within it, an error that a person can mend fails the step with its message and the remedy; it is not retried."""
    try:
        yield
    except tuple(_REMEDIES) as error:
        remedy = next(words for kind, words in _REMEDIES.items() if isinstance(error, kind))
        raise dg.Failure(
            description=" ".join(str(error).split()),
            metadata={"what to do": dg.MetadataValue.md(remedy)},
            allow_retries=False,
        ) from error


def reason_of(error: Any) -> str:
    """The message of the error that Dagster wraps, in one line. The cause of that error says less (SQLite's own words)."""
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return _one_line(error.message) if error else "failed"


def _one_line(message: str) -> str:
    """An error's message in one line, without the path of its class in front."""
    line = " ".join(message.split())
    head, _, rest = line.partition(": ")
    return rest if rest and "." in head and " " not in head else line
