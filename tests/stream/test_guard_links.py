"""GD-11: exposed by anonymous id, paid by user id: one event that names both settles it, live as in a backtest."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from stream_cases import GUARD, HOUR, KEY, MINUTE, NOON, WINDOW, C, Deployment, T, cell, conversion, exposure, record

from gtm_dagster.rollout.control.past_counts import read_past_counts
from gtm_dagster.settings import Settings

LATER = NOON + 5 * MINUTE
SHOWN, PAID = exposure(None, T, NOON, anonymous_id="a"), cell(NOON, T, 5 * MINUTE)


def identified(anonymous, user, at_us=NOON + MINUTE, **fields):
    return record("user_identified", at_us, user, anonymous_id=anonymous, **fields)


CASES = [
    ([SHOWN, identified("a", "u"), conversion("u", LATER)], [cell(NOON, T), PAID], "the finding"),
    ([SHOWN, identified("a", "u", LATER + HOUR), conversion("u", LATER)], [cell(NOON, T), PAID], "identified after it paid"),
    ([SHOWN, identified("a", "u"), conversion("v", LATER)], [cell(NOON, T)], "somebody else paid"),
    ([SHOWN, identified("b", "u"), conversion("u", LATER)], [cell(NOON, T)], "another visitor"),
    ([SHOWN, identified("a", None), conversion("u", LATER)], [cell(NOON, T)], "no user in it"),
    ([SHOWN, identified("a", "u"), conversion("u", NOON + WINDOW + 1)], [cell(NOON, T)], "after the window"),
    ([SHOWN, identified("a", "u", write_key="web", key_role="client"), conversion("u", LATER)], [cell(NOON, T)], "a client key may link nobody"),
    ([SHOWN, identified("a", "u"), identified("a", "v"), conversion("v", LATER), conversion("u", NOON + 2 * MINUTE)], [cell(NOON, T), cell(NOON, T, 2 * MINUTE)], "a shared device: the first of both users"),
    ([SHOWN, exposure(None, C, NOON, anonymous_id="b"), identified("a", "u"), identified("b", "u"), conversion("u", LATER)], [cell(NOON, T), PAID, cell(NOON, C), cell(NOON, C, 5 * MINUTE)], "a user of two devices"),
    ([exposure("u", T, NOON, anonymous_id="a"), identified("a", "u"), conversion(None, LATER, anonymous_id="a")], [cell(NOON, T)], "the unit is the user: its visitor's conversion is not its own"),
]  # fmt: skip


@pytest.mark.parametrize(("records", "expected", "reason"), CASES, ids=[row[-1] for row in CASES])
def test_gd_11_what_a_link_settles_in_any_order_and_in_a_backtest(here, tmp_path, records, expected, reason):
    orders = list(itertools.permutations(records))
    for number, order in enumerate(random.Random(1).sample(orders, min(4, len(orders)))):
        other = Deployment(tmp_path / str(number)) if number else here
        for each in order:
            other.count([each])
        assert other.counts() == sorted(expected), reason
        if number:
            other.close()
    here.log.close()
    settings = msgspec.structs.replace(Settings(), state_dir=tmp_path)
    past = read_past_counts(settings, GUARD.flag, GUARD.conversion, 10)
    assert past.counts.rows() == sorted(expected), reason
    assert past.linked >= sum(n for _, _, age, n in expected if age >= 0) / 2


def test_a_linked_conversion_is_matched(here):
    here.count([SHOWN, identified("a", "u"), conversion("u", LATER), conversion("v", LATER)])
    numbers = here.store.records(KEY, NOON)
    assert (numbers["conversions"], numbers["matched"]) == (2, 1)


def test_links_are_kept_as_long_as_conversions_may_come(here):
    here.count([SHOWN, identified("a", "u")])
    for at_us, kept in ((NOON + 24 * HOUR, 1), (NOON + 27 * HOUR, 0)):
        here.count([exposure("x", C, at_us)])
        with here.store.transaction() as con:
            assert len(here.store.links_of_users(con, KEY, ["u"])) == kept
