"""Laws of every model of touches over files of paths: what must not change the credit, and how it changes with the rest."""

import math
import random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.attribution import attribute, models
from gtm_dagster.attribution.models import AGE_MODELS, TOUCH_MODELS

every_model = pytest.mark.parametrize("name", TOUCH_MODELS)
NAMES = ("Direct", "Display", "Email", "Paid Search", "Referral")

touch = st.tuples(st.sampled_from(NAMES), st.integers(0, 3000).map(lambda tenths: tenths / 10))
path = st.lists(touch, min_size=1, max_size=7).map(
    lambda touches: list(
        zip([name for name, _ in touches], sorted((age for _, age in touches), reverse=True), strict=True)
    )
)
row = st.tuples(path, st.integers(0, 20), st.integers(0, 900).map(lambda cents: cents / 10), st.integers(0, 6))
rows_of = st.lists(row, min_size=1, max_size=10)


def frame_of(rows) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": [" > ".join(name for name, _ in touches) for touches, *_ in rows],
            "ages": [" > ".join(repr(age) for _, age in touches) for touches, *_ in rows],
            "stages": [str(1 + stage % len(touches)) if stage else "" for touches, _, _, stage in rows],
            "total_conversions": [conversions for _, conversions, _, _ in rows],
            "total_conversion_value": [value for _, _, value, _ in rows],
        }
    )


def credit(rows, name, **options) -> dict[str, tuple[float, float]]:
    """Conversions and value by channel; a channel without any is left out."""
    found = attribute(frame_of(rows), name, ages_column="ages", stages_column="stages", **options)
    cells = zip(found["channel"], found["conversions"], found["value"], strict=True)
    return {channel: (conversions, value) for channel, conversions, value in cells if conversions or value}


def same(one, other):
    assert one.keys() == other.keys()
    for channel in one:
        assert one[channel] == pytest.approx(other[channel], rel=1e-9, abs=1e-9), channel


@every_model
@examples(40)
@given(rows=rows_of, lookback=st.sampled_from([None, 50.0, 400.0]))
def test_credit_and_unattributed_add_up(name, rows, lookback):
    found = credit(rows, name, lookback_hours=lookback)
    for at, total in ((0, sum(row[1] for row in rows)), (1, math.fsum(row[2] for row in rows))):
        assert all(cell[at] >= 0 for cell in found.values())
        shared = math.fsum(cell[at] for cell in found.values())
        if models.model(name).conserves:
            assert shared == pytest.approx(total, abs=1e-9)
        else:
            assert shared >= total - 1e-9


@every_model
@examples(20)
@given(rows=rows_of, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(name, rows, seed):
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    same(credit(shuffled, name), credit(rows, name))


@every_model
@examples(20)
@given(rows=rows_of)
def test_the_same_again_is_the_same(name, rows):
    assert credit(rows, name) == credit(rows, name)


@every_model
@examples(20)
@given(rows=rows_of, more=rows_of)
def test_credit_of_two_groups_of_persons_adds_up(name, rows, more):
    one, other, both = credit(rows, name), credit(more, name), credit(rows + more, name)
    names = {*one, *other}
    none = (0.0, 0.0)
    added = {channel: tuple(a + b for a, b in zip(one.get(channel, none), other.get(channel, none), strict=True)) for channel in names}  # fmt: skip
    same(both, added)


@every_model
@examples(20)
@given(rows=rows_of, new=st.permutations("vwxyz"))
def test_names_of_channels_do_not_matter(name, rows, new):
    names = dict(zip(NAMES, new, strict=True))
    renamed = [([(names[channel], age) for channel, age in touches], *rest) for touches, *rest in rows]
    kinds = {"direct": names["Direct"], "paid": [names["Display"], names["Paid Search"]]}
    same(credit(renamed, name, **kinds), {names[channel]: cell for channel, cell in credit(rows, name).items()})


@every_model
@examples(20)
@given(rows=rows_of, hours=st.integers(1, 5000))
def test_the_same_path_at_a_later_conversion(name, rows, hours):
    """Ages that grow by the same hours change nothing, but for inverse_age, which counts them from the conversion."""
    later = [([(channel, age + hours) for channel, age in touches], *rest) for touches, *rest in rows]
    if name != "inverse_age":
        same(credit(later, name), credit(rows, name))
    assert name in AGE_MODELS or credit(later, name) == credit(rows, name)


@every_model
@examples(20)
@given(rows=rows_of, factor=st.sampled_from([2.0, 0.25, 1e6]))
def test_value_scales(name, rows, factor):
    scaled = [(touches, conversions, value * factor, stage) for touches, conversions, value, stage in rows]
    expected = {channel: (cell[0], cell[1] * factor) for channel, cell in credit(rows, name).items()}
    same(credit(scaled, name), expected)


@every_model
@examples(20)
@given(rows=rows_of)
def test_a_row_of_many_conversions_is_many_rows_of_one(name, rows):
    one_by_one = [
        (touches, 1, value / conversions, stage) for touches, conversions, value, stage in rows if conversions for _ in range(conversions)
    ]  # fmt: skip
    converting = [row for row in rows if row[1]]
    if converting:
        same(credit(one_by_one, name), credit(converting, name))


@every_model
def test_many_models_at_once_are_each_alone(name):
    rows = frame_of([([("Email", 9.0), ("Direct", 2.0)], 3, 5.0, 1), ([("Display", 1.0)], 1, 0.0, 0)])
    options = {"ages_column": "ages", "stages_column": "stages"}
    together = attribute(rows, [*TOUCH_MODELS], **options)
    alone = attribute(rows, name, **options)
    mine = together[together["model"] == name].drop(columns="model").reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone)
