"""`marts.attribution_status`: which model and window is computed, and why another is not (the history gate)."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass

import duckdb
import msgspec

from gtm_dagster.attribution.models import MULTI_TOUCH_MODELS
from gtm_dagster.warehouse.affected import drop_tables, nothing_new, rebuild, take_affected
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.marts.history_gate import history_verdict
from gtm_dagster.warehouse.state import get_state, set_state

_STEP = "attribution_status"


@dataclass(frozen=True)
class ModelStatus:
    """Whether a window is computed, and the reason in words. `model` is the window's label, `credit_model` what it stands for."""

    model: str
    window_hours: float
    credit_model: str
    computed: bool
    reason: str


def model_statuses(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> list[ModelStatus]:
    """The verdict for each window of the settings; single-touch models need no history."""
    daily: list[tuple[int, int]] = con.execute(
        "SELECT CAST(local_day - DATE '1970-01-01' AS INTEGER), count(*) FROM meta.events GROUP BY 1"
    ).fetchall()
    ready, reason = history_verdict(daily, ctx.settings.attribution.min_history_days)
    return [
        ModelStatus(w.label, float(w.lookback_hours), w.model, ready, reason)
        if w.model in MULTI_TOUCH_MODELS
        else ModelStatus(w.label, float(w.lookback_hours), w.model, True, "a single-touch model needs no history")
        for w in ctx.settings.attribution.windows
    ]


@dataclass(frozen=True)
class StatusResult:
    """The status of every declared model and window, and whether it was looked at again."""

    statuses: tuple[ModelStatus, ...]
    changed: bool = True

    @property
    def metadata(self) -> dict[str, int | float | str]:
        lines = [
            f"- {s.model} {s.window_hours:g} h{'' if s.credit_model == s.model else f' ({s.credit_model})'}: {'computed' if s.computed else 'absent'}, {s.reason}"
            for s in self.statuses
        ]
        return {"dagster/row_count": len(self.statuses), "status": "\n".join(lines)}


def build_attribution_status(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StatusResult:
    """Which (model, window) was computed, and why another was not."""
    declared = json.dumps(
        msgspec.to_builtins([ctx.settings.attribution.windows, ctx.settings.attribution.min_history_days])
    )
    if get_state(con, _STEP) == declared and nothing_new(con, _STEP):
        rows = con.execute("SELECT * FROM marts.attribution_status ORDER BY rowid").fetchall()
        return StatusResult(tuple(ModelStatus(*row) for row in rows), changed=False)
    statuses = model_statuses(con, ctx)
    with transaction(con):
        if get_state(con, _STEP) != declared:
            rebuild(con, _STEP)
        take_affected(con, _STEP)
        set_state(con, _STEP, declared)
        con.execute("DELETE FROM marts.attribution_status")
        for status in statuses:
            con.execute(
                "INSERT INTO marts.attribution_status VALUES (?, ?, ?, ?, ?)",
                list(astuple(status)),
            )
    drop_tables(con, "affected")
    return StatusResult(tuple(statuses))
