"""The demo's memory: the same demo again changes nothing, another one in the same state directory is refused."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from gtm_dagster.demo.deployment import DemoError, OtherDataError
from gtm_dagster.demo.live import live_rows
from gtm_dagster.demo.run import Memory, make_traffic, remember, save
from gtm_dagster.settings import Settings


class Silent:
    """Steps without bars."""

    def step(self, title, total=None):
        from contextlib import nullcontext

        return nullcontext(lambda *told: None)


def test_the_end_of_the_traffic_is_remembered(tmp_path):
    first = remember(tmp_path, 500, 30, 7)
    assert first.end <= datetime.now(UTC)
    assert first.end.microsecond == 0
    assert remember(tmp_path, 500, 30, 7) == first


def test_what_was_sent_is_remembered(tmp_path):
    save(tmp_path, replace(remember(tmp_path, 500, 30, 7), live_sent=True))
    assert remember(tmp_path, 500, 30, 7).live_sent


def test_another_demo_is_refused_with_the_way_out(tmp_path):
    remember(tmp_path, 500, 30, 7)
    with pytest.raises(OtherDataError, match="holds a demo of 500 events, 30 days, seed 7; asked for 500, 30, 8"):
        remember(tmp_path, 500, 30, 8)


def test_a_file_that_is_not_ours_is_named(tmp_path):
    (tmp_path / "demo.json").write_text("[]")
    with pytest.raises(DemoError, match=r"demo\.json: is not a demo's memory"):
        remember(tmp_path, 500, 30, 7)


@pytest.mark.parametrize(("events", "live"), [(60_000, 2_000), (500, 50), (5, 0)])
def test_the_live_part(events, live):
    assert live_rows(events) == live


def test_history_and_truth_are_the_same_bytes_every_time(tmp_path):
    memory = Memory(400, 5, 1, datetime(2026, 3, 2, tzinfo=UTC))
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        make_traffic(Settings(), folder, memory, Silent())
        written.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert written[0] == written[1]
    assert json.loads(written[0]["truth.json"])["events"] == 400
    assert msgspec.json.decode(written[0]["truth.json"])["unique_valid"] == 394
