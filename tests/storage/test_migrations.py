"""Migrations: applied once, in order, and refused by a program that does not know them."""

from __future__ import annotations

import pytest

from gtm_dagster.storage.migrations import Migration, NewerFormatError, migrate, pending


def step(name: str) -> Migration[list[str]]:
    return Migration(name, lambda con: con.append(f"{name} applied"))


KNOWN = [step("0001_initial"), step("0002_identity"), step("0003_more")]


@pytest.mark.parametrize(
    ("applied", "expected"),
    [
        pytest.param([], ["0001_initial", "0002_identity", "0003_more"], id="a new file"),
        pytest.param(["0001_initial"], ["0002_identity", "0003_more"], id="an older file"),
        pytest.param(["0002_identity", "0001_initial"], ["0003_more"], id="recorded in any order"),
        pytest.param(["0001_initial", "0002_identity", "0003_more"], [], id="of this version"),
    ],
)
def test_what_is_pending(applied, expected):
    assert [migration.name for migration in pending(applied, KNOWN, "a.db")] == expected


def test_a_file_of_the_future_is_refused_by_name_and_untouched():
    con: list[str] = []
    with pytest.raises(
        NewerFormatError, match=r"a\.db: written by a newer gtm-dagster \(migration 0009_later\); install"
    ):
        migrate(con, KNOWN, "a.db", lambda _: ["0001_initial", "0009_later"], lambda _, name: con.append(name))
    assert con == []


def test_each_migration_is_recorded_after_it_is_applied():
    con: list[str] = []
    assert migrate(con, KNOWN, "a.db", lambda _: ["0001_initial"], lambda _, name: con.append(name)) == [
        "0002_identity",
        "0003_more",
    ]
    assert con == ["0002_identity applied", "0002_identity", "0003_more applied", "0003_more"]


def test_two_migrations_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="share a name"):
        pending([], [step("0001_initial"), step("0001_initial")], "a.db")
