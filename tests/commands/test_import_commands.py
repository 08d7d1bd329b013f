"""`gtm import`, `gtm imports` and `gtm quarantine` as their users see them, without a refresh."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_cli import Gtm, gtm  # noqa: F401 - a fixture

MAPPING = """
[columns]
event_id = "id"
user_id = "who"
[constants]
event_name = "{name}"
device_type = "api"
[timestamp]
column = "at"
[properties]
amount = {{ column = "amount", type = "number" }}
currency = {{ value = "EUR" }}
"""


@pytest.fixture
def orders(tmp_path: Path) -> None:
    """Two orders, a mapping to an event that no plan has, and the right one."""
    (tmp_path / "orders.csv").write_text("id,at,who,amount\na,2026-03-02T10:00:00Z,k,1\nb,2026-03-02T11:00:00Z,k,2\n")
    (tmp_path / "wrong.toml").write_text(MAPPING.format(name="Order Paid"))
    (tmp_path / "right.toml").write_text(MAPPING.format(name="payment_completed"))


@pytest.mark.usefixtures("orders")
def test_a_wrong_attempt_is_explained_found_and_withdrawn(gtm: Gtm, tmp_path: Path) -> None:  # noqa: F811
    tried = gtm("import", "orders.csv", "--mapping", "wrong.toml", "--dry-run")
    assert tried.code == 0 and not (tmp_path / "state").exists()
    wrong = gtm("import", "orders.csv", "--mapping", "wrong.toml")
    for text in ("every row was refused", "unknown_event at event_name of Order Paid: 2", "row 1, 2"):
        assert text in wrong.out and text in tried.out
    assert "gtm refresh" not in wrong.out
    assert ",Order Paid,unknown_event at event_name,2," in gtm("quarantine", "list").out
    nothing = gtm("quarantine", "list", "--reason", "foo", "--json")
    assert (nothing.code, nothing.document) == (0, []) and "there are: unknown_event (2)" in nothing.err
    [listed] = gtm("imports", "list", "--json").document
    assert (listed["file"], listed["mapping"], listed["rows"]) == ("orders.csv", "wrong.toml", 2)
    assert (listed["quarantined"], listed["state"]) == (2, "landed, not staged")
    name = listed["name"]
    assert gtm("imports", "withdraw", name, "--reason", " ").code == 2
    gone = gtm("imports", "withdraw", name, "--reason", "no such event", "--actor", "ann", "--json").document
    assert (gone["rows"], gone["by"], gone["reason"]) == (2, "ann", "no such event")
    assert gtm("imports", "withdraw", name, "--reason", "again").code == 1
    [listed] = gtm("imports", "list", "--json").document
    assert (listed["state"], listed["withdrawn_by"]) == ("withdrawn", "ann")


@pytest.mark.usefixtures("orders")
def test_json_has_the_reasons_and_what_is_known(gtm: Gtm, tmp_path: Path) -> None:  # noqa: F811
    first = gtm("import", "orders.csv", "--mapping", "right.toml", "--json").document
    assert (first["accepted"], first["files"][0]["reasons"]) == (2, [])
    (tmp_path / "orders.csv").write_text(
        "id,at,who,amount\na,2026-03-02T10:00:00Z,k,1\nb,2026-03-02T11:00:00Z,k,3\nc,now,k,3\n"
    )
    second = gtm("import", "orders.csv", "--mapping", "right.toml", "--json").document["files"][0]
    assert (second["accepted"], second["duplicates"], second["quarantined"]) == (0, 2, 1)
    assert second["known_with_other_content"] == 1
    assert second["known_in"] == {first["files"][0]["name"]: 1}
    [reason] = second["reasons"]
    assert (reason["code"], reason["path"], reason["count"], reason["rows"]) == ("bad_timestamp", "timestamp", 1, [3])
    replayed = gtm("quarantine", "replay", "--json").document
    assert (replayed["rows"], replayed["accepted"], replayed["refused"]) == (1, 0, 1)


@pytest.mark.parametrize("write_key", ["a:b", " ", "a/b"])
@pytest.mark.usefixtures("orders")
def test_a_write_key_that_could_collide_is_wrong_usage(gtm: Gtm, write_key: str) -> None:  # noqa: F811
    answer = gtm("import", "orders.csv", "--write-key", write_key)
    assert answer.code == 2 and "letters, digits" in answer.err


def test_nothing_was_imported(gtm: Gtm) -> None:  # noqa: F811
    assert "nothing was imported yet" in gtm("imports", "list").err
    assert gtm("imports", "list", "--json").document == []
