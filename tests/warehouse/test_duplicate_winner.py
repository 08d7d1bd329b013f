"""Of the copies of one event in one batch the one received first wins, ties by event time, then by content."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from profiles import slow_but
from warehouse_cases import DAY, MINUTE, START, event, land, refresh, rows_of, settings_for

RECEIVED = START + 30 * DAY
WINNERS = "SELECT event_id, person_id FROM staging.events"


def copy(person: str, event_us: int, received_us: int) -> dict:
    return event("", event_us, anonymous_id=person, received_us=received_us)


WINNER = "winner"
CASES = {
    "received a microsecond earlier, though it happened later": [
        copy("other", START, RECEIVED + 1), copy(WINNER, START + DAY, RECEIVED),
    ],
    "received at once, happened a microsecond earlier": [
        copy("other", START + 1, RECEIVED), copy(WINNER, START, RECEIVED),
    ],
    # Several: a hash of the content, which decides after the time, orders any one of them rightly by chance.
    **{
        f"received at once, happened {us} microseconds earlier": [copy("other", START + us, RECEIVED), copy(WINNER, START, RECEIVED)]
        for us in range(2, 10)
    },
    "of three the one received first": [
        copy("other", START, RECEIVED + 2), copy("another", START + MINUTE, RECEIVED + 1), copy(WINNER, START + DAY, RECEIVED),
    ],
}  # fmt: skip


def every_order(name: str, copies: list[dict]) -> list[tuple[dict, ...]]:
    """The copies in every order they can stand in, each order under an event id of its own."""
    orders = itertools.permutations(copies)
    return [tuple({**row, "event_id": f"{name} ({n})"} for row in order) for n, order in enumerate(orders)]


def in_turn(orders: list[tuple[dict, ...]]) -> list[list[dict]]:
    """The first copy of every order, then the second of every order, and so on."""
    return [[row for row in rows if row] for rows in itertools.zip_longest(*orders)]


@pytest.mark.parametrize("files", slow_but(1, "one file", "a file for each copy"))
def test_the_copy_received_first_wins_wherever_it_stands(tmp_path: Path, files: str) -> None:
    orders = [order for name, copies in CASES.items() for order in every_order(name, copies)]
    settings = settings_for(tmp_path)
    parts = in_turn(orders)
    for n, rows in enumerate([[row for part in parts for row in part]] if files == "one file" else parts):
        land(settings, rows, f"import-{n}")
    staged = refresh(settings)
    assert {event_id: person for event_id, person in rows_of(settings, WINNERS) if person != WINNER} == {}
    lost = sum(len(order) - 1 for order in orders)
    assert (staged.clean, staged.duplicates, staged.conflicts) == (len(orders), lost, lost)


@pytest.mark.parametrize("runs", slow_but(1, "one batch", "a run for each copy"))
def test_a_full_tie_is_decided_by_content_alone(tmp_path: Path, runs: str) -> None:
    """Neither the place in a file nor the run that staged a copy decides: every order has the same winner."""
    orders = every_order("tie", [copy(person, START, RECEIVED) for person in ("x", "y", "z")])
    settings = settings_for(tmp_path)
    for n, rows in enumerate(in_turn(orders)):
        land(settings, rows, f"import-{n}")
        if runs == "a run for each copy":
            refresh(settings)
    if runs == "one batch":
        refresh(settings)
    winners = rows_of(settings, WINNERS)
    assert len(winners) == len(orders) and len({person for _, person in winners}) == 1, winners


def test_a_tie_has_the_same_winner_in_one_batch_and_in_two(tmp_path: Path) -> None:
    first, second = (copy(person, START, RECEIVED) for person in ("x", "y"))
    settings = settings_for(tmp_path)
    land(
        settings,
        [{**row, "event_id": "at once"} for row in (first, second)] + [{**first, "event_id": "in turn"}],
        "import-0",
    )
    refresh(settings)
    land(settings, [{**second, "event_id": "in turn"}], "import-1")
    refresh(settings)
    winners = rows_of(settings, WINNERS)
    assert len(winners) == 2 and len({person for _, person in winners}) == 1, winners


def test_the_winner_is_chosen_for_each_key_by_itself(tmp_path: Path) -> None:
    """An event is its write key and its id: the same id of two senders is two events."""
    settings = settings_for(tmp_path)
    rows = [("b1", "b", 1), ("a1", "a", 1), ("a0", "a", 0), ("b0", "b", 0)]
    copies = [
        event("same", START, anonymous_id=person, received_us=RECEIVED + us, write_key=key) for person, key, us in rows
    ]
    land(settings, copies, "import-all")
    refresh(settings)
    assert rows_of(settings, "SELECT write_key, person_id FROM staging.events ORDER BY 1") == [("a", "a0"), ("b", "b0")]


def test_copies_whose_time_was_moved_by_another_span_are_no_conflict(tmp_path: Path) -> None:
    """Two collectors that share a topic each take a copy, and put its time right by when it came."""

    def moved(event_id: str, us: int, **columns: object) -> dict:
        person = {"anonymous_id": "a", "original_us": START + DAY, "received_us": RECEIVED + us}
        return event(event_id, START + us, **{**person, **columns})

    settings = settings_for(tmp_path)
    second = [
        moved("same", 9), moved("other person", 9, anonymous_id="b"),
        moved("other place", 9, page_url="https://a.example/x"),
    ]  # fmt: skip
    land(settings, [moved(row["event_id"], 0) for row in second], "import-0")
    refresh(settings)
    at_once = [moved("same at once", 0), moved("same at once", 9)]
    other_time = [moved("other time at once", 0), moved("other time at once", 9, original_us=START)]
    land(settings, [*second, *at_once, *other_time], "import-1")
    staged = refresh(settings)
    assert (staged.duplicates, staged.conflicts) == (5, 3)
    assert {row[0] for row in rows_of(settings, "SELECT event_id FROM meta.conflicts")} == {
        "other person", "other place", "other time at once",
    }  # fmt: skip
