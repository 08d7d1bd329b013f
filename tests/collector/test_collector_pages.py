"""Everything but events: health, metrics, plan, heartbeats, unknown paths, keys."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from collector_harness import Edge

from gtm_dagster.collector import KeyStore, KeyStoreError
from gtm_dagster.collector.serve import ServeError, serve
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan


def test_health_and_plan(edge: Edge) -> None:
    assert edge.get("/livez").status == edge.get("/readyz").status == 200
    assert edge.get("/plan/").json() == load_plan().json_schema()


def test_a_heartbeat_shows_as_an_age(edge: Edge) -> None:
    assert edge.post({"producer": 'a "b"', "ts": "2026-03-01T10:00:00Z"}, "/heartbeat").status == 200
    assert edge.post({"producer": "c", "ts": 1.5}, "/heartbeat").status == 200
    edge.post([{}])
    page = edge.get("/metrics")
    text = page.body.decode()
    assert page.headers["content-type"].startswith("text/plain")
    assert 'gtm_collector_heartbeat_age_seconds{producer="c"}' in text
    assert 'gtm_collector_events_total{status="quarantined"} 1.0' in text


@pytest.mark.parametrize("body", [b"", b"{}", b'{"producer":""}', b'{"producer":3}', b'{"producer":"x","ts":[]}'])
def test_a_heartbeat_that_is_none_is_refused(edge: Edge, body: bytes) -> None:
    assert edge.post(body, "/heartbeat").status == 400
    assert edge.post({"producer": "x"}, "/heartbeat", headers={}).status == 401


def test_unknown_paths_and_methods(edge: Edge) -> None:
    assert edge.get("/nowhere").status == 404
    wrong = edge.get("/ingest")
    assert (wrong.status, wrong.headers["allow"], wrong.json()["code"]) == (405, "POST", "method_not_allowed")
    assert edge.ask("HEAD", "/livez", [b""], {}).body == b""


def test_a_fault_is_a_500_that_says_nothing_of_the_event(edge: Edge) -> None:
    class FaultyLog:
        def submit(self, records: object) -> None:
            raise LookupError("secret")

    answer = edge.post(b"[]", app=edge.app_on(FaultyLog()))
    assert answer.status == 500 and b"secret" not in answer.body


def test_keys_are_hashed_private_and_seen_by_others(tmp_path: Path) -> None:
    store, other = KeyStore(tmp_path / "keys"), KeyStore(tmp_path / "keys")
    assert other.list() == () and other.name_of("x") is None
    secret = store.add("web")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert secret not in store.path.read_text()
    assert other.name_of(secret) == "web" and [k.name for k in other.list()] == ["web"]
    assert store.name_of("dev") is None and KeyStore(tmp_path, allow_dev=True).name_of("dev") == "dev"
    for name in ("web", "dev", "", "a b", "x" * 65):
        with pytest.raises(KeyStoreError):
            store.add(name)
    store.revoke("web")
    assert other.name_of(secret) is None
    with pytest.raises(KeyStoreError, match="no key 'web'"):
        store.revoke("web")


def test_a_damaged_key_file_is_named_and_answered_with_503(edge: Edge) -> None:
    edge.keys.add("web")
    edge.keys.path.write_text("{")
    with pytest.raises(KeyStoreError, match=r"keys\.json"):
        edge.keys.list()
    assert edge.post([], headers={"X-Write-Key": "gtm_x"}).status == 503


def test_other_machines_need_a_real_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(ServeError, match="gtm keys add"):
            serve(Settings(state_dir=tmp_path), host, 0)
    assert not (tmp_path / "events.db").exists()


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"127.0.0.1:{port}.*in use"):
            serve(Settings(state_dir=tmp_path), "localhost", port)
