"""`GET /feed/{person}` and `POST /feed/{id}/{seen,read,dismissed}`: a person's feed, with a token the product's backend made.

The person is the user id as the product has it; its pseudonym is looked for. Answers are the person's own: no cache between
keeps them, and a browser that has the page already gets 304.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from gtm_dagster.collector.body import Receive
from gtm_dagster.collector.headers import Scope, header, headers, query_value
from gtm_dagster.collector.response import Refused, Response
from gtm_dagster.delivery.feed_items import MARKS, MOST, CursorError, Item, Mark, Page, mark, page
from gtm_dagster.tracking.feed_token import feed_user

PAGE_ITEMS = 20
BUSY_SECONDS = 2.0
MOST_WAITING = 64
_PRIVATE = (b"cache-control", b"private, no-cache")


class FeedPages:
    """Answers of one trigger database. `clock_us`: microseconds UTC."""

    def __init__(
        self,
        path: Path,
        key: str,
        pseudonymize: Callable[[str], str],
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._path, self._key, self._pseudonymize, self._clock_us = path, key, pseudonymize, clock_us
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="feed")
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive) -> Response:
        """200 with a page, 304 without a change, 200 with the counts after a mark. Raises Refused."""
        now_us = self._clock_us()
        user = self._user(scope, now_us)
        if scope["method"] == "POST":
            action_id, word = _marked(scope["path"])
            return await self._in_thread(self._mark, self._pseudonymize(user), action_id, word, now_us)
        person = scope["path"].removeprefix("/feed/")
        if person != user:
            raise Refused(403, "foreign_feed", "the token is of another person")
        limit, after = _limit(query_value(scope, "limit")), query_value(scope, "after")
        response = await self._in_thread(self._page, self._pseudonymize(user), limit, after, now_us)
        tag = b'"' + hashlib.sha256(response.body).hexdigest()[:32].encode() + b'"'
        known = {
            part.strip().removeprefix(b"W/") for line in headers(scope, b"if-none-match") for part in line.split(b",")
        }
        if tag in known:
            return Response(304, b"", headers=((b"etag", tag), _PRIVATE))
        return msgspec.structs.replace(response, headers=((b"etag", tag), _PRIVATE))

    def _user(self, scope: Scope, now_us: int) -> str:
        scheme, _, token = (header(scope, b"authorization") or b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(
                401, "no_token", "send the person's token as a Bearer token; your backend makes it with feed_token"
            )
        user = feed_user(self._key, token.strip(), now_us / 1e6)
        if user is None:
            raise Refused(401, "bad_token", "the token is over, or was made with another key")
        return user

    async def _in_thread(self, work: Callable[..., Response], *arguments: Any) -> Response:
        if self._waiting >= MOST_WAITING:
            raise Refused(503, "busy", "requests of feeds wait already; ask again", 1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except sqlite3.OperationalError:
            raise Refused(503, "busy", "the feed is being written; ask again", 1) from None
        finally:
            self._waiting -= 1

    def _page(self, person: str, limit: int, after: str | None, now_us: int) -> Response:
        try:
            found = self._read(lambda con: page(con, person, now_us, limit, after), Page((), 0, 0, None))
        except CursorError as error:
            raise Refused(400, "bad_cursor", str(error)) from None
        return Response(200, msgspec.json.encode({
            "items": [_shown(item) for item in found.items], "unseen": found.unseen, "unread": found.unread, "next": found.next,
        }))  # fmt: skip

    def _mark(self, person: str, action_id: str, word: Mark, now_us: int) -> Response:
        def write(con: sqlite3.Connection) -> Page | None:
            if not mark(con, person, action_id, word, now_us):
                return None
            return page(con, person, now_us, 1)

        after = self._read(write, None)
        if after is None:
            raise Refused(404, "no_item", "there is no such item in this person's feed")
        return Response(200, msgspec.json.encode({"unseen": after.unseen, "unread": after.unread}))

    def _read(self, work: Callable[[sqlite3.Connection], Any], without: Any) -> Any:
        """`work` on the database; `without` where no trigger has run yet."""
        if not self._path.exists():
            return without
        place = f"{self._path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(place, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as con:
            return work(con)


def _marked(path: str) -> tuple[str, Mark]:
    action_id, _, word = path.removeprefix("/feed/").rstrip("/").rpartition("/")
    if not action_id or word not in MARKS:
        raise Refused(404, "not_found", f"POST goes to /feed/ID/MARK with a mark of {', '.join(MARKS)}")
    return action_id, cast(Mark, word)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_ITEMS
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST):
        raise Refused(400, "bad_limit", f"limit {text[:20]!r} is not a whole number from 1 to {MOST}")
    return int(text)


def _shown(item: Item) -> dict[str, Any]:
    return {
        "id": item.id, "rule": item.rule, "title": item.title, "text": item.text, "html": item.html, "link": item.link,
        "created_at": _time(item.created_us), "seen_at": _time(item.seen_us), "read_at": _time(item.read_us),
    }  # fmt: skip


def _time(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).isoformat().replace("+00:00", "Z")
