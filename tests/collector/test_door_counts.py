"""What is refused at the door is counted by route, key and reason, stored together, kept for a month, and shown."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from concurrent.futures import Future
from datetime import date, timedelta
from pathlib import Path

import pytest
from collector_harness import Edge, LiveWriter

from gtm_dagster.cli import run
from gtm_dagster.collector import door_counts
from gtm_dagster.eventlog import EventLogError
from gtm_dagster.eventlog.refusals import REFUSAL_DAYS, refused_since
from gtm_dagster.eventlog.sqlite import SqliteEventLog

CASES = [
    ("/heartbeat", "client", {"producer": "shop"}, "client_key", "a client key beats for nobody"),
    ("/heartbeat", "server", {"producer": "two words"}, "bad_producer", "a name nobody can be"),
    ("/heartbeat", "server", [], "unparseable", "no heartbeat"),
    ("/heartbeat", "nobody", {"producer": "shop"}, "bad_key", "a key that is not good names nobody"),
    ("/guards/checkout-v2/rollback", "client", {"reason": "x"}, "not_alerting", "who may send may not turn off"),
    ("/guards/checkout-v2/rollback", "", {"reason": "x"}, "no_key", "no key at all"),
    ("/ingest", "alerting", [], "alerting_key", "who may turn off may not send"),
    ("/ingest?writeKey=SERVER", "", [], "key_in_address", "the key is known, its place is wrong"),
]


def refused(edge: Edge) -> dict[tuple[str, str, str], int]:
    asyncio.run(edge.app.store_refusals())
    return {(row.route, row.write_key, row.code): row.n for row in refused_since(edge.log.path, "2000-01-01")}


@pytest.mark.parametrize(("path", "role", "body", "code", "why"), CASES, ids=[case[-1] for case in CASES])
def test_each_is_counted_with_the_key_it_came_with(edge: Edge, path, role, body, code, why):
    keys = {name: edge.keys.add(f"{name}-key", role=name) for name in ("server", "client", "alerting")}
    secret = keys.get(role, role)
    path = path.replace("SERVER", keys["server"])
    for _ in range(3):
        assert 400 <= edge.post(body, path, {"X-Write-Key": secret} if secret else {}).status < 500, why
    route = {"guards": "/guards/{flag}/rollback"}.get(path.split("/")[1], path.partition("?")[0])
    known = "server-key" if "writeKey" in path else (f"{role}-key" if role in keys else "")
    assert refused(edge) == {(route, known, code): 3}
    assert refused(edge) == {(route, known, code): 3}, "stored once"


def test_what_is_taken_and_what_is_nowhere_is_not_counted(edge: Edge):
    assert edge.post({"producer": "shop"}, "/heartbeat").status == 200
    assert edge.post({}, "/nothing").status == 404
    assert refused(edge) == {}


class Full(LiveWriter):
    """A log that takes nothing."""

    def submit_refusals(self, rows: object) -> Future[int]:
        failed: Future[int] = Future()
        failed.set_exception(EventLogError("the disk is full"))
        return failed


def test_while_the_log_takes_nothing_they_go_on_being_counted(edge: Edge, monkeypatch):
    edge.post({"producer": "two words"}, "/heartbeat")
    commits = edge.app._commits
    with monkeypatch.context() as full:
        full.setattr(commits, "_log", Full())
        asyncio.run(edge.app.store_refusals())
        edge.post({"producer": "two words"}, "/heartbeat")
    assert refused(edge) == {("/heartbeat", "dev", "bad_producer"): 2}


def test_of_kinds_beyond_the_bound_the_key_is_not_kept(edge: Edge, monkeypatch):
    monkeypatch.setattr(door_counts, "MOST_KINDS", 2)
    for name in ("a", "b", "c", "d"):
        edge.post({"producer": "p"}, "/heartbeat", {"X-Write-Key": edge.keys.add(name, role="client")})
    assert refused(edge) == {
        ("/heartbeat", "a", "client_key"): 1, ("/heartbeat", "b", "client_key"): 1, ("/heartbeat", "", "client_key"): 2,
    }  # fmt: skip


def test_they_are_kept_for_a_month(edge: Edge):
    edge.post({"producer": "two words"}, "/heartbeat")
    (today,) = {row.day for row in (refused(edge) and refused_since(edge.log.path, "2000-01-01"))}
    edge.log.trim((date.fromisoformat(today) + timedelta(days=REFUSAL_DAYS)).isoformat())
    assert refused(edge)
    edge.log.trim((date.fromisoformat(today) + timedelta(days=REFUSAL_DAYS + 1)).isoformat())
    assert refused(edge) == {}


def test_a_log_of_before_counts_none(tmp_path: Path):
    assert refused_since(tmp_path / "events.db", "2000-01-01") == []
    SqliteEventLog(tmp_path / "events.db").close()
    with sqlite3.connect(tmp_path / "events.db") as con:
        con.execute("DROP TABLE refusals")
    assert refused_since(tmp_path / "events.db", "2000-01-01") == []


def test_guard_status_shows_them_by_key_and_reason(edge: Edge, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(edge.log.path.parent))
    web = edge.keys.add("web", role="client")
    for _ in range(12):
        edge.post({"producer": "shop"}, "/heartbeat", {"X-Write-Key": web})
    edge.post({"producer": "shop"}, "/heartbeat", {"X-Write-Key": "stolen"})
    edge.post({"reason": "x"}, "/guards/checkout-v2/rollback", {"X-Write-Key": web})
    asyncio.run(edge.app.store_refusals())
    (tmp_path / "gtm.toml").write_text('[[guards]]\nflag = "checkout-v2"\nconversion = "payment_completed"\n')
    run(["guard", "status", "--json"])
    rows = json.loads(capsys.readouterr().out)["refused_at_the_door"]
    assert [(row["route"], row["write_key"], row["reason"], row["n"]) for row in rows] == [
        ("/heartbeat", "web", "client_key", 12),
        ("/guards/{flag}/rollback", "web", "not_alerting", 1),
        ("/heartbeat", None, "bad_key", 1),
    ]
    run(["guard", "status"])
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "refused at the door within 7 days: 13 heartbeats (key web, client_key: 12; no good key, bad_key: 1)" in shown
    )
    assert "1 requests for a rollback (key web, not_alerting: 1)" in shown
