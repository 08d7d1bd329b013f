"""What a declaration of a table says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.warehouse.affected import SESSIONS
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.figure import Chart
from gtm_dagster.warehouse.results import CheckResult, Result, number

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

Step = Callable[[duckdb.DuckDBPyConnection, BuildContext], Result]
CheckRun = Callable[[duckdb.DuckDBPyConnection, BuildContext], CheckResult]
Trends = Callable[[duckdb.DuckDBPyConnection, BuildContext], Mapping[str, int | float]]
"""Numbers by name of the open working file; what is not known is not among them."""
STAGED = "staged"
"""News of a table that staging writes: the files staged."""
_OFF_HALVES = 0.0337219
"""Share of the last digit that is added before numbers are rounded to be compared."""
AMONG_CHANGED = "person_no IN (SELECT person_no FROM changed_persons)"
"""The rows a check of what changed looks at."""


@dataclass(frozen=True)
class Column:
    """A column: name, DuckDB type, meaning.

    `local`: good within one file only, so that two copies are not compared by it. `digits`: compared rounded to so many
    decimals. `served`: whether readers get it. `random`: nearly every row holds another random text. It is written
    as it is: compressed it takes half the room, and three to five times the CPU to write and to read.
    """

    name: str
    type: str
    meaning: str
    local: bool = False
    digits: int | None = None
    served: bool = True
    random: bool = False

    @property
    def definition(self) -> str:
        """Name and type, as a CREATE TABLE takes them."""
        return f"{self.name} {self.type}{' USING COMPRESSION uncompressed' if self.random else ''}"


@dataclass(frozen=True)
class Check:
    """A statement about a table that holds; its name says it. `severity` is ERROR (fails a run) or WARN.

    `run` looks at everything. `changed` looks at what changed, and finds there what `run` would: it is given
    `changed_persons` (person_no), in staging `changed_files` (file_key, ingest_date). None: `run` costs next to nothing.
    """

    name: str
    description: str
    run: CheckRun
    blocking: bool = True
    severity: str = "ERROR"
    changed: CheckRun | None = None


@dataclass(frozen=True)
class ByPersonAndTime:
    """The table changes in the affected ranges alone: `moment` is the column of the time.

    `lookback`: a change also touches rows up to the longest lookback behind it.
    """

    moment: str
    lookback: bool = False


@dataclass(frozen=True)
class ByPerson:
    """All rows of an affected person change together."""


@dataclass(frozen=True)
class ByLandedFile:
    """Rows of a landed file come all at once, and stay; `file_key` names it."""


@dataclass(frozen=True)
class ByNumber:
    """Rows come with a rising number and stay as they are; the oldest go first. `number` is its column."""

    number: str


Changes = ByPersonAndTime | ByPerson | ByLandedFile | ByNumber | None
"""How a table changes, so that the serving copy takes over what changed; None: it is small and written whole."""


def no_settings(settings: Settings) -> Mapping[str, object]:
    """A table whose content no setting decides."""
    return {}


@dataclass(frozen=True)
class Table:
    """One table of the working file; DDL, assets, checks, docs, `doctor --verify` and the serving copy derive from it.

    `name` is schema.table. `step` builds it (None: another table's step or staging does), after the steps of the tables
    it `reads`. `settings`: what of the settings decides its content; a change rebuilds it and what reads it, and so does
    a change of its columns or of the code and statements of its step. `view`: the statement when it is a view.
    `built_with`: the table in whose Dagster step this one is built, too: a step of its own costs 50 ms of each refresh.
    `news`: the stages of the affected ranges by which its checks learn of a change, or STAGED. `kept`: a rebuild keeps its
    rows, since they cannot be made again; its columns may only become more. `trends`: numbers that the web UI plots over time.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    reads: tuple[str, ...] = ()
    step: Step | None = None
    built_with: str | None = None
    settings: Callable[[Settings], Mapping[str, object]] = no_settings
    checks: tuple[Check, ...] = ()
    charts: tuple[Chart, ...] = ()
    changes: Changes = None
    served: bool = True
    view: str | None = None
    news: tuple[str, ...] = (SESSIONS,)
    kept: bool = False
    trends: Trends | None = None

    @property
    def schema(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]

    @property
    def table(self) -> str:
        """The part behind the dot."""
        return self.name.partition(".")[2]

    @property
    def compared(self) -> str:
        """The select list by which two copies are compared; empty when they are not.

        Numbers are rounded off the halves: sums of prices and shares lie exactly on one often, where the order of adding
        decides which way they are rounded.
        """
        return ", ".join(
            column.name
            if column.digits is None
            else f"round({column.name} + {_OFF_HALVES * 10.0**-column.digits!r}, {column.digits}) AS {column.name}"
            for column in self.columns
            if not column.local
        )

    @property
    def ddl(self) -> str:
        """The statement that makes it when it is not there."""
        if self.view is not None:
            return f"CREATE VIEW IF NOT EXISTS {self.name} AS\n{self.view}"
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({self.column_list})"

    @property
    def column_list(self) -> str:
        """Names and types, as a CREATE TABLE takes them."""
        return ", ".join(column.definition for column in self.columns)


def none_of(sql: str, what: str) -> CheckRun:
    """A check that counts offending rows with `sql` and passes on none; `what` names them."""

    def run(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
        offending = int(number(con, sql))
        return CheckResult(offending == 0, f"{offending} {what}", {"offending": offending})

    return run
