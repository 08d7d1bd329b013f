"""Up to when a tracker says that it delivered everything, and when it says nothing more."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest

from gtm_dagster.tracking import GtmTracker
from gtm_dagster.tracking.sender import Sender


def send(tracker: GtmTracker, count: int) -> list[str]:
    return [tracker.track("page_viewed", anonymous_id="a1", properties={"n": n}) for n in range(count)]


def test_heartbeats_go_on_when_idle_and_between_retries(recorder, make, monkeypatch):
    monkeypatch.setattr(Sender, "beat_interval", 0.02)
    tracker = make(producer="shop", retries=1)
    tracker.track("page_viewed", anonymous_id="a")
    recorder.wait(lambda: len(recorder.beats()) >= 3)
    assert recorder.beats()[0].headers["X-Write-Key"] == "key-1"
    assert recorder.beats()[0].body["producer"] == "shop"
    assert datetime.fromisoformat(recorder.beats()[0].body["ts"]).tzinfo is not None
    recorder.answer(503, {"Retry-After": "1"})
    assert tracker.flush(30)
    refused, taken = recorder.batches()
    assert sum(refused.at < beat.at < taken.at for beat in recorder.beats()) >= 2


@pytest.mark.parametrize(("service", "name"), [("shop", "shop"), ("", None), ("my shop", None)])
def test_gd_10_the_default_name_of_a_producer_outlives_its_container(recorder, make, monkeypatch, service, name):
    monkeypatch.setenv("OTEL_SERVICE_NAME", service)
    monkeypatch.setattr(Sender, "beat_interval", 0.02)
    make()
    recorder.wait(recorder.beats)
    assert recorder.beats()[0].body["producer"] == (name or socket.gethostname())


def moment(beat, field="ts") -> datetime:
    return datetime.fromisoformat(beat.body[field])


def test_a_heartbeat_says_up_to_when_all_was_delivered(recorder, make, monkeypatch):
    monkeypatch.setattr(Sender, "beat_interval", 0.02)
    tracker = make(producer="shop")
    recorder.wait(lambda: recorder.beats())
    began = datetime.now(UTC)
    assert timedelta() < moment(recorder.beats()[-1], "sent_at") - moment(recorder.beats()[-1]) < timedelta(seconds=1)
    happened = began - timedelta(minutes=7)
    tracker.track("page_viewed", anonymous_id="a", timestamp=began)
    tracker.track("page_viewed", anonymous_id="a", timestamp=happened)
    seen = len(recorder.beats())
    recorder.wait(lambda: len(recorder.beats()) > seen + 2)
    assert moment(recorder.beats()[-1]) == happened - timedelta(microseconds=1), "just before the oldest that waits"
    recorder.answer(503, {"Retry-After": "1"})
    assert tracker.flush(30)
    refused, taken = recorder.batches()
    between = [moment(beat) for beat in recorder.beats() if refused.at < beat.at < taken.at]
    assert between and all(ts < happened for ts in between), "under way is not delivered"
    seen = len(recorder.beats())
    recorder.wait(lambda: len(recorder.beats()) > seen + 1)
    assert moment(recorder.beats()[-1]) > began


@pytest.mark.parametrize(("last_beat_ago", "beats"), [(60.0, 2), (0.0, 1)], ids=["long ago", "just now"])
def test_a_delivered_batch_is_followed_by_a_heartbeat_when_the_last_is_old(recorder, make, last_beat_ago, beats):
    tracker = make()
    recorder.wait(lambda: len(recorder.beats()) == 1)
    tracker.sender._last_beat -= last_beat_ago
    send(tracker, 1)
    assert tracker.flush(30)
    send(tracker, 1)
    assert tracker.flush(30)
    assert len(recorder.beats()) == beats
    assert len({beat.body["instance"] for beat in recorder.beats()}) == 1


def test_a_clean_close_is_told_and_one_with_events_left_is_not(recorder, make):
    with make(producer="clean") as tracker:
        send(tracker, 1)
    assert [beat.body["closing"] for beat in recorder.beats() if "closing" in beat.body] == [True]
    assert recorder.beats()[-1].at >= recorder.batches()[-1].at, "after the last event"
    left = make(producer="left", retries=0)
    recorder.answer(503, {"Retry-After": "60"})
    send(left, 1)
    left.close(0.3)
    assert not [beat for beat in recorder.beats() if beat.body["producer"] == "left" and "closing" in beat.body]
