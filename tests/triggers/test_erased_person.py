"""Scenario 29: a person who is erased is in no row and no byte of `triggers.db`, and what still comes of them opens nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from live_cases import LiveCase, views
from trigger_cases import R2, event

from gtm_dagster.triggers.erased_persons import erase_person

PERSON, DEVICE, OTHER = "5ecre7" * 5, "a5dev1ce" * 4, "07her0" * 5
NUDGE = """
  nudge:
    on: trial_started
    absent: {event: onboarding_completed, within: 24h, grace: 2m}
    purpose: service
    do: {email: nudge.md.j2}
"""
NOTE = """
  note:
    on: checkout_started
    purpose: service
    quiet: {from: "21:00", to: "08:00", zone: Europe/Berlin}
    cap: {channel: in_app, n: 2, per: 7d}
    do: {in_app: note.j2}
"""
FAULT = "INSERT INTO faults VALUES ('r', ?, 'e', 0, 'ValueError()')"


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.glob("triggers.db*")))


def filled(live: Callable[..., LiveCase]) -> LiveCase:
    """An open start, a message that waits for the morning, one in the outbox, a ledger, a link and a fault."""
    case = live(R2, NUDGE, NOTE)
    case.receive(event("page_viewed", "09:00", DEVICE))
    case.receive(event("user_identified", "09:01", PERSON, anonymous=DEVICE))
    for person in (PERSON, OTHER):
        for each in views(3, "10:00", person):
            case.receive(each)
        case.receive(event("trial_started", "11:00", person, event_id=f"trial of {person[:3]}"))
        case.receive(event("checkout_started", "12:00", person, event_id=f"noon of {person[:3]}"))
        case.receive(event("checkout_started", "22:00", person, event_id=f"night of {person[:3]}"))
    case.runner._con.execute(FAULT, (PERSON,))
    return case


def test_nothing_of_an_erased_person_stays(tmp_path: Path, live: Callable[..., LiveCase]) -> None:
    case = filled(live)
    assert {row["outcome"] for row in case.rows() if row["person"] == PERSON} >= {"open", "held", "sent"}
    erased = erase_person(tmp_path / "triggers.db", [PERSON], case.now_us)
    assert erased == {
        "states": 3,
        "persons": 1,
        "links": 1,
        "occurrences": erased["occurrences"],
        "messages": 2,
        "faults": 1,
    }
    found = bytes_of(tmp_path)
    assert PERSON.encode() not in found and DEVICE.encode() not in found
    assert OTHER.encode() in found
    assert {row["person"] for row in (*case.rows(), *case.messages())} == {OTHER}


def test_a_runner_that_had_them_in_memory_writes_nothing_of_them_again(
    tmp_path: Path, live: Callable[..., LiveCase]
) -> None:
    case = filled(live)
    erase_person(tmp_path / "triggers.db", [PERSON], case.now_us)
    before = len(case.outcomes)
    case.receive(event("trial_started", "22:30", PERSON, event_id="late"))
    case.receive(event("checkout_started", "22:31", DEVICE, event_id="late, of the device"))
    case.finish()
    assert {outcome.person for outcome in case.outcomes[before:]} == {OTHER}
    assert {row["person"] for row in (*case.rows(), *case.messages())} == {OTHER}
    case.restart()
    case.receive(event("trial_started", "23:59", PERSON, event_id="after a restart"))
    assert PERSON.encode() not in bytes_of(tmp_path) and DEVICE.encode() not in bytes_of(tmp_path)
