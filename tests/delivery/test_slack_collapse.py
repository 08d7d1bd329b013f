"""Alerts in Slack: those of one rule that come close are one message, and no more than one message goes out a second."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_servers import Receiver, answering, in_turn
from message_cases import HOUR, SECOND, START, bench, message, put, rows, statuses, webhook


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "alert.j2").write_text("{{ person }} looked at {{ properties.plan }}")
    return tmp_path / "triggers.db"


def alert(action_id: str, seconds: float = 0.0, rule: str = "sales", **given):
    at_us = START + round(seconds * SECOND)
    return message(
        action_id, channel="slack", target="alert.j2", rule=rule, person=f"p-{action_id}", decided_us=at_us, **given
    )


def test_seven_alerts_in_a_minute_are_one_message_after_the_first(path: Path) -> None:
    with Receiver(answering(200, b"ok")) as receiver:
        with bench(path, [webhook("sales", receiver.url, kind="slack", secret_env=None)]) as work:
            put(path, alert("a0"))
            work.round()
            for n in range(1, 8):
                put(path, alert(f"a{n}", n))
                work.now_us = START + n * SECOND
                work.round()
            assert len(receiver.requests) == 1
            work.now_us = START + 59 * SECOND
            work.round()
            assert len(receiver.requests) == 1
            work.now_us = START + 60 * SECOND
            work.round()
        first, second = (document["text"] for document in receiver.documents)
    assert first == "p-a0 looked at pro"
    assert second.split("\n") == ["7 x sales in 6 s", *(f"• p-a{n} looked at pro" for n in range(1, 8))]
    assert {row[:2] for row in statuses(path).values()} == {("delivered", 1)}, "a wait is no attempt"


def test_a_burst_is_one_message_that_names_the_first_ten(path: Path) -> None:
    with Receiver(answering(200, b"ok")) as receiver:
        put(path, *(alert(f"a{n:03}", n / 10) for n in range(300)))
        with bench(path, [webhook("sales", receiver.url, kind="slack", secret_env=None)]) as work:
            work.now_us = START + 60 * SECOND
            work.round()
        (document,) = receiver.documents
    lines = document["text"].split("\n")
    assert (lines[0], lines[-1], len(lines)) == ("300 x sales in 30 s", "and 290 more", 12)
    assert {row[0] for row in statuses(path).values()} == {"delivered"}


def test_other_keys_and_rules_are_messages_of_their_own_one_a_second(path: Path) -> None:
    with Receiver(answering(200, b"ok")) as receiver:
        put(
            path,
            *(alert(f"a{n}", rule=f"rule{n}") for n in range(4)),
            alert("k1", collapse_key="k"),
            alert("k2", collapse_key="k"),
        )
        with bench(path, [webhook("sales", receiver.url, kind="slack", secret_env=None, per_second=None)]) as work:
            counts = []
            for tenth in range(50):
                work.now_us = START + tenth * SECOND // 10
                work.round()
                counts.append(len(receiver.requests))
    assert [counts[tenth] for tenth in (0, 9, 10, 19, 20, 40, 49)] == [1, 1, 2, 2, 3, 5, 5]
    assert sorted(document["text"].partition("\n")[0] for document in receiver.documents)[0] == "2 x k in 1 s"


def test_what_was_one_message_is_tried_again_as_one_with_what_came_since(path: Path) -> None:
    with Receiver(in_turn(answering(500), answering(200, b"ok"))) as receiver:
        put(path, *(alert(f"a{n}", n) for n in range(3)))
        with bench(path, [webhook("sales", receiver.url, kind="slack", secret_env=None)]) as work:
            work.now_us = START + 3 * SECOND
            work.round()
            assert len({row[0] for row in rows(path, "SELECT next_us FROM outbox")}) == 1
            put(path, alert("late", 4))
            work.now_us = START + 10 * SECOND
            work.round()
        texts = [document["text"].split("\n")[0] for document in receiver.documents]
    assert texts == ["3 x sales in 2 s", "4 x sales in 4 s"]
    assert {key: row[1] for key, row in statuses(path).items()} == {"a0": 2, "a1": 2, "a2": 2, "late": 1}


@pytest.mark.parametrize(
    ("status", "ends"), [(400, "dead"), (403, "dead"), (404, "dead"), (410, "dead"), (500, "due"), (429, "due")]
)
def test_what_slack_answers(path: Path, status: int, ends: str) -> None:
    with Receiver(answering(status, b"invalid_payload")) as receiver:
        put(path, alert("a1"))
        with bench(path, [webhook("sales", receiver.url, kind="slack", secret_env=None)]) as work:
            work.round()
            assert bool(work.alerts) is (status == 410)
    assert statuses(path)["a1"] == (ends, 1, f"answered {status}")


def test_an_alert_that_waits_goes_out_before_it_expires(path: Path) -> None:
    with Receiver(answering(200, b"ok")) as receiver:
        with bench(path, [webhook("sales", receiver.url, kind="slack", secret_env=None)]) as work:
            put(path, alert("a1"))
            work.round()
            put(path, alert("a2", 5, expires_us=START + 30 * SECOND))
            work.now_us = START + 5 * SECOND
            work.round()
            work.run_to(START + HOUR)
    assert statuses(path)["a2"][0] == "delivered"
