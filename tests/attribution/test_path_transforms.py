"""Which touches of a path stay: transforms, lookbacks, named channels, the most of a path; and what becomes of the rest."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.attribution import PathsError, attribute
from gtm_dagster.attribution.path_rows import PathColumns, path_table
from gtm_dagster.attribution.path_table import PathTable
from gtm_dagster.attribution.touch_filters import TouchFilter
from gtm_dagster.attribution.transforms import transformed

COLUMNS = PathColumns("path", "total_conversions", None, None, None, None, " > ")


def table_of(*paths: str) -> PathTable:
    frame = pd.DataFrame({"path": paths, "total_conversions": 1})
    return path_table(frame, COLUMNS, "paths", False)[0]


def texts(table: PathTable) -> list[str]:
    names = [table.channels[code] for code in table.channel]
    ends = table.lengths.cumsum()
    return [" > ".join(names[end - n : end]) for end, n in zip(ends, table.lengths, strict=True)]


# transform, path, what is left of it
CASES = [
    pytest.param("unique", "m > m > d", "m > m > d", id="unique-keeps-every-touch"),
    pytest.param("exposure", "m > m > d > m", "m > d > m", id="exposure-one-of-each-run"),
    pytest.param("first", "m > d > m > s > d", "m > d > s", id="first-of-each-channel"),
    pytest.param("last", "m > d > m > s > d", "m > s > d", id="last-of-each-channel"),
    pytest.param("newest:2", "m > d > m", "d > m", id="newest-two"),
    pytest.param("newest:9", "m > d > m", "m > d > m", id="newest-more-than-there-are"),
    pytest.param("remove_if_not_all:d", "d > m > d", "m", id="remove-one-channel"),
    pytest.param("remove_if_not_all:d", "d > d", "d > d", id="remove-not-the-only-channel"),
    pytest.param("remove_if_not_all:x", "d > m", "d > m", id="remove-a-channel-that-is-not-there"),
    pytest.param("remove_if_last_and_not_all:d", "d > m > d > d", "d > m", id="remove-the-run-at-the-end"),
    pytest.param("remove_if_last_and_not_all:d", "d > m", "d > m", id="remove-last-keeps-it-elsewhere"),
    pytest.param("remove_if_last_and_not_all:d", "d > d", "d > d", id="remove-last-not-the-only-channel"),
]


@pytest.mark.parametrize(("transform", "path", "expected"), CASES)
def test_transforms(transform, path, expected):
    assert texts(transformed(table_of(path), [transform])) == [expected]


some_paths = st.lists(st.lists(st.sampled_from("mds"), min_size=1, max_size=7).map(" > ".join), min_size=1, max_size=9, unique=True)  # fmt: skip


@given(some_paths, st.sampled_from(sorted({case.values[0] for case in CASES})))
def test_a_transform_reads_each_path_alone_and_leaves_a_touch(paths, transform):
    together = texts(transformed(table_of(*paths), [transform]))
    assert together == [texts(transformed(table_of(path), [transform]))[0] for path in paths]
    assert all(together)


@given(some_paths, st.sampled_from(sorted({case.values[0] for case in CASES} - {"newest:2"})))
def test_a_transform_done_again_changes_nothing(paths, transform):
    once = transformed(table_of(*paths), [transform])
    assert texts(transformed(once, [transform])) == texts(once)


def test_transforms_are_done_in_their_order():
    path = table_of("d > m > d > d")
    assert texts(transformed(path, ["newest:2", "remove_if_not_all:d"])) == ["d > d"]
    assert texts(transformed(path, ["remove_if_not_all:d", "newest:2"])) == ["m"]


@pytest.mark.parametrize("wrong", ["", "newest", "newest:0", "newest:two", "remove_if_not_all", "first:d", "sort"])
def test_a_transform_that_there_is_not_is_named(wrong):
    with pytest.raises(PathsError, match="is not a transform of paths"):
        attribute(pd.DataFrame({"path": ["a"], "total_conversions": [1]}), "linear", transforms=[wrong])


JOURNEYS = pd.DataFrame(
    {
        "path": ["mail > ad > Direct", "ad > mail", "Direct"],
        "ages": ["200 > 24 > 0", "30 > 30", "500"],
        "total_conversions": [1, 2, 4],
        "total_conversion_value": [10.0, 20.0, 40.0],
    }
)


def last_touch(**options):
    rows = attribute(JOURNEYS, "last_touch", ages_column="ages", **options)
    return dict(zip(rows["channel"], rows["conversions"], strict=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, {"Direct": 5, "ad": 0, "mail": 2}, id="everything-counts"),
        pytest.param({"lookback_hours": 24}, {"Direct": 1, "ad": 0, "(unattributed)": 6}, id="as-old-as-the-lookback"),
        pytest.param({"lookback_hours": 23.9}, {"Direct": 1, "(unattributed)": 6}, id="older-than-the-lookback"),
        pytest.param({"without": ["Direct"]}, {"ad": 1, "mail": 2, "(unattributed)": 4}, id="without-a-channel"),
        pytest.param({"only": ["ad"]}, {"ad": 3, "(unattributed)": 4}, id="only-a-channel"),
        pytest.param({"only": ["nobody"]}, {"(unattributed)": 7}, id="only-what-never-occurs"),
        pytest.param(
            {"lookback_hours": 48, "channel_hours": {"mail": 10}},
            {"Direct": 1, "ad": 2, "(unattributed)": 4},
            id="one-channel-counts-for-a-shorter-time",
        ),
        pytest.param(
            {"lookback_hours": 1, "channel_hours": {"ad": 48}},
            {"Direct": 1, "ad": 2, "(unattributed)": 4},
            id="one-channel-counts-for-a-longer-time",
        ),
        pytest.param(
            {"channel_hours": {"Direct": 1}},
            {"Direct": 1, "ad": 0, "mail": 2, "(unattributed)": 4},
            id="one-channel-has-a-lookback",
        ),
    ],
)
def test_which_touches_count(options, expected):
    assert last_touch(**options) == expected
    rows = attribute(JOURNEYS, "linear", ages_column="ages", **options)
    assert rows["conversions"].sum() == pytest.approx(7)
    assert rows["value"].sum() == pytest.approx(70)
    assert list(rows["channel"])[-1] == "(unattributed)" or "(unattributed)" not in list(rows["channel"])


@pytest.mark.parametrize(
    ("most", "left", "truncated"), [(1, ["a > d", "a"], 3), (2, ["a > c > d", "a"], 3), (3, ["a > b > c > d", "a"], 0)]
)
def test_the_newest_and_the_oldest_stay_and_rows_are_counted(most, left, truncated):
    frame = pd.DataFrame({"path": ["a > b > c > d"] * 3 + ["a"], "total_conversions": 1})
    table = path_table(frame, COLUMNS, "paths", False)[0]
    kept, rows = TouchFilter(max_touches=most)(table)
    assert (texts(kept), rows) == (left, truncated)
    assert attribute(frame, "linear", max_touches=most).attrs["truncated_paths"] == truncated


def test_the_longest_lookback_comes_before_the_most_touches():
    frame = pd.DataFrame({"path": ["a > b > c"], "ages": ["99 > 9 > 0"], "total_conversions": [1]})
    kept = attribute(frame, "first_touch", ages_column="ages", lookback_hours=10, max_touches=1)
    assert (list(kept["channel"]), kept.attrs["truncated_paths"]) == (["b", "c"], 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lookback_hours": 24}, "a lookback needs to know how old"),
        ({"channel_hours": {"a": 24}}, "a lookback needs to know how old"),
        ({"ages_column": "ages", "lookback_hours": 0}, "lookback_hours: 0"),
        ({"ages_column": "ages", "channel_hours": {"a": -1}}, r"channel_hours\['a'\]: -1"),
        ({"max_touches": 0}, "max_touches: 0"),
        ({"only": ["a"], "without": ["b"]}, "keep one of them"),
    ],
)
def test_wrong_filters_are_named(options, says):
    with pytest.raises(PathsError, match=says):
        attribute(JOURNEYS, "linear", **options)


STAGES = pd.DataFrame(
    {
        "path": ["a > b > c > d > e"] * 3,
        "stages": ["2 > 4", " > 4", None],
        "total_conversions": [100, 70, 40],
    }
)


def test_stages_are_places_in_the_path_and_missing_ones_are_shared():
    rows = attribute(STAGES.iloc[[0]], "w_shaped", stages_column="stages")
    assert list(rows["conversions"]) == pytest.approx([30, 30, 5, 30, 5])
    rows = attribute(STAGES.iloc[[1]], "w_shaped", stages_column="stages")
    assert list(rows["conversions"]) == pytest.approx([30, 10 / 3, 10 / 3, 30, 10 / 3])
    rows = attribute(STAGES.iloc[[2]], "w_shaped", stages_column="stages")
    assert list(rows["conversions"]) == pytest.approx([30, 2.5, 2.5, 2.5, 2.5])
    assert attribute(STAGES, "full_path", stages_column="stages")["conversions"].sum() == pytest.approx(210)


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        pytest.param(["d"], {"a": 30, "b": 30, "c": 30, "e": 10}, id="to-the-touch-before"),
        pytest.param(["c", "d"], {"a": 30, "b": 60, "e": 10}, id="to-the-nearest-touch-before"),
        pytest.param(["a", "b"], {"c": 300 / 7, "d": 300 / 7, "e": 100 / 7}, id="missing-where-there-is-none-before"),
    ],
)
def test_the_stage_of_a_touch_that_does_not_count_goes_to_the_one_before(without, expected):
    rows = attribute(STAGES.iloc[[0]], "w_shaped", stages_column="stages", without=without)
    assert dict(zip(rows["channel"], rows["conversions"], strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", ["0", "6", "1.5", "two", "2 > 9"])
def test_a_place_that_the_path_does_not_have_is_named(wrong):
    frame = STAGES.assign(stages=["1", wrong, "2"])
    with pytest.raises(PathsError, match=r"row 2, column 'stages': .* has a place that the path does not have"):
        attribute(frame, "w_shaped", stages_column="stages")
