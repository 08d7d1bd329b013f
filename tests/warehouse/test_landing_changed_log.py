"""A log that does not continue what has landed: an error with the way out, nothing lost, and after it was accepted
everything the log still holds lands and the books balance.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from profiles import slow_but
from test_landing_the_log import records
from warehouse_cases import DAY, START, refresh, rows_of, settings_for

from gtm_dagster.eventlog import LogChangedError, open_log
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log, landed_positions, waiting_offsets

NOW = time.time_ns() // 1000
LONG_AGO = NOW - 20 * DAY


def append(settings: Settings, first: int, n: int, received_us: int = START) -> None:
    with open_log(settings) as log:
        assert log.append(records(first, n, received_us)).accepted == n


def land(settings: Settings) -> int:
    return land_log(BuildContext(settings, plan=None)).rows


def back_up(settings: Settings, name: str = "backup.db") -> None:
    source, target = sqlite3.connect(settings.log_path), sqlite3.connect(settings.state_dir / name)
    source.backup(target)
    source.close()
    target.close()


def lose(settings: Settings) -> None:
    for path in settings.state_dir.glob("events.db*"):
        path.unlink()


def restore(settings: Settings, name: str = "backup.db") -> None:
    lose(settings)
    shutil.copy(settings.state_dir / name, settings.log_path)


def accept(settings: Settings) -> None:
    """As `gtm log accept` does."""
    with open_log(settings) as log:
        positions = landed_positions(Landing(settings.landing_dir), log) or [None]
        assert log.accept([(position, True) for position in positions], reason="the disk is gone", actor="ada")


def lost(settings: Settings) -> list[int]:
    append(settings, 0, 10)
    land(settings)
    lose(settings)
    append(settings, 100, 5)
    return [*range(10), *range(100, 105)]


def lost_and_longer_by_now(settings: Settings) -> list[int]:
    append(settings, 0, 10)
    land(settings)
    lose(settings)
    append(settings, 100, 15)
    return [*range(10), *range(100, 115)]


def lost_twice(settings: Settings) -> list[int]:
    expected = lost(settings)
    accept(settings)
    land(settings)
    lose(settings)
    append(settings, 200, 3)
    return [*expected, *range(200, 203)]


def restored(settings: Settings) -> list[int]:
    append(settings, 0, 5)
    back_up(settings)
    append(settings, 5, 5)
    land(settings)
    restore(settings)
    append(settings, 100, 2, START + 1)
    return [*range(10), *range(100, 102)]


def restored_and_as_long(settings: Settings) -> list[int]:
    expected = restored(settings)
    append(settings, 102, 3, START + 2)
    return [*expected, *range(102, 105)]


def restored_and_longer(settings: Settings) -> list[int]:
    expected = restored(settings)
    append(settings, 102, 30, START + 2)
    return [*expected, *range(102, 132)]


def restored_of_another_log(settings: Settings) -> list[int]:
    """The log that was given up is found again after its successor has landed."""
    append(settings, 0, 4)
    land(settings)
    append(settings, 4, 4)
    back_up(settings)
    lose(settings)
    append(settings, 100, 5)
    accept(settings)
    land(settings)
    restore(settings)
    return [*range(8), *range(100, 105)]


def restored_from_before_an_acceptance(settings: Settings) -> list[int]:
    """The same backup comes back once more: it lacks what its successor landed, and ends before what it landed itself."""
    append(settings, 0, 5)
    back_up(settings)
    append(settings, 5, 5)
    land(settings)
    restore(settings)
    append(settings, 100, 2)
    accept(settings)
    land(settings)
    restore(settings)
    append(settings, 200, 1)
    return [*range(10), 100, 101, 200]


def trimmed_past(settings: Settings) -> list[int]:
    """The landing zone is an older backup, and what landed after it has left the log."""
    append(settings, 0, 4, LONG_AGO)
    land(settings)
    shutil.copytree(settings.landing_dir, settings.state_dir / "older")
    append(settings, 4, 4, LONG_AGO)
    land(settings)
    append(settings, 8, 2)
    shutil.rmtree(settings.landing_dir)
    (settings.state_dir / "older").rename(settings.landing_dir)
    return [*range(4), 8, 9]


def landing_lost(settings: Settings) -> list[int]:
    append(settings, 0, 4, LONG_AGO)
    land(settings)
    append(settings, 4, 2)
    shutil.rmtree(settings.landing_dir)
    return [4, 5]


CHANGES = slow_but(
    4,
    pytest.param(lost, "another log took its place", id="lost"),
    pytest.param(restored, "ends at offset 7: an older copy was restored", id="restored"),
    pytest.param(restored_and_as_long, "has grown since: an older copy was restored", id="restored, as long by now"),
    pytest.param(trimmed_past, r"begins at offset 9: offsets 5 to 8 left it before they were read", id="trimmed past"),
    pytest.param(lost_and_longer_by_now, "another log took its place", id="lost, and longer by now"),
    pytest.param(lost_twice, "another log took its place", id="lost a second time"),
    pytest.param(restored_and_longer, "has grown since: an older copy was restored", id="restored, longer by now"),
    pytest.param(restored_of_another_log, "another log took its place", id="a log that was given up"),
    pytest.param(restored_from_before_an_acceptance, "another log took its place", id="restored a second time"),
    pytest.param(landing_lost, r"begins at offset 5: offsets 1 to 4 left it", id="landing zone lost"),
)


def ids(settings: Settings) -> list[str]:
    return [row[0] for row in rows_of(settings, "SELECT event_id FROM staging.events ORDER BY 1")]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_changed_log_is_an_error_until_a_person_accepts_it(
    tmp_path: Path, change: Callable[[Settings], list[int]], message: str
) -> None:
    settings = settings_for(tmp_path)
    expected = change(settings)
    landed = [file.key for file in Landing(settings.landing_dir).files()]
    for ask in (land, waiting_offsets, land):
        with pytest.raises(LogChangedError, match=message) as caught:
            ask(settings)
        assert "gtm log accept --reason" in str(caught.value) and "\n" not in str(caught.value)
    assert [file.key for file in Landing(settings.landing_dir).files()] == landed, "nothing landed on a wrong offset"
    accept(settings)
    land(settings)
    offsets = waiting_offsets(settings)
    assert offsets.landed == offsets.newest
    refresh(settings)  # checks the books
    assert ids(settings) == sorted(f"e{n}" for n in expected), "every event that landed or that the log holds is there"
    assert land(settings) == 0
    append(settings, 900, 1, START + 9)
    assert land(settings) == 1


def test_a_log_that_is_gone_is_an_error_before_a_new_one_is_made(tmp_path):
    settings = settings_for(tmp_path)
    append(settings, 0, 10)
    land(settings)
    lose(settings)
    for ask in (land, waiting_offsets):
        with pytest.raises(LogChangedError, match="there is no event log, but offsets up to 10 of one have landed"):
            ask(settings)
    assert not settings.log_path.exists(), "asking makes none"
    accept(settings)
    assert land(settings) == 0


def test_without_a_log_and_without_landed_offsets_there_is_nothing_to_miss(tmp_path):
    settings = settings_for(tmp_path)
    assert land(settings) == 0
    assert waiting_offsets(settings) == (0, 0, "")


def test_a_landing_zone_from_an_older_backup_takes_up_what_the_log_still_holds(tmp_path):
    settings = settings_for(tmp_path)
    append(settings, 0, 4, NOW)
    land(settings)
    shutil.copytree(settings.landing_dir, tmp_path / "older")
    append(settings, 4, 4, NOW)
    land(settings)
    refresh(settings)
    shutil.rmtree(settings.landing_dir)
    (tmp_path / "older").rename(settings.landing_dir)
    assert land(settings) == 4
    refresh(settings, full=True)
    assert ids(settings) == [f"e{n}" for n in range(8)]


def test_what_landed_before_a_restored_copy_lands_again_and_is_dropped_as_duplicates(tmp_path):
    settings = settings_for(tmp_path)
    append(settings, 0, 5)
    back_up(settings)
    append(settings, 5, 5)
    land(settings)
    refresh(settings)
    restore(settings)
    accept(settings)
    assert land(settings) == 5
    staged = refresh(settings)
    assert (staged.read, staged.clean, staged.duplicates) == (5, 0, 5)


def test_a_gap_in_the_log_stops_before_anything_of_the_range_lands(tmp_path):
    settings = settings_for(tmp_path)
    for first in range(3):
        append(settings, 2 * first, 2)
    con = sqlite3.connect(settings.log_path)
    con.execute("DELETE FROM frames WHERE first_seq = 3")
    con.commit()
    con.close()
    with pytest.raises(
        ContractBreak, match=r"offsets 1 to 6: the log counts 4 records, 4 were read, the first at offset 1"
    ):
        land(settings)
    assert not Landing(settings.landing_dir).files()


@pytest.mark.parametrize("offset", [1, 3], ids=["the first frame", "the next frame"])
def test_records_that_vanish_behind_the_landed_end_are_missed(tmp_path, offset):
    settings = settings_for(tmp_path)
    if offset == 3:
        append(settings, 0, 2)
        land(settings)
    for first in range(3):
        append(settings, 10 + 2 * first, 2)
    con = sqlite3.connect(settings.log_path)
    con.execute("DELETE FROM frames WHERE first_seq <= ?", (offset,))
    con.commit()
    con.close()
    with pytest.raises(LogChangedError, match=f"offsets {offset} to {offset + 1} left it before they were read"):
        land(settings)
