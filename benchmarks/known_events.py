"""Known answers of touches and conversions with times: paths are built by age, then attributed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.known_answer import Figure, KnownAnswer, column_of, compared, rows_of
from gtm_dagster.attribution import attribute

HALF_LIFE_HOURS = 168.0
Row = Mapping[str, str]


def hours_between(touch: str, conversion: str) -> float:
    """Hours from one time to another, negative where the first is later."""
    return (datetime.fromisoformat(conversion) - datetime.fromisoformat(touch)).total_seconds() / 3600


def paths_of(touches: Sequence[Row], conversions: Sequence[Row], person: str, channel: str = "channel") -> pd.DataFrame:
    """A row a conversion that has a touch at or before it: path, ages, and its revenue; ties in the order of the file."""
    by_person = defaultdict(list)
    for touch in touches:
        by_person[touch[person]].append((touch["touch_ts"], touch[channel]))
    rows: list[dict[str, Any]] = []
    for conversion in conversions:
        seen = [
            (hours_between(at, conversion["conversion_ts"]), name)
            for at, name in sorted(by_person[conversion[person]], key=lambda touch: touch[0])
        ]
        before = [(age, name) for age, name in seen if age >= 0]
        rows.append(
            {
                "path": " > ".join(name for _, name in before),
                "ages": " > ".join(repr(age) for age, _ in before),
                "total_conversions": 1,
                "total_conversion_value": float(conversion["revenue"]),
                "total_null": 0,
            }
        )
    return pd.DataFrame(rows)


def worked_example(folder: Path) -> Iterator[Figure]:
    """One conversion of 50 after four touches in three visits."""
    touches, conversions = rows_of(folder / "touches.csv"), rows_of(folder / "conversions.csv")
    expected: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows_of(folder / "expected.csv"):
        expected[row["model"], row["lookback"]][row["channel"]] = float(row["revenue"])
    for (model, lookback), revenue in expected.items():
        counted = [touch for touch in touches if lookback == "visitor" or touch["visit"] == conversions[0]["visit"]]
        name = "time_decay" if model.startswith("time_decay") else model
        table = attribute(
            paths_of(counted, conversions, "visitor"), name, ages_column="ages", half_life_hours=HALF_LIFE_HOURS
        )
        found = dict(zip(table["channel"], table["value"].astype(float), strict=True))
        yield from compared(f"{name}, touches of the {lookback},", revenue, found, 0.005, absolute=True)


def thirty_days(folder: Path) -> Iterator[Figure]:
    """Touches and conversions of two months: paths without repeats, who converts and who does not, two models."""
    touches, conversions = rows_of(folder / "touches.csv"), rows_of(folder / "conversions.csv")
    converted = {row["customer_id"] for row in conversions}
    # Who never converts has a path too: up to the last touch, with the same lookback.
    last: dict[str, str] = {}
    for touch in touches:
        if touch["customer_id"] not in converted:
            last[touch["customer_id"]] = max(last.get(touch["customer_id"], ""), touch["touch_ts"])
    never = [{"customer_id": who, "conversion_ts": at, "revenue": "0"} for who, at in last.items()]
    lost = paths_of(touches, never, "customer_id").assign(total_conversions=0, total_null=1)
    frame = pd.concat([paths_of(touches, conversions, "customer_id"), lost], ignore_index=True)
    options: dict[str, Any] = {"ages_column": "ages", "lookback_hours": 720.0, "transforms": ["exposure"]}
    report = rows_of(folder / "snowplow_fractribution_channel_attribution_expected.csv")
    for theirs, ours in (("last_touch", "last_touch"), ("shapley", "leave_one_out")):
        rows = [row for row in report if row["ATTRIBUTION_TYPE"] == theirs]
        table = attribute(frame, ours, **options)
        for column, name in (("conversions", "CONVERSIONS"), ("value", "REVENUE")):
            found = dict(zip(table["channel"], table[column].astype(float), strict=True))
            yield from compared(f"{ours} {column}", column_of(rows, "CHANNEL", name), found)
    yield from _summary(folder, frame, options)


def _summary(folder: Path, frame: pd.DataFrame, options: Mapping[str, Any]) -> Iterator[Figure]:
    """Conversions, revenue and paths that did not convert, by path."""
    from gtm_dagster.attribution.path_rows import PathColumns, path_table
    from gtm_dagster.attribution.touch_filters import TouchFilter

    columns = PathColumns("path", "total_conversions", "total_conversion_value", "total_null", "ages", None, " > ")
    counted = TouchFilter(lookback_hours=options["lookback_hours"], transforms=options["transforms"])
    table, _ = counted(path_table(frame, columns, "the case", False)[0])
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    end = 0
    for at, length in enumerate(table.lengths):
        path = " > ".join(table.channels[code] for code in table.channel[end : end + length])
        end += length
        cells = (table.conversions[at], table.nulls[at], 0.0 if table.value is None else table.value[at])
        found[path] = [have + more for have, more in zip(found[path], cells, strict=True)]
    expected = rows_of(folder / "snowplow_fractribution_path_summary_expected.csv")
    for place, column in enumerate(("conversions", "non_conversions", "revenue")):
        theirs = {row["transformed_path"]: float(row[column] or 0) for row in expected}
        yield from compared(f"{column} of", theirs, {path: cells[place] for path, cells in found.items()})


CASES = (
    KnownAnswer("05_snowplow_fractribution", "30 days: paths, last touch, leave one out", thirty_days),
    KnownAnswer("08_adobe_example", "a conversion of 50 under five models", worked_example),
)
