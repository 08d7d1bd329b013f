"""Intervals: they cover as often as they say, do not depend on how persons are grouped, and know what is too few."""

from __future__ import annotations

import numpy as np
import pytest

from gtm_dagster.attribution import models
from gtm_dagster.attribution.declaration import PathTouches
from gtm_dagster.attribution.intervals import Intervals, Persons, bootstrap, poisson
from gtm_dagster.attribution.path_intervals import intervals_of_paths

TOUCH_MODELS = [models.model(name) for name in models.TOUCH_MODELS]


def of_matrix(counts: list[float], amounts: np.ndarray, **options: int) -> Intervals:
    """The bootstrap of (persons, labels) amounts with one statistic."""
    person, label = np.nonzero(amounts)
    part = Persons(np.array(counts, dtype=float), person, label, amounts[person, label][:, None])
    return bootstrap([part], amounts.shape[1], 1, **options)


def paths(*texts: str, times: int = 1) -> PathTouches:
    """Paths of one-letter channels; a is direct, p is paid."""
    letters = [letter for text in texts * times for letter in text]
    lengths = np.array([len(text) for text in texts * times])
    position = np.concatenate([np.arange(n) for n in lengths])
    channel = np.array([ord(letter) - ord("a") for letter in letters])
    return PathTouches(
        lengths, position, channel, np.zeros(len(channel)), channel == 0, channel == 15, np.zeros(len(channel), np.int64)
    )  # fmt: skip


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    amounts = np.random.default_rng(3).random((50, 4))
    one, again, other = (of_matrix([1.0] * 50, amounts, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.bounds, again.bounds) and not np.array_equal(one.bounds, other.bounds)


@pytest.mark.parametrize("count", [1.0, 3.0, 64.0, 500.0, 2.5], ids=lambda count: f"{count:g} equal persons")
def test_weights_have_the_mean_and_the_variance_of_their_poisson(count: float) -> None:
    drawn = poisson(np.random.default_rng(0), np.full(400, count), 1000).astype(float)
    assert drawn.mean() == pytest.approx(count, abs=5 * (count / drawn.size) ** 0.5)
    assert drawn.var() == pytest.approx(count, rel=0.02)
    assert (drawn == np.floor(drawn)).all()


def test_equal_persons_counted_together_have_the_interval_of_persons_one_by_one() -> None:
    single = of_matrix([1.0] * 400, np.ones((400, 1)), replicates=4000)
    together = of_matrix([400.0], np.ones((1, 1)), replicates=4000)
    assert single.estimate == together.estimate == 400
    assert single.bounds.ravel() == pytest.approx(together.bounds.ravel(), abs=3)
    assert together.bounds.ravel() == pytest.approx([361, 439], abs=4), "the quantiles of Poisson(400)"


def test_a_sample_in_parts_has_the_totals_of_the_sample() -> None:
    amounts = np.random.default_rng(5).random((9000, 3))
    person, label = np.nonzero(amounts)
    parts = [
        Persons(np.ones(3000), *np.nonzero(amounts[f : f + 3000]), amounts[f : f + 3000].reshape(-1, 1))
        for f in range(0, 9000, 3000)
    ]
    whole = bootstrap([Persons(np.ones(9000), person, label, amounts.reshape(-1, 1))], 3, 1, replicates=200)
    split = bootstrap(parts, 3, 1, replicates=200)
    assert split.estimate == pytest.approx(whole.estimate) and split.persons.ravel().tolist() == [9000] * 3
    assert split.bounds == pytest.approx(whole.bounds, rel=0.02)


def test_nobody_converted_gives_zero_and_too_few() -> None:
    nothing = bootstrap([], 2, 1)
    assert nothing.estimate.tolist() == [[0], [0]] and nothing.bounds.ravel().tolist() == [0] * 4
    assert nothing.too_few.all()


@pytest.mark.parametrize(("persons", "too_few"), [(29, True), (30, False)])
def test_fewer_than_thirty_converting_persons_are_too_few(persons: int, too_few: bool) -> None:
    assert of_matrix([1.0] * persons, np.ones((persons, 1))).too_few.tolist() == [[too_few]]


def test_too_few_replicates_are_refused() -> None:
    with pytest.raises(ValueError, match="39 are too few"):
        bootstrap([], 1, 1, replicates=39)


def test_a_model_does_not_differ_from_itself_and_first_differs_from_last_where_a_channel_opens() -> None:
    sample = paths("bc", "bc", "cb", "b", "c", times=60)
    first, last, linear = (models.model(name) for name in ("first_touch", "last_touch", "linear"))
    found = intervals_of_paths(sample, 3, np.ones(300), None, [first, last, linear, linear])
    b = 1
    assert found.estimate[b].tolist() == [180, 120, 150, 150]
    opens = found.difference(b, 0, 1)
    assert (opens.estimate, opens.beyond) == (60, True) and 20 < opens.low < 60 < opens.high < 100
    assert not found.difference(b, 2, 3).beyond
    assert found.difference(b, 0, 0, other_label=2).estimate == 60, "two channels by one model"


@pytest.mark.parametrize("model", TOUCH_MODELS, ids=lambda model: model.name)
def test_the_estimate_is_the_credit_whatever_is_collapsed(model: models.Model) -> None:
    sample = paths("abc", "ca", "ap", "abc", "bb", "paab", times=7)
    conversions = np.tile([1.0, 2.0, 0.0, 1.0, 3.0, 2.5], 7)
    value = np.tile([5.0, 9.0, 0.0, 5.0, 8.0, 1.0], 7)
    assert model.vectorised is not None
    share = model.vectorised(sample)
    found = intervals_of_paths(sample, 16, conversions, value, [model], replicates=40)
    for statistic, amount in enumerate((conversions, value)):
        credit = np.bincount(sample.channel, weights=share * np.repeat(amount, sample.lengths), minlength=16)
        assert found.estimate[:, statistic] == pytest.approx(credit, abs=1e-9)


def test_rows_one_by_one_and_rows_counted_together_are_the_same_sample() -> None:
    apart = intervals_of_paths(paths("ab", "b", times=50), 2, np.ones(100), None, TOUCH_MODELS[:1])
    together = intervals_of_paths(paths("ab", "b"), 2, np.array([50.0, 50.0]), None, TOUCH_MODELS[:1])
    assert np.array_equal(apart.bounds, together.bounds) and np.array_equal(apart.persons, together.persons)


@pytest.mark.simulation
@pytest.mark.parametrize("statistic", ["conversions", "value", "difference"])
def test_intervals_cover_the_truth_in_95_of_100_samples(statistic: str) -> None:
    """Visitors of whom one in fifty converts, some several times, with values of long tails; the truth is known."""
    covered, runs = 0, 1000
    generator = np.random.default_rng(11)
    for run in range(runs):
        n = generator.binomial(15_000, 0.02)
        conversions = 1.0 + generator.binomial(1, 0.2, n) * generator.poisson(1.0, n)
        value = conversions * generator.gamma(2.0, 20.0, n)
        opens = generator.binomial(
            1, 0.6, n
        )  # by first touch a channel opens these paths, by last touch it closes others
        closes = np.where(generator.random(n) < 0.5, opens, generator.binomial(1, 0.4, n))
        amounts = np.stack([conversions * opens, value * opens, conversions * closes], axis=1)
        person = np.flatnonzero(amounts.any(axis=1))
        sample = Persons(np.ones(n), person, np.zeros(len(person), np.int64), amounts[person])
        found = bootstrap([sample], 1, 3, replicates=1000, seed=run)
        visitors = 15_000 * 0.02 * 1.2
        truth = {"conversions": 0.6 * visitors, "value": 0.6 * visitors * 40.0, "difference": 0.1 * visitors}[statistic]
        if statistic == "difference":
            difference = found.difference(0, 0, 2)
            covered += difference.low <= truth <= difference.high
        else:
            low, high = found.bounds[:, 0, ["conversions", "value"].index(statistic)]
            covered += low <= truth <= high
    assert 0.93 <= covered / runs <= 0.97, covered / runs
