"""Users who are one person because an event says so; whatever comes late or is replaced, as a rebuild gives it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples, slow_but
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.verify import verify

PERSONS = "SELECT event_id, person_id FROM staging.events"


def alias(user: str, at: int = 0, event_id: str = "", received_us: int = START + 30 * DAY, **names: str) -> dict:
    """An event that names another id of a user, `at` minutes after the start."""
    return {
        **event(event_id or f"alias-{user}-{at}", START + at * MINUTE, user_id=user, device_type="api"),
        "event_name": "user_identified", "properties": json.dumps(names), "received_us": received_us,
    }  # fmt: skip


def seen(*users: str) -> list[dict]:
    return [event(user, START + number * MINUTE, user_id=user) for number, user in enumerate(users)]


def browser(anonymous: str, user: str | None = None, at: int = 0) -> dict:
    return event(f"{anonymous}-{at}", START + at * MINUTE, anonymous_id=anonymous, user_id=user)


# What is landed, one batch after the other, and the person of each event but those that say who is who.
CASES = {
    "two users": ([[*seen("new", "old"), alias("new", alias_of="old")]], {"new": "new", "old": "new"}),
    "the alias comes late": ([seen("new", "old"), [alias("new", alias_of="old")]], {"new": "new", "old": "new"}),
    "the alias comes first": ([[alias("new", alias_of="old")], seen("old"), seen("new")], {"new": "new", "old": "new"}),
    "a chain": (
        [[*seen("a", "b", "c"), alias("c", alias_of="b")], [alias("b", alias_of="a")]],
        {"a": "a", "b": "a", "c": "a"},
    ),
    "a cycle": ([[*seen("a", "b"), alias("a", alias_of="b"), alias("b", alias_of="a")]], {"a": "a", "b": "a"}),
    "of oneself": ([[*seen("a"), alias("a", alias_of="a")]], {"a": "a"}),
    "over a user that is never seen": (
        [[*seen("a", "b"), alias("a", alias_of="z")], [alias("b", alias_of="z")]],
        {"a": "a", "b": "a"},
    ),
    "a previous id that is a user's": ([seen("a", "b"), [alias("b", previous_id="a")]], {"a": "a", "b": "a"}),
    "a previous id that nobody has": ([seen("b"), [alias("b", previous_id="a")]], {"b": "b"}),
    "a previous id that becomes a user's": ([[*seen("b"), alias("b", previous_id="a")], seen("a")], {"a": "a", "b": "a"}),
    "a previous id that is a browser's": ([[browser("x")], [alias("b", previous_id="x")]], {"x-0": "b"}),
    "a browser that two users name: the earlier": (
        [[browser("x"), alias("b", 2, previous_id="x")], [alias("c", 1, previous_id="x")]],
        {"x-0": "c"},
    ),
    "a browser that an event has with another user": (
        [[browser("x"), alias("b", previous_id="x")], [browser("x", "c", 9)]],
        {"x-0": "c", "x-9": "c"},
    ),
    "browsers follow their user": (
        [[browser("x"), browser("x", "b", 5)], [*seen("a"), alias("b", alias_of="a")]],
        {"x-0": "a", "x-5": "a", "a": "a"},
    ),
    "an alias that another copy replaces": (
        [[*seen("a", "b", "c"), browser("x", "b", 9), browser("x", None, 10), alias("b", event_id="i", alias_of="a")],
         [alias("b", event_id="i", alias_of="c", received_us=START)]],
        {"a": "a", "b": "b", "c": "b", "x-9": "b", "x-10": "b"},
    ),
    "an alias that a copy without one replaces": (
        [[*seen("a", "b"), alias("b", event_id="i", alias_of="a")], [alias("b", event_id="i", received_us=START)]],
        {"a": "a", "b": "b"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "merged", slow_but(1, pytest.param(False, id="a batch a refresh"), pytest.param(True, id="in one load"))
)
def test_who_is_one_person(tmp_path: Path, merged: bool) -> None:
    """A deployment for all cases; the ids of each begin with its number."""
    settings = settings_for(tmp_path)
    batches: list[list[dict]] = [[], [], []]
    expected = {}
    for number, (case, persons) in enumerate(CASES.values()):
        mark = f"{number:02d}-"
        expected |= {mark + name: mark + person for name, person in persons.items()}
        for place, rows in enumerate(case):
            batches[place] += [_marked(row, mark) for row in rows]
    for place, rows in enumerate([[row for batch in batches for row in batch]] if merged else batches):
        land(settings, rows, f"import-{place}")
        refresh(settings)
    found = {name: person for name, person in rows_of(settings, PERSONS) if name in expected}
    assert found == expected
    assert verify(settings, PLAN).ok


def _marked(row: dict, mark: str) -> dict:
    names = {name: mark + value for name, value in json.loads(row["properties"]).items()}
    ids = {name: row.get(name) and mark + row[name] for name in ("event_id", "user_id", "anonymous_id")}
    return {**row, **ids, "properties": json.dumps(names)}


def test_a_payment_is_credited_to_what_brought_the_other_user(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = event("a1", START, user_id="old", source="google", medium="cpc")
    paid = event("a3", START + 70 * MINUTE, user_id="new", event_name="payment_completed", device_type="api")
    for number, rows in enumerate([[first], [paid], [alias("new", 60, alias_of="old")]]):
        land(settings, rows, f"import-{number}")
        refresh(settings)
    assert rows_of(settings, "SELECT DISTINCT source, channel, credit FROM marts.attribution_credits") == [
        ("google", "Paid Search", 1.0)
    ]
    rows = rows_of(settings, "SELECT anonymous_id, user_id, person_id FROM core.identities ORDER BY user_id")
    assert rows == [(None, "new", "new"), (None, "old", "new")]
    assert rows_of(settings, "SELECT count(*) FROM meta.ids") == [(2,)]


USERS = st.sampled_from(["u1", "u2", "u3", "u4", "u5", None])
ROWS = st.lists(
    st.tuples(st.integers(0, 5), USERS, st.sampled_from(["x1", "x2", "x3", None]), st.sampled_from(["", "alias_of", "previous_id"]), st.sampled_from(["u1", "u2", "u3", "u6", "x1", "x2"]), st.integers(0, 9), st.integers(0, 3)),
    min_size=2, max_size=25,
)  # fmt: skip


@pytest.mark.slow
@examples(10, deadline=None)
@given(rows=ROWS, parts=st.integers(2, 4), withdrawn=st.integers(0, 3))
def test_random_aliases_that_come_and_go_equal_a_rebuild(rows: list[tuple], parts: int, withdrawn: int) -> None:
    """Few event ids and times of receipt: a copy that is received earlier takes the place of another, and a batch goes."""
    settings: Settings
    with TemporaryDirectory() as folder:
        settings = settings_for(Path(folder))
        for part in range(parts):
            batch = []
            for at, user, anonymous, name, other, number, received in rows[part::parts]:
                who = {"event_id": f"e{number}", "received_us": START + (30 + received) * DAY}
                if user and name:
                    batch.append({**alias(user, at, **{name: other}), **who})
                elif user or anonymous:
                    batch.append({**event("", START + at * MINUTE, user_id=user, anonymous_id=anonymous), **who})
            if batch:
                land(settings, batch, f"import-{part}")
                refresh(settings)
        if Landing(settings.landing_dir).has(f"import-{withdrawn}"):
            Landing(settings.landing_dir).withdraw(f"import-{withdrawn}", by="me", reason="wrong")
            refresh(settings)
        if (Path(folder) / "warehouse.duckdb").exists():
            result = verify(settings, PLAN)
            assert result.ok, result.first


def test_a_withdrawn_alias_parts_the_two_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    people = [*seen("a", "b"), browser("x", "b", 9), browser("x", None, 10)]
    for name, rows in {"import-people": people, "import-aliases": [alias("b", 20, alias_of="a")]}.items():
        land(settings, rows, name)
        refresh(settings)
    assert set(rows_of(settings, PERSONS)) >= {("b", "a"), ("x-10", "a")}
    Landing(settings.landing_dir).withdraw("import-aliases", by="me", reason="wrong")
    refresh(settings)
    assert set(rows_of(settings, PERSONS)) == {("a", "a"), ("b", "b"), ("x-9", "b"), ("x-10", "b")}
    assert rows_of(settings, "SELECT user_id FROM core.identities WHERE anonymous_id IS NULL") == []
    assert verify(settings, PLAN).ok
