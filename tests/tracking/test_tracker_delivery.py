"""What becomes of a batch that the collector does not take as it is: split, postponed, redirected."""

from __future__ import annotations

import pytest

from gtm_dagster.tracking import GtmTracker, TrackerStats


def send(tracker: GtmTracker, count: int) -> list[str]:
    return [tracker.track("page_viewed", anonymous_id="a1", properties={"n": n}) for n in range(count)]


@pytest.mark.parametrize(
    ("answers", "first_round"),
    [
        pytest.param([503], 0, id="the first half waits, the second is not tried before it"),
        pytest.param([200, 503], 2, id="the second half waits"),
        pytest.param([200, 200], 4, id="both halves are taken"),
    ],
)
def test_both_halves_of_a_split_batch_arrive(recorder, make, answers: list[int], first_round: int):
    tracker = make(batch_size=4, retries=0)
    recorder.largest = 2
    for status in answers:
        recorder.answer(status, body={"accepted": 2, "duplicates": 0, "quarantined": 0})
    ids = send(tracker, 4)
    recorder.wait(lambda: len(recorder.batches()) == 1 + len(answers))
    if first_round < 4:
        tracker.flush(5)
    assert tracker.flush(30)
    assert tracker.stats() == TrackerStats(sent=4, accepted=4)
    taken = [batch.ids for batch in recorder.batches() if len(batch.ids) <= 2]
    refused = answers.index(503) if 503 in answers else len(answers)
    delivered = [event_id for n, batch in enumerate(taken) if n != refused for event_id in batch]
    assert delivered == ids, "each event once, in its order"


def test_half_of_a_split_batch_is_refused_and_the_other_is_delivered(recorder, make):
    tracker = make(batch_size=4, retries=0)
    recorder.largest = 2
    recorder.answer(400, body={"code": "bad", "message": "this half"})
    ids = send(tracker, 4)
    assert not tracker.flush(5)
    assert recorder.batches()[-1].ids == ids[2:]
    assert tracker.stats() == TrackerStats(sent=2, accepted=2, dropped=2)


@pytest.mark.parametrize("retries", [0, 1], ids=["between batches", "between the tries of a batch"])
@pytest.mark.parametrize("status", [429, 503])
def test_scenario_15_nothing_is_sent_before_the_retry_after_whatever_asks_for_it(
    recorder, make, status: int, retries: int
):
    """Neither a flush nor a full batch nor the tracker's own retry ends the pause that the collector asked for."""
    tracker = make(batch_size=2, retries=retries)
    recorder.answer(status, {"Retry-After": "1"})
    ids = send(tracker, 2)
    recorder.wait(lambda: len(recorder.batches()) == 1)
    ids += send(tracker, 2)
    tracker.flush(0.05)
    tracker.flush(0.05)
    assert tracker.flush(30)
    refused, *later = recorder.batches()
    assert all(batch.at - refused.at >= 1.0 for batch in later)
    assert [event_id for batch in later for event_id in batch.ids] == ids


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(recorder, make, status: int):
    """Events and the write key go to the collector alone; a redirected POST would arrive as a GET or somewhere else."""
    tracker = make()
    recorder.answer(status, {"Location": f"{recorder.url}/elsewhere"})
    send(tracker, 2)
    assert tracker.flush(30)
    assert {request.path for request in recorder.requests} <= {"/ingest", "/heartbeat"}
    assert len(recorder.batches()) == 2
    assert tracker.stats() == TrackerStats(sent=2, accepted=2)
