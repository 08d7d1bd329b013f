"""`marts.data_driven_attribution`: credit by channel of the models that read all paths together.

A channel's credit depends on every path of its month, so a month is solved whole when something is new; the paths it is
solved from (`core.paths`) are few, and kept by person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from gtm_dagster.attribution.declaration import Options, PathCounts, PathCredit
from gtm_dagster.attribution.models import model
from gtm_dagster.settings import Window
from gtm_dagster.warehouse.affected import drop_tables, nothing_new, rebuild, take_affected
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.person_paths import SEPARATOR
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.state import get_state, set_state

UNATTRIBUTED = "(unattributed)"
_STEP = "data_driven_attribution"
_STATE = "data_driven_windows"

_Row = tuple[str | None, int, float | None, int]
"""A row of core.paths: path, conversions, value, nulls."""


@dataclass(frozen=True)
class Earned:
    """What a channel earned of the conversions of one month, type and currency; effects are None where a model has none."""

    channel: str
    conversions: float
    value: float | None
    removal_effect: float | None
    p_conversion: float | None
    standard_error: float | None


_EARNED = pa.schema(
    [
        ("month", pa.date32()), ("conversion_type", pa.string()), ("currency", pa.string()), ("model", pa.string()),
        ("window_hours", pa.float64()), ("channel", pa.string()),
        *((name, pa.float64()) for name in ("conversions", "value", "removal_effect", "p_conversion", "standard_error")),
    ]
)  # fmt: skip


def build_data_driven(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Credit by month, type, currency and channel for each data-driven window that the history gate lets through."""
    windows = _computed(con, ctx)
    asked = json.dumps(msgspec.to_builtins(windows), sort_keys=True)
    as_before = get_state(con, _STATE) == asked
    if as_before and nothing_new(con, _STEP):
        return TableResult(count(con, "marts.data_driven_attribution"), changed=False)
    with transaction(con):
        if not as_before:
            rebuild(con, _STEP)
        take_affected(con, _STEP)
        set_state(con, _STATE, asked)
        con.execute("DELETE FROM marts.data_driven_attribution")
        rows = [row for window in windows for row in _rows_of(con, window)]
        con.register("earned", pa.Table.from_pylist(rows, schema=_EARNED))
        con.execute("INSERT INTO marts.data_driven_attribution SELECT * FROM earned")
    con.unregister("earned")
    drop_tables(con, "affected")
    return TableResult(len(rows))


def _computed(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> list[Window]:
    passed = set(con.execute("SELECT model, window_hours FROM marts.attribution_status WHERE computed").fetchall())
    return [
        window
        for window in ctx.settings.attribution.windows
        if model(window.model).data_driven and (window.label, float(window.lookback_hours)) in passed
    ]


def _rows_of(con: duckdb.DuckDBPyConnection, window: Window) -> Iterator[dict[str, object]]:
    """A row a month, type, currency and channel. Types, and the currencies of a type, are solved each on their own; paths
    without a conversion are those of the type, whatever the currency."""
    hours = float(window.lookback_hours)
    paths = con.execute(
        """SELECT month, conversion_type, currency, path, conversions, value, nulls FROM core.paths
        WHERE model = ? AND window_hours = ? ORDER BY ALL""",
        [window.label, hours],
    ).fetchall()
    converted: dict[tuple[object, str, str | None], list[_Row]] = {}
    not_converted: dict[tuple[object, str], list[_Row]] = {}
    for month, kind, currency, path, conversions, value, nulls in paths:
        if conversions:
            converted.setdefault((month, kind, currency), []).append((path, conversions, value, 0))
        if nulls:
            not_converted.setdefault((month, kind), []).append((path, 0, None, nulls))
    for (month, kind, currency), rows in converted.items():
        of_all = (month, kind, currency, window.label, hours)
        for each in credit_of(window, [*rows, *not_converted.get((month, kind), [])]):
            yield dict(zip(_EARNED.names, (*of_all, *astuple(each)), strict=True))


def credit_of(window: Window, rows: list[_Row]) -> list[Earned]:
    """What each channel of the paths earned, one that earned nothing included. Conversions without a path are
    (unattributed): they are no part of what the model reads."""
    valued = any(value is not None for _, _, value, _ in rows)
    counts = path_counts([row for row in rows if row[0] is not None], valued)
    options = Options(order=window.order, nulls=window.nulls, removal=window.removal, game=window.game)
    solve = model(window.model).credit_of_paths
    if solve is None:
        raise ValueError(f"{window.model} is no data-driven model")
    credit = solve(counts, options) if counts.channels else PathCredit(np.zeros(0), np.zeros(0))
    effects, errors = credit.columns.get("removal_effect"), credit.columns.get("standard_error")
    p_conversion = credit.attrs.get("p_conversion")
    earned = [
        Earned(
            channel,
            float(credit.conversions[number]),
            float(credit.value[number]) if valued and credit.value is not None else None,
            float(effects[number]) if effects is not None else None,
            p_conversion,
            float(errors[number]) if errors is not None else None,
        )
        for number, channel in enumerate(counts.channels)
    ]
    nobody = [row for row in rows if row[0] is None and row[1]]
    if nobody:
        value = sum(row[2] or 0.0 for row in nobody) if valued else None
        earned.append(Earned(UNATTRIBUTED, float(sum(row[1] for row in nobody)), value, None, p_conversion, None))
    return earned


def path_counts(rows: list[_Row], valued: bool) -> PathCounts:
    """Rows of core.paths as a model reads them; a path may be there twice, with conversions and without."""
    numbers: dict[str, int] = {}
    walked = [
        [numbers.setdefault(channel, len(numbers)) for channel in path.split(SEPARATOR)] for path, *_ in rows if path
    ]
    return PathCounts(
        channels=tuple(numbers),
        channel=np.array([code for path in walked for code in path], dtype=np.int64),
        lengths=np.array([len(path) for path in walked], dtype=np.int64),
        conversions=np.array([row[1] for row in rows], dtype=np.float64),
        value=np.array([row[2] or 0.0 for row in rows], dtype=np.float64) if valued else None,
        nulls=np.array([row[3] for row in rows], dtype=np.float64),
    )
