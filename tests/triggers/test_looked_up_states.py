"""What a batch needs of the file is looked up by a few statements, however many persons and rules it concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtm_dagster.triggers.admit import Entry, Ledger
from gtm_dagster.triggers.person_profile import Given, Profile
from gtm_dagster.triggers.rule_state import EMPTY, Decided, RuleState
from gtm_dagster.triggers.sqlite_store import SqliteStore
from gtm_dagster.triggers.trigger_db import open_trigger_db

RULES = [f"r{number}" for number in range(7)]


@pytest.mark.parametrize("persons", [1, 3, 40, 300])
def test_persons_and_states_of_a_batch_are_looked_up_at_once(tmp_path: Path, persons: int) -> None:
    con = open_trigger_db(tmp_path / "triggers.db")
    store = SqliteStore(con)
    names = [f"person-{number}" for number in range(persons)]
    con.execute("BEGIN IMMEDIATE")
    for number, person in enumerate(names):
        store.set_profile(person, Profile((Given(number, False, "analytics"),)))
        store.set_ledger(Ledger(person, (Entry(number, "a", "r0", "", "email", 1),)))
        for rule in RULES[: number % 7]:
            store.set_state(rule, person, RuleState(decided=(Decided(number, rule),)), 5 + number)
    store.flush()
    con.execute("COMMIT")
    store.forget()
    statements: list[str] = []
    con.set_trace_callback(statements.append)
    store.expect_all(dict.fromkeys([*names, "stranger"], RULES))
    looked_up = len(statements)
    assert looked_up <= 2 + persons * 8 // 256 + 2
    for number, person in enumerate(names):
        assert store.profile(person).consents[0].at_us == store.ledger(person).entries[0].at_us == number
        for place, rule in enumerate(RULES):
            expected = RuleState(decided=(Decided(number, rule),)) if place < number % 7 else EMPTY
            assert store.state(rule, person) == expected
    assert store.state("r1", "stranger") == EMPTY and store.profile("stranger") == Profile()
    assert len(statements) == looked_up
    con.close()
