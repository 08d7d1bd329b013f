"""Attribution windows of the settings as rows for the credit statements: which touches count (a path), and their shares."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import PAID_CHANNELS, POSITION_WEIGHTS
from gtm_dagster.attribution.models import TOUCH_MODELS, model
from gtm_dagster.attribution.models.full_path import KEY as FULL_PATH
from gtm_dagster.attribution.models.inverse_j import WEIGHTS as INVERSE_J
from gtm_dagster.attribution.models.j_shaped import WEIGHTS as J_SHAPED
from gtm_dagster.attribution.models.w_shaped import KEY as W_SHAPED
from gtm_dagster.channels import CHANNELS
from gtm_dagster.warehouse.affected import HOUR_US
from gtm_dagster.warehouse.literals import composed, literal

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings, Window

DIRECT = "Direct"
BY_CHANNEL, BY_STAGE = "by_channel", "by_stage"
_METHODS = {
    "j_shaped": "position_based", "inverse_j": "position_based", "linear_unique": BY_CHANNEL, "participation": BY_CHANNEL,
    "w_shaped": BY_STAGE, "full_path": BY_STAGE,
}  # fmt: skip
"""How the statements call what a model does, where that is not the model's own name."""
_WEIGHTS = {"j_shaped": J_SHAPED, "inverse_j": INVERSE_J}
_KEYS = {"w_shaped": (W_SHAPED, 0), "full_path": (FULL_PATH, 1)}
"""The weight of a key moment, and whether the newest touch is one."""

Row = tuple[str | int | float | None, ...]


@dataclass(frozen=True)
class Relation:
    """A small table of the rules: its name, its columns with their types, and its rows."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]

    @property
    def query(self) -> str:
        """A query of literals that gives the rows."""
        names = ", ".join(name for name, _ in self.columns)
        values = self.rows or (tuple(None for _ in self.columns),)
        cells = ", ".join(
            f"({', '.join(f'CAST({_cell(value)} AS {kind})' for value, (_, kind) in zip(row, self.columns, strict=True))})"
            for row in values
        )
        none = "" if self.rows else " WHERE false"
        return composed("SELECT * FROM (VALUES $cells) AS v($names)$none", cells=cells, names=names, none=none)


def _cell(value: str | float | None) -> str:
    if value is None:
        return "NULL"
    return literal(value) if isinstance(value, str) else repr(value)


@dataclass(frozen=True)
class Rules:
    """`windows`: a row a result. `paths`: the plain rules of counting, `path_channels`: those by channel, `path_steps`:
    transforms, `channels`: what is known of each channel. `methods`: what the windows ask for.
    """

    windows: Relation
    paths: Relation
    path_channels: Relation
    path_steps: Relation
    channels: Relation

    @property
    def relations(self) -> tuple[Relation, ...]:
        """All of them."""
        return self.windows, self.paths, self.path_channels, self.path_steps, self.channels

    @property
    def methods(self) -> frozenset[object]:
        """The methods of the windows."""
        return frozenset(row[3] for row in self.windows.rows)

    @property
    def n_steps(self) -> int:
        """How many transforms the longest list has."""
        return max((int(row[1] or 0) for row in self.path_steps.rows), default=0)


@dataclass(frozen=True)
class _Path:
    """Which touches count: what windows share that differ in their model alone."""

    hours: tuple[float, ...]
    """By channel number where any channel has its own hours or does not count (0); else one figure for all."""
    steps: tuple[str, ...]
    half_life_hours: float | None


def rules_of(settings: Settings, computed: Collection[tuple[str, float]], found: Iterable[str] = ()) -> Rules:
    """The rules of the windows of `settings` whose (label, lookback hours) is in `computed` and whose model is one of touches.

    `found`: channels of the touches; those of the registry are known.
    """
    names = (*CHANNELS, *sorted(set(found) - set(CHANNELS)))
    windows = [
        window
        for window in settings.attribution.windows
        if window.model in TOUCH_MODELS and (window.label, float(window.lookback_hours)) in computed
    ]
    usual = settings.attribution.half_life_hours
    # A half-life sums up touches in its own way, so it is part of a path; windows without one join any path of theirs.
    paths: dict[_Path, int] = {}
    for window in sorted(windows, key=lambda window: not model(window.model).needs_half_life):
        paths.setdefault(_path_of(window, paths, names, usual), len(paths) + 1)
    rows = []
    for window in windows:
        path = _path_of(window, paths, names, usual)
        rows.append(_window_row(window, paths[path], path.half_life_hours or usual))
    return Rules(
        Relation("windows", _WINDOW_COLUMNS, tuple(rows)),
        Relation(
            "paths",
            (("path_no", "INTEGER"), ("window_us", "BIGINT")),
            tuple((no, _us(path.hours[0])) for path, no in paths.items() if len(path.hours) == 1),
        ),
        Relation(
            "path_channels",
            (("path_no", "INTEGER"), ("channel_no", "INTEGER"), ("window_us", "BIGINT")),
            tuple(
                (no, channel_no, _us(hours))
                for path, no in paths.items()
                if len(path.hours) > 1
                for channel_no, hours in enumerate(path.hours)
                if hours > 0
            ),
        ),
        Relation(
            "path_steps",
            (("path_no", "INTEGER"), ("step_no", "INTEGER"), ("kind", "VARCHAR"), ("channel_no", "INTEGER"), ("newest", "INTEGER")),
            tuple(_step_row(no, step_no, step, names) for path, no in paths.items() for step_no, step in enumerate(path.steps, 1)),
        ),
        Relation(
            "channels",
            (("channel_no", "INTEGER"), ("channel", "VARCHAR"), ("is_direct", "INTEGER"), ("is_paid", "INTEGER")),
            tuple((no, name, int(name == DIRECT), int(name in PAID_CHANNELS)) for no, name in enumerate(names)),
        ),
    )  # fmt: skip


def lookbacks(settings: Settings) -> Relation:
    """Each distinct lookback, of windows and of their channels."""
    hours = {
        each
        for window in settings.attribution.windows
        for each in (window.lookback_hours, *window.channel_hours.values())
    }
    return Relation("lookbacks", (("lookback_us", "BIGINT"),), tuple((_us(each),) for each in sorted(hours)))  # fmt: skip


def _us(hours: float) -> int:
    return round(hours * HOUR_US)


def _path_of(window: Window, paths: Iterable[_Path], names: tuple[str, ...], usual: float) -> _Path:
    """The window's path: one of `paths` that counts the same touches where its model reads no half-life."""
    path = _path(window, names, usual)
    if path.half_life_hours is None:
        same = (known for known in paths if (known.hours, known.steps) == (path.hours, path.steps))
        return next(same, path)
    return path


def _path(window: Window, names: tuple[str, ...], usual: float) -> _Path:
    steps = tuple(step for step in window.transforms if step != "unique")  # unique leaves a path as it is
    half_life = (window.half_life_hours or usual) if model(window.model).needs_half_life else None
    if not (window.channel_hours or window.only or window.without):
        return _Path((window.lookback_hours,), steps, half_life)
    counting = set(window.only or names) - set(window.without)
    hours = (window.channel_hours.get(name, window.lookback_hours) if name in counting else 0.0 for name in names)
    return _Path(tuple(hours), steps, half_life)


def _step_row(path_no: int, step_no: int, step: str, names: tuple[str, ...]) -> Row:
    kind, _, argument = step.partition(":")
    if kind == "newest":
        return path_no, step_no, kind, None, int(argument)
    return path_no, step_no, kind, names.index(argument) if argument else None, None


_WINDOW_COLUMNS = (
    ("model", "VARCHAR"), ("window_hours", "DOUBLE"), ("path_no", "INTEGER"), ("method", "VARCHAR"), ("half_life_us", "DOUBLE"),
    ("first_share", "DOUBLE"), ("middle_share", "DOUBLE"), ("last_share", "DOUBLE"), ("first_of_two", "DOUBLE"),
    ("shares_whole", "INTEGER"), ("key_weight", "DOUBLE"), ("newest_is_key", "INTEGER"),
)  # fmt: skip


def _window_row(window: Window, path_no: int, half_life_hours: float) -> Row:
    first, middle, last = _WEIGHTS.get(window.model) or window.weights or POSITION_WEIGHTS
    total = first + middle + last
    key_weight, newest_is_key = _KEYS.get(window.model, (0.0, 0))
    return (
        window.label, float(window.lookback_hours), path_no, _METHODS.get(window.model, window.model),
        float(_us(half_life_hours)), first / total, middle / total, last / total,
        first / (first + last) if first + last > 0 else 0.5,
        int(model(window.model).conserves), key_weight, newest_is_key,
    )  # fmt: skip
