"""Intervals beside the credit of a file of paths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gtm_dagster.attribution import attribute, models, path_intervals
from gtm_dagster.attribution.pathfile import PathsUsage
from gtm_dagster.cli import run

PATHS = pd.DataFrame(
    {
        "path": ["Search > Direct", "Direct", "Search", "Email > Search > Direct", "Search > Search"],
        "total_conversions": [60, 40, 30, 9, 20],
        "total_conversion_value": [600.0, 200.0, 90.0, 9.0, 400.0],
        "total_null": [100, 300, 200, 50, 10],
    }
)
ALL_MODELS = [name for name in models.MODELS if not models.model(name).needs_ages]


@pytest.mark.parametrize("model", ALL_MODELS)
def test_every_model_has_intervals_round_the_same_credit(model: str) -> None:
    plain, sure = attribute(PATHS, model), attribute(PATHS, model, intervals=40)
    pd.testing.assert_frame_equal(plain, sure[list(plain.columns)])
    named = sure[sure["channel"] != "(unattributed)"]
    assert (named["conversions_low"] <= named["conversions"] + 1e-9).all()
    assert (named["conversions"] <= named["conversions_high"] + 1e-9).all()
    assert dict(zip(named["channel"], named["too_few"], strict=True))["Email"], "9 conversions touched it"
    assert sure.attrs["no_intervals"] == []


def test_models_differ_beyond_chance_where_they_do() -> None:
    result = attribute(PATHS, ["first_touch", "last_touch", "linear"], intervals=True)
    assert {"model", "conversions_low", "value_high", "too_few"} <= set(result.columns)
    found = {(each["channel"], each["model"], each["other"]): each for each in result.attrs["differences"]}
    assert len(found) == 3 * 3
    search = found["Search", "first_touch", "last_touch"]
    assert (search["difference"], search["beyond"]) == (60, True) and 0 < search["low"] < 60 < search["high"]


def test_the_same_file_gives_the_same_intervals_in_any_order() -> None:
    one = attribute(PATHS, ["linear", "markov"], intervals=True)
    assert one.equals(attribute(PATHS, ["linear", "markov"], intervals=True))
    for column in ("conversions_low", "conversions_high"):
        other = attribute(PATHS.sample(frac=1, random_state=3), "linear", intervals=True)[column]
        assert other.to_numpy() == pytest.approx(one.loc[one["model"] == "linear", column].to_numpy(), abs=6)


def test_a_data_driven_model_of_too_many_paths_says_that_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_intervals, "MOST_TOUCHES", 3)
    result = attribute(PATHS, ["linear", "markov"], intervals=True)
    assert result.attrs["no_intervals"] == ["markov"]
    low = result.set_index(["model", "channel"])["conversions_low"]
    assert np.isnan(low["markov", "Search"]) and low["linear", "Search"] > 0


def test_markov_by_draws_is_markov_of_the_drawn_counts() -> None:
    result = attribute(PATHS, "markov", intervals=400).set_index("channel")
    generator = np.random.default_rng(5)
    drawn = []
    for _ in range(300):
        counts = {name: generator.poisson(PATHS[name]) for name in ("total_conversions", "total_null")}
        again = attribute(PATHS.assign(**counts), "markov", value_column=None).set_index("channel")
        drawn.append(again["conversions"]["Search"])
    low, high = np.quantile(drawn, [0.025, 0.975])
    width = high - low
    assert result["conversions_low"]["Search"] == pytest.approx(low, abs=0.15 * width)
    assert result["conversions_high"]["Search"] == pytest.approx(high, abs=0.15 * width)


def test_too_few_replicates_are_wrong_usage() -> None:
    with pytest.raises(PathsUsage, match="intervals: 10 replicates are too few"):
        attribute(PATHS, "linear", intervals=10)


def test_an_empty_file_has_no_intervals_and_no_error() -> None:
    assert list(attribute(PATHS[:0], "linear", intervals=True).columns)[-1] == "too_few"


def test_the_command_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PATHS.to_csv(tmp_path / "paths.csv", index=False)
    assert run(["attribute", str(tmp_path / "paths.csv"), "--model", "linear", "--intervals", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["too_few"] for row in rows if row["channel"] == "Email"] == [True]
    assert all(row["conversions_low"] < row["conversions"] < row["conversions_high"] for row in rows)
