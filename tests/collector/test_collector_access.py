"""Who may do what: the key `dev` and open pages are for this machine's own programs; keys have roles."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from collector_harness import Edge

from gtm_dagster.collector import KeyStore, KeyStoreError
from gtm_dagster.collector.serve import _idle_ids

EVENT = {"event_id": "e1", "event_name": "page_viewed", "anonymous_id": "visitor"}
DEV = {"X-Write-Key": "dev"}
FORWARDED = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Anything": ""},
    {"Forwarded": "for=203.0.113.9"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "203.0.113.9"},
    {"CF-Connecting-IP": "203.0.113.9"},
    {"True-Client-IP": "203.0.113.9"},
]
FOREIGN = [
    {"Host": "rebound.evil.example"},
    {"Host": "rebound.evil.example:8377"},
    {"Host": "localhost.evil.example"},
    {"Host": "evil.example@localhost"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost", "Origin": "https://evil.example"},
    {"Host": "localhost", "Origin": "null"},
    {"Host": "localhost", "Origin": "http://localhost.evil.example"},
    {"Host": "localhost", "Sec-Fetch-Site": "cross-site"},
]
OWN = [
    {},
    {"Host": "localhost"},
    {"Host": "LOCALHOST:8377"},
    {"Host": "127.0.0.1:1"},
    {"Host": "[::1]:8377"},
    {"Host": "localhost", "Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
]


def shown(headers: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in headers.items()) or "nothing"


@pytest.mark.parametrize("headers", [*FORWARDED, *FOREIGN], ids=shown)
def test_dev_and_open_pages_are_not_for_what_comes_from_elsewhere(edge: Edge, headers: dict[str, str]) -> None:
    for answer in (
        edge.post(EVENT, headers=DEV | headers),
        edge.post({"producer": "shop"}, "/heartbeat", headers=DEV | headers),
        *(edge.ask("GET", path, [b""], headers) for path in ("/metrics", "/plan")),
    ):
        assert answer.status in (400, 401, 403) and set(answer.json()) == {"code", "message"}
    assert edge.log.last_seq() == 0 and edge.log.heartbeats() == []
    assert edge.ask("GET", "/livez", [b""], headers).status in (200, 400)


@pytest.mark.parametrize("headers", OWN, ids=shown)
def test_dev_and_open_pages_are_for_programs_of_this_machine(edge: Edge, headers: dict[str, str]) -> None:
    assert edge.post(EVENT, headers=DEV | headers).status == 200
    for path in ("/metrics", "/plan"):
        assert edge.ask("GET", path, [b""], headers).status == 200


@pytest.mark.parametrize(
    "headers", [*FORWARDED, {"Host": "shop.example"}, {"Origin": "https://shop.example"}], ids=shown
)
def test_a_real_key_works_behind_a_proxy_and_from_other_sites(edge: Edge, headers: dict[str, str]) -> None:
    key = {"X-Write-Key": edge.keys.add("web", role="client")}
    assert edge.post(EVENT, headers=key | headers).status == 200
    assert edge.ask("GET", "/plan", [b""], key | headers).status == 200


def test_dev_opens_nothing_beside_another_key_at_once(edge: Edge) -> None:
    assert edge.post(EVENT).status == 200
    KeyStore(edge.keys.path.parent).add("shop")  # as another process does
    refused = edge.post(EVENT)
    assert (refused.status, refused.json()["code"]) == (401, "bad_key")
    assert edge.post({"producer": "shop"}, "/heartbeat").status == 401


def test_a_host_of_the_settings_is_own(tmp_path: Path) -> None:
    edge = Edge(tmp_path, hosts=("collector.internal",))
    assert edge.post(EVENT, headers=DEV | {"Host": "Collector.internal:8377"}).status == 200
    assert edge.post(EVENT, headers=DEV | {"Host": "other.internal"}).status == 403
    edge.log.close()


@pytest.mark.parametrize(
    ("path", "role", "expected"),
    [
        ("/metrics", None, (401, "no_key")),
        ("/plan", None, (401, "no_key")),
        ("/metrics", "client", (403, "client_key")),
        ("/plan", "client", (200, None)),
        ("/metrics", "server", (200, None)),
        ("/plan", "server", (200, None)),
        ("/livez", None, (200, None)),
    ],
)
def test_on_another_address_than_loopback_pages_need_a_key(
    edge: Edge, path: str, role: str | None, expected: tuple[int, str | None]
) -> None:
    edge.keys.allow_dev = False
    headers = {"Authorization": f"Bearer {edge.keys.add('some', role=role)}"} if role else {}
    answer = edge.ask("GET", path, [b""], headers)
    assert (answer.status, answer.json()["code"] if answer.status != 200 else None) == expected


@pytest.mark.parametrize(("role", "stored", "beat"), [("server", None, 200), ("client", "client", 403)])
def test_what_comes_with_a_client_key_is_marked_and_beats_for_nobody(
    edge: Edge, role: str, stored: str | None, beat: int
) -> None:
    key = {"X-Write-Key": edge.keys.add("some", role=role)}
    edge.post([EVENT, EVENT | {"event_id": "e2", "event_name": "nope"}], headers=key)
    assert [(record.verdict, record.key_role) for record in edge.records()] == [
        ("accepted", stored),
        ("quarantined", stored),
    ]
    answer = edge.post({"producer": "shop"}, "/heartbeat", headers=key)
    assert answer.status == beat and (beat == 200 or answer.json()["code"] == "client_key")


def test_roles_are_declared_and_a_file_from_before_roles_holds_server_keys(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.add("web", role="client")
    store.add("shop")
    assert [(key.name, key.role) for key in store.list()] == [("web", "client"), ("shop", "server")]
    assert (store.role_of("web"), store.role_of("shop"), store.role_of("dev")) == ("client", "server", "server")
    with pytest.raises(KeyStoreError, match="server, client or alerting"):
        store.add("odd", role="admin")
    before = [
        {name: value for name, value in msgspec.to_builtins(key).items() if name != "role"} for key in store.list()
    ]
    store.path.write_text(json.dumps(before))
    assert store.role_of("web") == "server"


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("shop-1", True), ("web-01.eu-west-1.compute.internal", True), ("ip-10-0-0-1", True), ("3f2a9b8c7d6e", True),
        ("checkout@v2", False), ("anna.person@example.org", False), ("anna%40example.org", False), ("203.0.113.9", False),
        ("shop/203.0.113.9:8080", False), ("2001:db8::17", False), ("[::1]:80", False), ("+49-170-5500226", False),
        ("0170/5500226", False), ("shop:+491705500226", False), ("Anna Person", False), ("a\tb", False), ("a\x1b[31m", False),
        ("a\u00a0b", False), ("a\u202eb", False), ("", False), ("x" * 129, False),
    ],
)  # fmt: skip
def test_a_producer_is_a_program_and_no_person(edge: Edge, name: str, taken: bool) -> None:
    for beat in ({"producer": name}, {"producer": "shop", "instance": name}):
        answer = edge.post(beat, "/heartbeat")
        if taken or (not name and "instance" in beat):
            assert answer.status == 200
        else:
            assert (answer.status, answer.json()["code"]) == (400, "bad_producer")
            assert all(name not in stored.producer for stored in edge.log.heartbeats()) or not name


@pytest.mark.parametrize(
    ("named", "idle"),
    [("web", False), ("dev", False), ("backend", True), ("nobody", True)],
    ids=["a client key", "the laptop's", "a server key", "no key"],
)
def test_an_id_that_opens_nothing_is_named_at_the_start(edge: Edge, named: str, idle: bool) -> None:
    edge.keys.add("web", role="client")
    edge.keys.add("backend")
    lines = _idle_ids({"shop-web": named}, edge.keys.list())
    assert bool(lines) is idle and all(f"gtm keys add {named} --role client" in line for line in lines)
