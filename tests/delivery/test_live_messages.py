"""What live rules decide, sent by the worker from the same file: consent, identity and text are those of the moment."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hostile_servers import Receiver, answering, in_turn
from live_cases import LiveCase
from message_cases import bench, statuses, webhook
from trigger_cases import R2, event, rules, us

from gtm_dagster.delivery.feed_items import mark, page
from gtm_dagster.triggers.consent_at_delivery import refused_meanwhile

NOTE = """
  note:
    on: checkout_started
    purpose: personalization
    do: {in_app: note.j2}
"""
HOOK = """
  hook:
    on: checkout_started
    purpose: marketing
    do: {webhook: crm}
"""


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "note.j2").write_text("Title: {{ event.name }}\n\n{{ properties.plan }}\n")
    return tmp_path


def test_scenario_13b_withdrawn_between_the_decision_and_the_receiver_that_is_back(templates: Path) -> None:
    live = LiveCase(templates, rules(HOOK))
    with Receiver(in_turn(answering(503), answering(200))) as receiver:
        live.receive(event("checkout_started", "09:00", plan="pro"))
        live.receive(event("checkout_started", "09:00", "p2", plan="pro"))
        with bench(
            templates / "triggers.db", [webhook("crm", receiver.url, in_flight=1)], allowed=refused_meanwhile
        ) as work:
            work.now_us = us("09:00:01")
            work.round()
            assert len(receiver.requests) == 1, "busy: both wait"
            (tried,) = receiver.ids
            live.receive(event("consent_updated", "09:05", consent={}, marketing=False))
            work.run_to(us("10:00"))
    live.close()
    assert {tuple(row[:1]) for row in statuses(templates / "triggers.db").values()} == {("delivered",), ("suppressed",)}
    with closing(sqlite3.connect(templates / "triggers.db")) as con:
        ended = dict(con.execute("SELECT person, status FROM outbox"))
    assert ended == {"p1": "suppressed", "p2": "delivered"} and tried in receiver.ids


def test_scenario_1_a_count_is_one_webhook_with_its_start(templates: Path) -> None:
    live = LiveCase(templates, rules(R2))
    with Receiver(answering(200)) as receiver:
        for at in ("10:00:00", "10:04:00", "10:09:59"):
            live.receive(event("pricing_viewed", at, event_id=f"e {at}", plan="pro"))
        with bench(templates / "triggers.db", [webhook("sales", receiver.url)], allowed=refused_meanwhile) as work:
            work.now_us = us("10:10:01")
            work.round()
    live.close()
    (document,) = receiver.documents
    assert document["data"]["event"]["id"] == "e 10:09:59" and document["data"]["event"]["properties"] == {
        "plan": "pro"
    }


def test_what_a_visitor_got_before_signing_up_is_in_the_users_feed(templates: Path) -> None:
    live = LiveCase(templates, rules(NOTE))
    live.receive(event("checkout_started", "10:00", "a1", plan="pro"))
    with bench(templates / "triggers.db", [], allowed=refused_meanwhile) as work:
        work.now_us = us("10:00:05")
        work.round()
        live.receive(event("user_identified", "10:03", "u1", anonymous="a1"))
        live.receive(event("checkout_started", "10:05", "u1", plan="team"))
        work.now_us = us("10:05:05")
        work.round()
    live.close()
    with closing(sqlite3.connect(templates / "triggers.db")) as con:
        assert [item.text for item in page(con, "u1", us("10:06")).items] == ["team\n", "pro\n"]
        assert page(con, "a1", us("10:06")).items == ()


def test_scenario_17_the_text_is_the_newest_when_it_is_sent(templates: Path) -> None:
    live = LiveCase(templates, rules(NOTE))
    live.receive(event("checkout_started", "10:00", plan="pro"))
    live.restart()
    (templates / "templates" / "note.j2").write_text("Title: Newer\n\nThe newest text.\n")
    with bench(templates / "triggers.db", [], allowed=refused_meanwhile) as work:
        work.now_us = us("10:01")
        work.round()
    live.close()
    with closing(sqlite3.connect(templates / "triggers.db")) as con:
        assert [item.title for item in page(con, "p1", us("10:06")).items] == ["Newer"]


REMINDER = """
  note:
    on: checkout_started
    key: properties.cart_id
    absent: {event: payment_completed, within: 30m}
    purpose: service
    do: {in_app: note.j2}
"""


@pytest.mark.parametrize(
    ("read", "paid", "shown"),
    [
        pytest.param(False, "c1", {"c2"}, id="its reason is gone and nobody read it: taken back"),
        pytest.param(True, "c1", {"c1", "c2"}, id="what was read stays"),
        pytest.param(False, "c3", {"c1", "c2"}, id="another cart"),
    ],
)
def test_an_item_is_taken_back_when_its_reason_dies(templates: Path, read: bool, paid: str, shown: set[str]) -> None:
    (templates / "templates" / "note.j2").write_text("Title: {{ key }}\n\nGo on.\n")
    live = LiveCase(templates, rules(REMINDER))
    for cart in ("c1", "c2"):
        live.receive(event("checkout_started", "10:00", event_id=f"start {cart}", cart_id=cart))
    live.advance(us("10:40"))
    with bench(templates / "triggers.db", [], allowed=refused_meanwhile) as work:
        work.now_us = us("10:40")
        work.round()
    with closing(sqlite3.connect(templates / "triggers.db")) as con, con:
        items = {item.title: item.id for item in page(con, "p1", us("10:41")).items}
        assert items.keys() == {"c1", "c2"}
        if read:
            mark(con, "p1", items["c1"], "read", us("10:41"))
    live.receive(event("payment_completed", "10:45", cart_id=paid))
    live.close()
    with closing(sqlite3.connect(templates / "triggers.db")) as con:
        assert {item.title for item in page(con, "p1", us("10:46")).items} == shown
