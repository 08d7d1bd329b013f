"""Whole paths: the vectorised credit equals the models, adds up, and wrong files are named."""

import gzip
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.attribution import PathsError, attribute, models, weights
from gtm_dagster.attribution.models import AGE_MODELS, TOUCH_MODELS

PATHS = pd.DataFrame(
    {
        "path": ["search > email > Direct", "search", "email > search", "Direct > Direct"],
        "total_conversions": [10, 5, 4, 1],
        "total_conversion_value": [100.0, 50.0, 40.0, 0.0],
        "total_null": [1, 1, 1, 1],
    }
)


@pytest.mark.parametrize(
    ("model", "direct", "email", "search"),
    [
        ("first_touch", 1, 4, 15),
        ("last_touch", 11, 0, 9),
        ("linear", 10 / 3 + 1, 10 / 3 + 2, 10 / 3 + 7),
        ("position_based", 4 + 1, 2 + 2, 4 + 5 + 2),
        ("last_non_direct", 1, 10, 9),
    ],
)
def test_credit_by_channel(model, direct, email, search):
    result = attribute(PATHS, model)
    assert list(result.columns) == ["channel", "conversions", "value"]
    assert list(result["channel"]) == ["Direct", "email", "search"]
    assert list(result["conversions"]) == pytest.approx([direct, email, search])
    assert result["value"].sum() == pytest.approx(190)


touches = st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 2000)), min_size=1, max_size=8)


@examples(60)
@given(st.sampled_from(TOUCH_MODELS), st.lists(st.tuples(touches, st.integers(0, 50)), min_size=1, max_size=15))
def test_vectorised_credit_is_the_models_credit(model, rows):
    expected = dict.fromkeys("abcd", 0.0)
    lines = []
    for path, conversions in rows:
        names = [name for name, _ in path]
        ages = sorted((age for _, age in path), reverse=True)
        shares = weights(model, ages, 24, [name == "a" for name in names], channels=names)
        for name, share in zip(names, shares, strict=True):
            expected[name] += share * conversions
        lines.append((" > ".join(names), " > ".join(map(repr, ages)), conversions))
    frame = pd.DataFrame(lines, columns=["path", "ages", "total_conversions"])
    result = attribute(frame, model, ages_column="ages", half_life_hours=24, direct="a")
    credit = dict(zip(result["channel"], result["conversions"], strict=True))
    assert credit == pytest.approx({name: expected[name] for name in credit}, abs=1e-9)
    if models.model(model).conserves:
        assert math.fsum(credit.values()) == pytest.approx(sum(conversions for _, conversions in rows), abs=1e-9)


def test_other_column_names_and_separator(tmp_path: Path):
    file = tmp_path / "journeys.csv"
    file.write_text("route;x\n".replace(";", ",") + "a>b,2\nb,1\n")
    result = attribute(file, "last_touch", separator=">", path_column="route", conversions_column="x")
    assert dict(zip(result["channel"], result["conversions"], strict=True)) == {"a": 0, "b": 3}
    assert result["value"].isna().all()


def test_parquet_and_csv_give_the_same(tmp_path: Path):
    PATHS.to_parquet(tmp_path / "p.parquet")
    PATHS.to_csv(tmp_path / "p.csv", index=False)
    pd.testing.assert_frame_equal(attribute(tmp_path / "p.parquet", "linear"), attribute(tmp_path / "p.csv", "linear"))


def test_channels_that_look_like_numbers_or_nulls_stay_names(tmp_path: Path):
    (tmp_path / "p.csv").write_text("path,total_conversions\n1,1\nNA > null,1\n007,1\n")
    assert list(attribute(tmp_path / "p.csv", "linear")["channel"]) == ["007", "1", "NA", "null"]


@pytest.mark.parametrize("model", sorted(AGE_MODELS))
def test_age_models_refuse_paths_without_ages(model):
    with pytest.raises(PathsError, match="how old each touch is"):
        attribute(PATHS, model)


HEADER = b"path,total_conversions,total_conversion_value\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"a,b\n1,2\n", "no column 'path' .columns: a, b", id="no-path-column"),
        pytest.param(HEADER + b"a > b,1\n", "Expected 3 columns, got 2", id="ragged"),
        pytest.param(HEADER + b"a,1,1\nb,x,1\n", "row 2, column 'total_conversions': 'x'", id="not-a-number"),
        pytest.param(HEADER + b"a,1,1\nb,1,-3\n", "row 2, column 'total_conversion_value'", id="negative"),
        pytest.param(HEADER + b"a,1,1\nb,NaN,1\n", "row 2, column 'total_conversions'", id="nan"),
        pytest.param(HEADER + b"a,1,1\na >  > b,1,1\n", "row 2, column 'path': 'a >  > b'", id="nameless-channel"),
        pytest.param(HEADER + b"\xff\xfe,1,1\n", "cannot be read", id="not-utf-8"),
        pytest.param((HEADER + b"a,1,1\n").decode().encode("utf-16"), "header is not UTF-8", id="utf-16"),
        pytest.param(b"path,path,total_conversions\na,b,1\n", "'path' is there more than once", id="twice"),
    ],
)
def test_hostile_files_are_named(tmp_path: Path, content, says):
    file = tmp_path / "paths.csv"
    file.write_bytes(content)
    with pytest.raises(PathsError, match=says) as caught:
        attribute(file, "linear")
    assert str(file) in str(caught.value)


def test_truncated_gzip_missing_file_and_directory_are_named(tmp_path: Path):
    truncated = tmp_path / "p.csv.gz"
    truncated.write_bytes(gzip.compress(HEADER + b"a,1,1\n" * 999)[:-20])
    for file, says in ((truncated, "cannot be read"), (tmp_path / "no.csv", "no such file"), (tmp_path, "a directory")):
        with pytest.raises(PathsError, match=says):
            attribute(file, "linear")


def test_a_header_alone_gives_no_rows(tmp_path: Path):
    (tmp_path / "p.csv").write_bytes(HEADER)
    assert attribute(tmp_path / "p.csv", "linear").empty
