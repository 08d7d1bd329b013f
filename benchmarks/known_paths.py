"""Known answers of files of paths: touch models, Markov chains, Shapley values, transforms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.known_answer import Figure, KnownAnswer, column_of, compared, rows_of
from gtm_dagster.attribution import attribute
from gtm_dagster.attribution.coalitions import shapley_values
from gtm_dagster.attribution.path_rows import PathColumns, path_table
from gtm_dagster.attribution.transforms import transformed


def _by_channel(table: pd.DataFrame, column: str = "conversions") -> dict[str, float]:
    return dict(zip(table["channel"], table[column].astype(float), strict=True))


def heuristics(folder: Path) -> Iterator[Figure]:
    """First, last and linear of 10,000 paths, conversions and value."""
    expected = rows_of(folder / "heuristic_models.csv")
    for name in ("first", "last", "linear"):
        table = attribute(folder / "PathData.csv", f"{name}_touch" if name != "linear" else name)
        for ours, theirs in (("conversions", "conversions"), ("value", "value")):
            figures = column_of(expected, "channel_name", f"{name}_touch_{theirs}")
            yield from compared(f"{name} {ours}", figures, _by_channel(table, ours))


def exact_markov(folder: Path) -> Iterator[Figure]:
    """Removal effects of order 1 without the paths that did not convert, of the paths of the case before."""
    expected = rows_of(folder / "exact_markov_o1_nonull.csv")
    paths = folder.parent / "01_pathdata_heuristics" / "PathData.csv"
    table = attribute(paths, "markov", order=1, nulls=False)
    for ours, theirs in (
        ("conversions", "total_conversions"),
        ("value", "total_conversion_value"),
        ("removal_effect", "removal_effect_conversions"),
        ("removal_effect_value", "removal_effect_value"),
    ):
        yield from compared(ours, column_of(expected, "channel_name", theirs), _by_channel(table, ours))


def three_paths(folder: Path) -> Iterator[Figure]:
    """Three paths of which one converts."""
    expected = rows_of(folder / "expected.csv")
    columns = {"conversions_column": "conversions", "value_column": "conversion_value", "nulls_column": "null"}
    table = attribute(folder / "input.csv", "markov", **columns)  # type: ignore[arg-type]
    yield Figure("probability of conversion", 1 / 3, table.attrs["p_conversion"])
    for column in ("removal_effect", "conversions", "value"):
        yield from compared(column, column_of(expected, "channel", column), _by_channel(table, column))


def nine_paths(folder: Path) -> Iterator[Figure]:
    """Nine paths of three channels under eight models."""
    rows = rows_of(folder / "mam1010_test_by_channel.csv")
    paths = folder / "mam_test_input.csv"
    columns: dict[str, Any] = {"path_column": "channels_agg", "conversions_column": "conversion_value", "value_column": None}  # fmt: skip
    models: dict[str, tuple[str, dict[str, Any]]] = {
        "first_click_heuristic": ("first_touch", {}),
        "last_click_heuristic": ("last_touch", {}),
        "last_click_non_A_heuristic": ("last_non_direct", {"direct": "A"}),
        "linear_heuristic": ("linear", {}),
        "position_based_0.4_0.2_0.4_heuristic": ("position_based", {"weights": (0.4, 0.2, 0.4)}),
        "markov_algorithmic": ("markov", {}),
        "shapley_size4_conv_rate_algorithmic": ("shapley", {"game": "rate"}),
        "shapley_size4_conv_rate_order_algorithmic": ("shapley_ordered", {}),
    }
    for theirs, (model, options) in models.items():
        expected = column_of(rows, "channels", f"attribution_{theirs}")
        yield from compared(model, expected, _by_channel(attribute(paths, model, **columns, **options)))
    effects = {row[""]: float(row["removal_effect"]) for row in rows_of(folder / "mam1010_test_removal_effect.csv")}
    yield from compared("removal effect", effects, _by_channel(attribute(paths, "markov", **columns), "removal_effect"))
    table = attribute(folder / "mam211_test_input_with_time.csv", "time_decay", ages_column="time_till_end", **columns)
    expected = column_of(rows_of(folder / "mam211_test_time_decay.csv"), "channels", "attribution")
    yield from compared("time_decay", expected, _by_channel(table))


def small_game(folder: Path) -> Iterator[Figure]:
    """The Shapley values of a game of three players."""
    game = {tuple(row["coalition"].split("+")): float(row["value"]) for row in rows_of(folder / "mam_readme_game.csv")}
    expected = column_of(rows_of(folder / "mam_readme_expected.csv"), "player", "shapley")
    yield from compared("Shapley value of", expected, shapley_values(game).values)


def transforms(folder: Path) -> Iterator[Figure]:
    """Seven transforms of four paths."""
    ours = {
        "trim_last_1": "newest:1", "trim_last_2": "newest:2", "unique_path": "unique", "exposure_path": "exposure",
        "first_path": "first", "remove_Direct_if_not_all": "remove_if_not_all:Direct",
        "remove_Direct_if_last_and_not_all": "remove_if_last_and_not_all:Direct",
    }  # fmt: skip
    columns = PathColumns("path", "total_conversions", None, None, None, None, " > ")
    for row in rows_of(folder / "cases.csv"):
        frame = pd.DataFrame({"path": [row["raw_path"]], "total_conversions": [1]})
        table, _ = path_table(frame, columns, "the case", False)
        for theirs, transform in ours.items():
            left = " > ".join(table.channels[code] for code in transformed(table, [transform]).channel)
            yield Figure(f"{transform} of {row['raw_path']}", row[theirs], left)


CASES = (
    KnownAnswer("01_pathdata_heuristics", "first, last, linear of 10,000 paths", heuristics),
    KnownAnswer("02_markov_exact_pathdata", "exact Markov of order 1 without nulls", exact_markov),
    KnownAnswer("03_markov_small_bryl", "Markov of three paths with nulls", three_paths),
    KnownAnswer("03_mam_nine_paths", "nine paths, nine models", nine_paths),
    KnownAnswer("04_shapley_small", "Shapley values of three players", small_game),
    KnownAnswer("06_path_transforms", "seven transforms of four paths", transforms),
)
