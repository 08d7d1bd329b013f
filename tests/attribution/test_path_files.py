"""What a file of paths may hold, what is refused or skipped, and the options of models and of counting."""

import pandas as pd
import pytest

from gtm_dagster.attribution import PathsError, attribute
from gtm_dagster.attribution.paths import PathsWarning

FLAWED = pd.DataFrame(
    {
        "path": ["a > b", "", " > > ", None, "a > b", "a > b", "b"],
        "ages": ["5 > 1", "", "1 > 1", "1", "1 > 5", "5", "0"],
        "total_conversions": [1, 1, 1, 1, 1, 1, -1],
        "total_conversion_value": [1.0] * 7,
    }
)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        pytest.param(1, "row 1, column 'path': '' has a channel without a name", id="empty"),
        pytest.param(2, "row 1, column 'path': ' > > ' has a channel", id="only-separators"),
        pytest.param(3, "row 1, column 'path': there is no path", id="null"),
        pytest.param(4, "row 1, column 'ages': '1 > 5' has a touch that is older", id="youngest-first"),
        pytest.param(5, "row 1, column 'ages': '5' has not as many ages", id="too-few-ages"),
        pytest.param(6, "row 1, column 'total_conversions': .*-1.* is not a number of 0", id="negative"),
    ],
)
def test_a_row_that_is_no_path_is_refused_or_skipped_and_counted(row, says):
    alone = FLAWED.iloc[[row]]
    with pytest.raises(PathsError, match=says):
        attribute(alone, "time_decay", ages_column="ages")
    skipped = attribute(FLAWED, "time_decay", ages_column="ages", skip_bad_rows=True)
    assert skipped.attrs["skipped_rows"] == 6
    assert list(skipped["channel"]) == ["a", "b"]
    assert skipped["conversions"].sum() == pytest.approx(1)
    assert attribute(FLAWED.iloc[[0, row]], "time_decay", ages_column="ages", skip_bad_rows=True).attrs["skipped_rows"] == 1  # fmt: skip


def test_the_row_that_is_named_is_the_first_of_its_kind():
    frame = pd.DataFrame({"path": ["a", "a > ", "a", "a > "], "total_conversions": 1})
    with pytest.raises(PathsError, match="row 2"):
        attribute(frame, "linear")


def test_texts_that_several_paths_share_are_those_of_each_row():
    paths, ages = (
        ["a > b", "b > a", "c", "a > b", " a  >  b", None],
        ["3 > 0", "3 > 0", "3 > 0", "9 > 9", "3 > 0", "3 > 0"],
    )
    frame = pd.DataFrame({"path": paths, "ages": ages, "total_conversions": 1})
    rows = attribute(frame, "time_decay", ages_column="ages", half_life_hours=3, skip_bad_rows=True)
    older, newer = 1 / 3, 2 / 3
    assert list(rows["channel"]) == ["a", "b"]
    assert list(rows["conversions"]) == pytest.approx([2 * older + newer + 0.5, 2 * newer + older + 0.5])
    assert rows.attrs["skipped_rows"] == 2
    with pytest.raises(PathsError, match="row 3, column 'ages': '3 > 0' has not as many ages"):
        attribute(frame.iloc[:5], "time_decay", ages_column="ages")


def test_nothing_left_after_skipping_is_an_empty_table():
    rows = attribute(FLAWED.iloc[[1]], "linear", skip_bad_rows=True)
    assert rows.empty and list(rows.columns) == ["channel", "conversions", "value"]


@pytest.mark.parametrize("path", ["a>b>c", "a;b", "a | b", "a→b", "a,b"])
def test_a_separator_that_nowhere_occurs_warns(path):
    with pytest.warns(PathsWarning, match="no path has two touches"):
        attribute(pd.DataFrame({"path": [path, "a"], "total_conversions": 1}), "linear")


def test_paths_of_one_touch_do_not_warn():
    frame = pd.DataFrame({"path": ["google / cpc", "e-mail"], "total_conversions": 1})
    assert list(attribute(frame, "linear")["conversions"]) == [1, 1]


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("linear", {"weights": (1, 1, 1)}, "weights: linear does not read it; it is an option of position_based"),
        ("position_based", {"weights": (1, 1)}, "are not three shares"),
        ("position_based", {"weights": (0, 0, 0)}, "are not three shares"),
        ("time_decay", {"half_life_hours": 0, "ages_column": "ages"}, "half_life_hours: 0"),
        ("linear", {"depth": 2}, "depth is not an option"),
        ([], {}, "name at least one"),
        ("linear", {"count": "one"}, "neither all nor first"),
        ("linear", {"count": "first"}, "name person_column"),
        ("linear", {"count": "first", "person_column": "who"}, "no column 'who'"),
        ("linear", {"value_column": "price"}, "no column 'price'"),
        ("w_shaped", {"stages_column": "stages"}, "no column 'stages'"),
    ],
)
def test_wrong_options_are_named(model, options, says):
    with pytest.raises(PathsError, match=says):
        attribute(FLAWED.iloc[[0]], model, **options)


def test_weights_and_half_life_are_read():
    row = FLAWED.iloc[[0]]
    assert list(attribute(row, "position_based", weights=(3, 0, 1))["conversions"]) == [0.75, 0.25]
    assert list(attribute(row, "time_decay", ages_column="ages", half_life_hours=4)["conversions"]) == pytest.approx(
        [1 / 3, 2 / 3]
    )


def test_paid_channels_are_known_by_name_or_by_option():
    frame = pd.DataFrame({"path": ["Email > Paid Search > Referral"], "total_conversions": [1]})
    assert attribute(frame, "first_paid").set_index("channel")["conversions"]["Paid Search"] == 1
    assert attribute(frame, "last_paid", paid=["Email"]).set_index("channel")["conversions"]["Email"] == 1


def test_the_first_conversion_of_a_person():
    frame = pd.DataFrame(
        {"path": ["a", "b", "a > b", "c"], "who": ["p", "p", "q", "p"], "total_conversions": [0, 1, 1, 1]}
    )
    counted = attribute(frame, "last_touch", count="first", person_column="who")
    assert dict(zip(counted["channel"], counted["conversions"], strict=True)) == {"a": 0, "b": 2}


def test_a_list_of_models_is_a_column():
    rows = attribute(FLAWED.iloc[[0]], ["last_touch", "first_touch"])
    assert rows.to_dict("split")["data"] == [
        ["last_touch", "a", 0.0, 0.0], ["last_touch", "b", 1.0, 1.0], ["first_touch", "a", 1.0, 1.0], ["first_touch", "b", 0.0, 0.0],
    ]  # fmt: skip


def test_texts_and_numbers_of_an_object_column_are_names():
    frame = pd.DataFrame({"path": ["a > b", 7], "total_conversions": 1}, dtype=object)
    assert list(attribute(frame, "last_touch")["channel"]) == ["7", "a", "b"]


def test_rows_of_one_path_are_one_path():
    frame = pd.DataFrame({"path": ["a > b"] * 3 + ["b"], "total_conversions": [1, 2, 3, 4]})
    assert list(attribute(frame, "first_touch")["conversions"]) == [6, 4]
