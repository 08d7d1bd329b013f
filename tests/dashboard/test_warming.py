"""The default view of each screen is made as soon as another file is published, by one thread that ends with the server."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dashboard_cases import publish, settings_in, small

from gtm_dagster.dashboard.pages import Pages
from gtm_dagster.dashboard.snapshots import Rows, Snapshot
from gtm_dagster.dashboard.warming import Warming, warmed_screens

Asked = list[tuple[int, tuple[int, int, int], str]]
"""Thread, file and statement of what was run and not found among what is kept."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    found: Asked = []
    rows = Snapshot.rows

    def noted(snapshot: Snapshot, statement: str) -> Rows:
        is_kept = statement in snapshot._kept
        result = rows(snapshot, statement)
        if not is_kept:
            found.append((threading.get_ident(), snapshot.identity, statement))
        return result

    monkeypatch.setattr(Snapshot, "rows", noted)
    yield found


def waited(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def all_statements(folder: Path, asked: Asked) -> set[str]:
    """What the default views and those of the second conversion type ask of a file that nobody has prepared."""
    pages = Pages(settings_in(folder))
    for screen in warmed_screens():
        pages.page(screen, ())
    other_type = pages.conversion_types()[1]
    for screen in warmed_screens():
        pages.page(screen, [("type", other_type)])
    pages.close()
    found = {statement for _, _, statement in asked}
    asked.clear()
    return found


def test_what_stays_is_left_out_of_looks_for_cycles_until_the_end(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    publish(settings.serving_path, small())
    pages = Pages(settings)
    with Warming(pages, look_seconds=0.01):
        assert waited(lambda: gc.get_freeze_count() > 10_000)
    pages.close()
    assert gc.get_freeze_count() == 0


def test_each_published_file_is_asked_before_a_reader_comes(tmp_path: Path, asked: Asked) -> None:
    settings = settings_in(tmp_path)
    publish(settings.serving_path, small())
    expected = all_statements(tmp_path, asked)
    assert len(expected) > 10
    pages = Pages(settings)
    with Warming(pages, look_seconds=0.01, seconds=600.0):
        for _ in range(2):
            publish(settings.serving_path, small())
            file = pages.published
            assert waited(lambda: {text for _, of, text in asked if of == file} >= expected)  # noqa: B023 - called at once
            for screen in warmed_screens():
                pages.page(screen, ())
            assert threading.get_ident() not in {thread for thread, _, _ in asked}, "a reader finds every result"
    assert not [thread for thread in threading.enumerate() if thread.name == "dashboard-warming"]
    pages.close()


def test_without_a_file_nothing_is_asked_and_the_first_one_is_found(tmp_path: Path, asked: Asked) -> None:
    settings = settings_in(tmp_path)
    pages = Pages(settings)
    with Warming(pages, look_seconds=0.01):
        time.sleep(0.05)
        assert not asked
        settings.serving_path.write_bytes(b"no database")
        time.sleep(0.05)
        publish(settings.serving_path, small())
        assert waited(lambda: bool(asked))
    pages.close()
