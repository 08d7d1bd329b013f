"""What an import says: reasons with rows, ids that are known, and what a dry run leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_import_files import HEADER, SHOP, Workspace

from gtm_dagster.importing import ImportFailed

ROW = "{id},{event},2026-01-01T10:00:0{n}Z,{user},\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_reasons_name_code_event_field_count_and_the_first_rows(workspace: Workspace) -> None:
    bad = "".join(ROW.format(id=f"e{n}", event="Order Paid", n=n, user="u") for n in range(5))
    result = workspace.run_import(
        workspace.file(HEADER + ROW.format(id="ok", event="page_viewed", n=1, user="u") + bad)
    )
    assert (result.accepted, result.quarantined, result.nothing_accepted) == (1, 5, False)
    [reason] = result.reasons
    assert (reason.code, reason.event_name, reason.path) == ("unknown_event", "Order Paid", "event_name")
    assert reason.count == 5 and len(reason.rows) == 3 and "Order Paid" in reason.message


def test_rows_that_are_all_refused_are_called_so(workspace: Workspace) -> None:
    result = workspace.run_import(workspace.file(HEADER + ROW.format(id="a", event="nope", n=1, user="u")))
    assert result.nothing_accepted


CORRECTED = SHOP.replace('user_id = "customer"', 'user_id = "customer"\nevent_id = "no"')


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param("no,customer,at,sum\n1,k,01.03.2026 10:00,5\n2,k,01.03.2026 11:00,6\n", (0, 0, 2, 0), id="the same content under another file is duplicates"),
        pytest.param("no,customer,at,sum\n1,k,01.03.2026 10:00,9\n2,k,01.03.2026 11:00,6\n", (0, 1, 1, 0), id="another content loses to the copy received first"),
        pytest.param("no,customer,at,sum\n1,k,01.03.2026 10:00,9\n3,k,01.03.2026 11:00,6\n", (1, 1, 0, 0), id="an id that is new is accepted"),
    ],
)  # fmt: skip
def test_ids_that_landed_before(workspace: Workspace, second: str, expected: tuple[int, ...]) -> None:
    first = workspace.run_import(
        workspace.file("no,customer,at,sum\n1,k,01.03.2026 10:00,5\n2,k,01.03.2026 11:00,6\n\n"), CORRECTED
    )
    assert first.accepted == 2 and first.known.other == first.known.same == 0
    result = workspace.run_import(workspace.file(second, "second.csv"), CORRECTED)
    assert (result.accepted, result.known.other, result.known.same, result.known.stand) == expected
    assert result.read == result.accepted + result.duplicates
    assert result.known.batches == (((first.name, expected[1]),) if expected[1] else ())


def test_a_copy_received_earlier_stands(workspace: Workspace) -> None:
    header = "event_id,event_name,timestamp,user_id,received_at\n"
    workspace.run_import(workspace.file(header + "a,page_viewed,2026-01-01T10:00:00Z,u,2026-02-01T00:00:00Z\n"))
    earlier = workspace.file(header + "a,page_viewed,2026-01-01T11:00:00Z,u,2026-01-05T00:00:00Z\n")
    result = workspace.run_import(earlier)
    assert (result.accepted, result.duplicates, result.known.other, result.known.stand) == (1, 0, 1, 1)


def test_ids_of_another_write_key_are_other_ids(workspace: Workspace) -> None:
    path = workspace.file(HEADER + ROW.format(id="a", event="page_viewed", n=1, user="u"))
    workspace.run_import(path)
    changed = workspace.file(HEADER + ROW.format(id="a", event="page_viewed", n=2, user="u"))
    result = workspace.run_import(changed, write_key="other")
    assert (result.accepted, result.known.other) == (1, 0)


def test_a_dry_run_says_the_same_and_writes_nothing(workspace: Workspace) -> None:
    path = workspace.file(
        HEADER
        + ROW.format(id="a", event="page_viewed", n=1, user="u@example.com")
        + ROW.format(id="b", event="nope", n=2, user="u")
    )
    tried = workspace.run_import(path, dry_run=True)
    assert not (workspace.folder / "state").exists()
    [event] = tried.events
    assert (event["event_id"], event["event_time"]) == ("a", "2026-01-01T10:00:01Z")
    assert "u@example.com" not in str(tried)
    real = workspace.run_import(path)
    assert (tried.read, tried.accepted, tried.reasons) == (real.read, real.accepted, real.reasons)
    assert workspace.run_import(path, dry_run=True).known.same == 1


@pytest.mark.parametrize("write_key", ["a:b", "", "a b", ".a"])
def test_a_write_key_is_checked_as_by_keys_add(workspace: Workspace, write_key: str) -> None:
    with pytest.raises(ImportFailed, match="write key"):
        workspace.run_import(workspace.file(HEADER), write_key=write_key)
