"""The same events under each definition of a session: a copy of the warehouse, its sessions and credit built again.

The copy lies in the state directory for as long as it takes. Staging is not repeated: what is built anew are the tables
from sessions to credit, whole, so a comparison costs about half of `gtm refresh --full` for each other definition.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as day_time
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, get_args, get_type_hints
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from gtm_dagster.settings.analysis import Sessions
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.figures.credit_sample import By, ComputedResult, Kind, credit_totals
from gtm_dagster.warehouse.figures.period import Period
from gtm_dagster.warehouse.fingerprints import check_settings, differences, fingerprints, recorded
from gtm_dagster.warehouse.schema import built, tables
from gtm_dagster.warehouse.writer_lock import WarehouseLock

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings
    from gtm_dagster.taxonomy import Plan

DEFINITIONS: tuple[str, ...] = get_args(get_type_hints(Sessions)["definition"])
_CREDITS = "marts.attribution_credits"


class NotComparable(Exception):
    """Definitions cannot be compared now; the message says why and the way out."""


@dataclass(frozen=True)
class DefinitionResult:
    """What one definition makes of the period: sessions, and conversions by label for each result.

    `seconds`: how long it took to build; 0 for the definition of the settings, which is there.
    """

    definition: str
    sessions: int
    conversions: Mapping[str, tuple[float, ...]]
    seconds: float

    def credit_of(self, label: str, result: int) -> float:
        """Conversions of a label by a result; 0 where the definition gives it none."""
        return self.conversions[label][result] if label in self.conversions else 0.0


def definition_results(
    settings: Settings, plan: Plan, period: Period, kind: Kind, results: Sequence[ComputedResult], by: By,
    tell: Callable[[str], None],
) -> tuple[DefinitionResult, ...]:  # fmt: skip
    """Every definition, that of the settings first; `tell` hears which one is being built.

    Raises NotComparable when the warehouse was built with other settings, when there is too little room for a copy, and
    LockHeldError while somebody writes.
    """
    own = settings.sessions.definition
    with tempfile.TemporaryDirectory(prefix="gtm-compare-", dir=settings.state_dir) as folder:
        beside = msgspec.structs.replace(settings, state_dir=Path(folder))
        _copy(settings, beside)
        with opened(beside.warehouse_path, beside) as con:
            if differences(recorded(con), fingerprints(settings, plan)):
                raise NotComparable("settings or rules changed since the last refresh: run `gtm refresh` first")
            found = [_result(con, own, settings, period, kind, results, by, 0.0)]
            for definition in (each for each in DEFINITIONS if each != own):
                tell(f"building sessions and credit under the definition {definition}")
                start = monotonic()
                changed = msgspec.structs.replace(settings.sessions, definition=definition)
                _build(con, BuildContext(msgspec.structs.replace(beside, sessions=changed), plan))
                seconds = monotonic() - start
                found.append(_result(con, definition, settings, period, kind, results, by, seconds))
    return tuple(found)


def _copy(settings: Settings, beside: Settings) -> None:
    """The working file as it is between two writers."""
    source = settings.warehouse_path
    if not source.exists():
        raise NotComparable(f"{source} is not there yet: run `gtm refresh` first")
    with WarehouseLock(settings.state_dir).hold("gtm report --compare", settings.refresh.lock_timeout_seconds):
        needed = 2 * source.stat().st_size
        free = shutil.disk_usage(settings.state_dir).free
        if free < needed:
            raise NotComparable(
                f"a copy of the warehouse needs {needed / 1e9:.1f} GB in {settings.state_dir}, {free / 1e9:.1f} GB are free"
            )
        for suffix in ("", ".wal"):
            file = Path(f"{source}{suffix}")
            if file.exists():
                shutil.copyfile(file, f"{beside.warehouse_path}{suffix}")


def _build(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> None:
    """Build what credit depends on under the settings of `ctx`; what does not change is not built again."""
    check_settings(con, ctx, allow_rebuild=True)
    reads = {table.name: table.reads for table in tables()}
    needed: set[str] = set()
    waiting = [_CREDITS]
    while waiting:
        name = waiting.pop()
        if name in reads and name not in needed:
            needed.add(name)
            waiting += reads[name]
    for table in built():
        if table.name in needed and table.step is not None:
            table.step(con, ctx)


def _result(
    con: duckdb.DuckDBPyConnection, definition: str, settings: Settings, period: Period, kind: Kind,
    results: Sequence[ComputedResult], by: By, seconds: float,
) -> DefinitionResult:  # fmt: skip
    zone = ZoneInfo(settings.report_timezone)
    ends = (period.since, period.until + timedelta(days=1))
    start_us, end_us = (int(datetime.combine(day, day_time(), zone).timestamp() * 1e6) for day in ends)
    ((sessions,),) = con.execute(
        "SELECT count(*) FROM core.sessions WHERE start_us >= ? AND start_us < ?", [start_us, end_us]
    ).fetchall()
    return DefinitionResult(definition, sessions, credit_totals(con, kind, period, results, by), seconds)


def results_that_differ(definitions: Sequence[DefinitionResult], results: int) -> list[int]:
    """The results to which another definition gives another credit, by half a tenth of a conversion or more."""
    if not definitions:
        return []
    own = definitions[0]
    return [
        i
        for i in range(results)
        if any(
            abs(other.credit_of(label, i) - own.credit_of(label, i)) >= 0.05
            for other in definitions[1:]
            for label in {*own.conversions, *other.conversions}
        )
    ]
