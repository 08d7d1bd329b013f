"""Bots at every door: one reason whoever brings the event, the agent of the request where the key is public, nothing stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from collector.collector_harness import KEY, Edge
from ways import WAYS

from gtm_dagster.admission.record import Record
from gtm_dagster.admission.single_event import Judge
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.taxonomy import load_plan

BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
AGENTS = [(BOT, "Googlebot"), (BROWSER, None), ("curl/8.7.1", "curl"), ("okhttp/4.12.0", "okhttp"), (None, None)]


def page_view(event_id: str, agent: str | None = None, **more: object) -> dict:
    context = {"page_url": "https://shop.example/"} | ({} if agent is None else {"user_agent": agent})
    return {
        "event_id": event_id, "event_name": "page_viewed", "timestamp": "2026-03-02T10:00:00Z", "anonymous_id": "device-1",
        "properties": {}, "context": context, **more,
    }  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_one_reason(way: str, tmp_path: Path) -> None:
    events = [page_view(f"e{n}", agent) for n, (agent, _) in enumerate(AGENTS)]
    results = WAYS[way](events, tmp_path)
    assert [result and result.lands["bot_reason"] for result in results] == [reason for _, reason in AGENTS]


@pytest.mark.parametrize(
    ("role", "of_request", "of_event", "reason"),
    [
        pytest.param("client", BOT, None, "Googlebot", id="a crawler runs the page"),
        pytest.param("client", BROWSER, None, None, id="a browser"),
        pytest.param("client", None, None, None, id="no agent"),
        pytest.param("client", "okhttp/4.12.0", None, None, id="an app sends by a library"),
        pytest.param("client", BOT, BROWSER, None, id="what the event says wins"),
        pytest.param("client", BROWSER, BOT, "Googlebot", id="also for a bot"),
        pytest.param("client", BOT, " ", "Googlebot", id="an empty agent is none"),
        pytest.param("server", BOT, None, None, id="a server's own agent says nothing of the visitor"),
        pytest.param("server", "python-requests/2.32", BOT, "Googlebot", id="its visitor's does"),
    ],
)
def test_the_request_counts_for_public_keys_alone(
    tmp_path: Path, role: str, of_request: str | None, of_event: str | None, reason: str | None
) -> None:
    edge = Edge(tmp_path)
    headers = {"X-Write-Key": edge.keys.add("some", role=role)} | ({"User-Agent": of_request} if of_request else {})
    bad = page_view("e2", of_event, event_name="nope")
    edge.post([page_view("e1", of_event), bad], headers=headers)
    assert [(record.verdict, record.bot_reason) for record in edge.records()] == [
        ("accepted", reason),
        ("quarantined", reason),
    ]


def test_no_agent_is_stored_and_none_is_answered(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    secret = "Mozilla/5.0 (compatible; Googlebot/2.1; canary-4711)"
    headers = {"X-Write-Key": edge.keys.add("some", role="client"), "User-Agent": f"{secret} of the request"}
    answer = edge.post(
        [page_view("e1", secret), page_view("e2"), page_view("e3", secret, event_name="nope")], headers=headers
    )
    assert "canary" not in answer.body.decode()
    assert [record.bot_reason for record in edge.records()] == ["Googlebot"] * 3
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"canary-4711" not in file.read_bytes(), file


def test_a_replay_keeps_the_reason_and_the_long_way_gives_that_of_the_short() -> None:
    judge = Judge(load_plan(), Pseudonymizer(KEY), Sealer(KEY), 64_000)

    def record(raw: bytes, **options: str) -> Record:
        [judged] = judge([raw], write_key="w", received_us=1_772_445_700_000_000, gates_consent=True, **options)
        return judged.record

    plain = json.dumps(page_view("e1", BOT)).encode()
    escaped = plain.replace(b"device-1", b"device\\u002d1")
    assert record(plain) == record(escaped) and record(plain).bot_reason == "Googlebot"
    assert record(json.dumps(page_view("e1")).encode(), bot_reason="bingbot").bot_reason == "bingbot"
    assert record(json.dumps(page_view("e1", BROWSER)).encode(), bot_reason="bingbot").bot_reason is None


def test_a_resend_by_another_program_is_a_duplicate_and_no_conflict(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    statuses = [
        edge.post([page_view("e1", agent)]).json()["results"][0]
        for agent in (BROWSER, BOT)
    ]  # fmt: skip
    assert [(result["status"], result["errors"]) for result in statuses] == [("accepted", []), ("duplicate", [])]
