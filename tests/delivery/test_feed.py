"""The feed inside the product: pages, marks, tokens and what a page of another site gets; over HTTP with a running collector."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from message_cases import SECOND, START, bench, message, put, rows, statuses

from gtm_dagster.collector.address import running_address
from gtm_dagster.delivery.feed_items import CursorError, mark, page, retract_items
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.tracking import feed_token
from gtm_dagster.tracking.feed_token import feed_user

KEY = "k" * 32
DAY = 24 * 3600 * SECOND


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "note.j2").write_text(
        "Title: {{ properties.plan }} waits\nLink: /checkout\n\nGo **on**.\n"
    )
    return tmp_path / "triggers.db"


def note(action_id: str, person: str = "p1", **given):
    return message(action_id, channel="in_app", target="note.j2", person=person, **given)


def filled(path: Path, number: int, person: str = "p1") -> None:
    """Items i000, i001, ... of a person, a second apart."""
    with bench(path, []) as work:
        for n in range(number):
            put(path, note(f"i{n:03}", person))
            work.now_us = START + n * SECOND
            work.round()


def test_a_message_becomes_an_item_at_once(path: Path) -> None:
    filled(path, 1)
    with closing(sqlite3.connect(path)) as con:
        found = page(con, "p1", START)
        assert page(con, "p2", START).items == ()
    (item,) = found.items
    assert (item.id, item.title, item.link) == ("i000", "pro waits", "/checkout")
    assert (item.text, item.html) == ("Go **on**.\n", "<p>Go <strong>on</strong>.</p>\n")
    assert (found.unseen, found.unread, found.next) == (1, 1, None)
    assert statuses(path) == {"i000": ("delivered", 1, None)}


def test_pages_go_on_where_the_last_ended_whatever_comes_meanwhile(path: Path) -> None:
    filled(path, 45)
    with closing(sqlite3.connect(path)) as con:
        first = page(con, "p1", START + 100 * SECOND, 20)
        put(path, note("new"))
        with bench(path, []) as work:
            work.now_us = START + 90 * SECOND
            work.round()
        second = page(con, "p1", START + 100 * SECOND, 20, first.next)
        third = page(con, "p1", START + 100 * SECOND, 20, second.next)
    ids = [item.id for each in (first, second, third) for item in each.items]
    assert ids == [f"i{n:03}" for n in reversed(range(45))]
    assert third.next is None and (first.unread, second.unread) == (45, 46)


def test_items_of_one_instant_are_each_on_one_page(path: Path) -> None:
    put(path, *(note(f"i{n}") for n in range(7)))
    with bench(path, []) as work:
        work.round()
    ids, after = [], None
    with closing(sqlite3.connect(path)) as con:
        while True:
            found = page(con, "p1", START, 2, after)
            ids += [item.id for item in found.items]
            if (after := found.next) is None:
                break
    assert ids == [f"i{n}" for n in reversed(range(7))]


def test_marks_count_once_and_end_a_badge(path: Path) -> None:
    filled(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        assert mark(con, "p1", "i000", "seen", START + 10) and mark(con, "p1", "i000", "seen", START + 20)
        assert mark(con, "p1", "i001", "read", START + 30)
        assert mark(con, "p1", "i002", "dismissed", START + 40)
        assert not mark(con, "p2", "i000", "read", START + 50), "of another person"
        found = page(con, "p1", START + 60)
    assert [(item.id, item.seen_us, item.read_us) for item in found.items] == [
        ("i001", START + 30, START + 30), ("i000", START + 10, None),
    ]  # fmt: skip
    assert (found.unseen, found.unread) == (0, 1)


def test_an_item_ends_with_its_days_and_with_its_reason(path: Path) -> None:
    filled(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        mark(con, "p1", "i001", "read", START)
        assert retract_items(con, ["i000", "i001", "unknown"]) == 1, "what was read stays"
        assert [item.id for item in page(con, "p1", START + 3 * SECOND).items] == ["i002", "i001"]
        assert [item.id for item in page(con, "p1", START + 30 * DAY + SECOND).items] == ["i002"]
        assert page(con, "p1", START + 31 * DAY).unread == 0


def test_a_message_whose_reason_dies_before_it_is_shown_is_not_shown(path: Path) -> None:
    put(path, note("i1"), message("w1", channel="webhook"))
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        assert retract_items(con, ["i1", "w1"]) == 1
    with bench(path, []) as work:
        work.round()
    assert statuses(path)["i1"] == ("suppressed", 0, "died") and rows(path, "SELECT * FROM feed") == []


@pytest.mark.parametrize("cursor", ["x", "!!", "YWJj", "é"])
def test_a_cursor_that_is_none_is_refused(path: Path, cursor: str) -> None:
    filled(path, 1)
    with closing(sqlite3.connect(path)) as con, pytest.raises(CursorError):
        page(con, "p1", START, 20, cursor)


@pytest.mark.parametrize(
    ("token", "user"),
    [
        (feed_token(KEY, "u1", 60, now=1000.0), "u1"),
        (feed_token(KEY, "ü/1 .", 60, now=1000.0), "ü/1 ."),
        (feed_token(KEY, "u1", 60, now=900.0), None),
        (feed_token("other" * 8, "u1", 60, now=1000.0), None),
        (feed_token(KEY, "u1", 60, now=1000.0)[:-1], None),
        (feed_token(KEY, "u1", 60, now=1000.0).replace("v1.", "v2."), None),
        ("", None), ("v1..", None), ("é", None), ("v1." + "a" * 5000, None),
    ],
)  # fmt: skip
def test_a_token_is_of_one_user_for_a_time(token: str, user: str | None) -> None:
    assert feed_user(KEY, token, now=1010.0) == user


# Over HTTP


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A collector with three items of `u 1` in its feed, and one of u2."""
    folder = tmp_path_factory.mktemp("feed")
    state = folder / "state"
    (folder / "triggers.yaml").write_text("rules: {}\n")
    (folder / "gtm.toml").write_text(
        'triggers_file = "triggers.yaml"\nstate_dir = "state"\n[feed]\nkey_env = "FEED_KEY"\n'
        '[collector]\nport = 0\ncors_origins = ["https://app.example"]\n'
    )
    pseudonymize = Pseudonymizer(load_or_create_key(state / "keys"))
    path = state / "triggers.db"
    (state / "templates").mkdir()
    (state / "templates" / "note.j2").write_text("Title: {{ properties.plan }}\n\nGo.\n")
    now = time.time_ns() // 1000
    ours = [note(f"i{n}", pseudonymize("u 1"), expires_us=now + DAY, decided_us=now) for n in range(3)]
    put(path, *ours, note("other", pseudonymize("u2"), expires_us=now + DAY, decided_us=now))
    with bench(path, []) as work:
        work.now_us = now
        work.round()
    process = subprocess.Popen(
        [sys.executable, "-m", "gtm_dagster.cli", "--config", "gtm.toml", "collect", "--port", "0"], cwd=folder,
        env={**os.environ, "FEED_KEY": KEY},
    )  # fmt: skip
    try:
        until = time.monotonic() + 30
        while (address := running_address(state)) is None or not _ready(address):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        yield address, path
    finally:
        process.terminate()
        process.wait()


def _ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/livez", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def headers(user: str = "u 1", **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {feed_token(KEY, user)}",
        **{key.replace("_", "-"): value for key, value in more.items()},
    }


def test_a_page_of_the_product_reads_marks_and_asks_again(collector: tuple[str, Path]) -> None:
    address, _ = collector
    first = requests.get(f"{address}/feed/u%201?limit=2", headers=headers(Origin="https://app.example"), timeout=10)
    assert first.status_code == 200 and first.headers["cache-control"] == "private, no-cache"
    assert first.headers["access-control-allow-origin"] == "https://app.example"
    assert "etag" in first.headers["access-control-expose-headers"]
    document = first.json()
    assert [item["id"] for item in document["items"]] == ["i2", "i1"] and (document["unseen"], document["unread"]) == (
        3,
        3,
    )
    assert set(document["items"][0]) == {
        "id",
        "rule",
        "title",
        "text",
        "html",
        "link",
        "created_at",
        "seen_at",
        "read_at",
    }
    rest = requests.get(
        f"{address}/feed/u%201", params={"after": document["next"]}, headers=headers(), timeout=10
    ).json()
    assert ([item["id"] for item in rest["items"]], rest["next"]) == (["i0"], None)
    again = requests.get(
        f"{address}/feed/u%201?limit=2", headers=headers(If_None_Match=first.headers["etag"]), timeout=10
    )
    assert (again.status_code, again.content) == (304, b"")
    marked = requests.post(f"{address}/feed/i1/read", headers=headers(), timeout=10)
    assert (marked.status_code, marked.json()) == (200, {"unseen": 2, "unread": 2})
    changed = requests.get(
        f"{address}/feed/u%201?limit=2", headers=headers(If_None_Match=first.headers["etag"]), timeout=10
    )
    assert changed.status_code == 200 and changed.json()["items"][1]["read_at"].endswith("Z")
    assert requests.post(f"{address}/feed/i0/dismissed", headers=headers(), timeout=10).json() == {
        "unseen": 1,
        "unread": 1,
    }


@pytest.mark.parametrize(
    ("method", "place", "given", "status", "code"),
    [
        ("GET", "u%201", {}, 401, "no_token"),
        ("GET", "u%201", {"Authorization": "Bearer nonsense"}, 401, "bad_token"),
        ("GET", "u%201", {"Authorization": f"Bearer {feed_token('x' * 32, 'u 1')}"}, 401, "bad_token"),
        ("GET", "u2", None, 403, "foreign_feed"),
        ("GET", "u%201?limit=0", None, 400, "bad_limit"),
        ("GET", "u%201?limit=1000", None, 400, "bad_limit"),
        ("GET", "u%201?after=nonsense", None, 400, "bad_cursor"),
        ("POST", "other/read", None, 404, "no_item"),
        ("POST", "i1/liked", None, 404, "not_found"),
        ("POST", "i1", None, 404, "not_found"),
        ("DELETE", "i1", None, 405, "method_not_allowed"),
    ],
)  # fmt: skip
def test_what_is_refused(collector: tuple[str, Path], method: str, place: str, given, status: int, code: str) -> None:
    address, _ = collector
    answer = requests.request(
        method, f"{address}/feed/{place}", headers=headers() if given is None else given, timeout=10
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_page_of_another_site_may_not_ask(collector: tuple[str, Path]) -> None:
    address, _ = collector
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization, if-none-match"}
    ours = requests.options(f"{address}/feed/u1", headers={"Origin": "https://app.example", **asked}, timeout=10)
    assert ours.status_code == 204 and "if-none-match" in ours.headers["access-control-allow-headers"]
    foreign = requests.options(f"{address}/feed/u1", headers={"Origin": "https://evil.example", **asked}, timeout=10)
    assert foreign.status_code == 403


def test_a_feed_that_is_being_written_says_when_to_ask_again(collector: tuple[str, Path]) -> None:
    address, path = collector
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("BEGIN IMMEDIATE")
        assert requests.get(f"{address}/feed/u%201", headers=headers(), timeout=10).status_code == 200, (
            "readers never wait"
        )
        busy = requests.post(f"{address}/feed/i2/seen", headers=headers(), timeout=10)
        con.execute("ROLLBACK")
    assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (503, "busy", "1")
    assert requests.post(f"{address}/feed/i2/seen", headers=headers(), timeout=10).status_code == 200
