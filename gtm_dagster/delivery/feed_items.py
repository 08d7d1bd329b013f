"""The feed of a person inside the product: newest first, page by page, each item unseen, seen, read or dismissed.

An item is shown until it expires; one whose reason died before it was read is taken back.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from gtm_dagster.delivery.attempt import Leased
    from gtm_dagster.delivery.message_templates import Rendered

DAY_US = 86_400_000_000
MOST = 100
Mark = Literal["seen", "read", "dismissed"]
MARKS: tuple[Mark, ...] = ("seen", "read", "dismissed")
_SHOWN = "person = ? AND dismissed_us IS NULL AND expires_us > ?"


class Item(Struct, frozen=True):
    """An item as it is shown. Times are microseconds UTC; `html` is safe to show, `link` is http(s) or a path of the product."""

    id: str
    rule: str
    title: str
    text: str
    html: str
    link: str | None
    created_us: int
    seen_us: int | None
    read_us: int | None


class Page(Struct, frozen=True):
    """Items, newest first; how many are unseen and unread in all; `next` asks for the page behind this one."""

    items: tuple[Item, ...]
    unseen: int
    unread: int
    next: str | None


class CursorError(ValueError):
    """A cursor that is none of ours."""


def add_item(con: sqlite3.Connection, message: Leased, content: Rendered, now_us: int, days: int) -> None:
    """Put a message into its person's feed, once."""
    shown = {
        "title": content.headers["Title"],
        "text": content.text,
        "html": content.html,
        "link": content.headers.get("Link"),
    }
    con.execute(
        "INSERT OR IGNORE INTO feed (action_id, person, rule, content, created_us, expires_us) VALUES (?, ?, ?, ?, ?, ?)",
        (message.action_id, message.person, message.rule, msgspec.json.encode(shown).decode(), now_us, now_us + days * DAY_US),
    )  # fmt: skip


def retract_items(con: sqlite3.Connection, action_ids: Iterable[str]) -> int:
    """Take items back whose reason died, in the caller's transaction; what was read stays. A message that still waits is
    suppressed: `died`. Returns how many of both.
    """
    ids = [(each,) for each in action_ids]
    taken = con.executemany("DELETE FROM feed WHERE action_id = ? AND read_us IS NULL", ids).rowcount
    waiting = con.executemany(
        "UPDATE outbox SET status = 'suppressed', last_error = 'died', ended_us = next_us WHERE action_id = ?"
        " AND channel = 'in_app' AND status = 'due'",
        ids,
    ).rowcount
    return max(taken, 0) + max(waiting, 0)


def page(con: sqlite3.Connection, person: str, now_us: int, limit: int = 20, after: str | None = None) -> Page:
    """A page of a person's feed: `limit` items at most, behind the cursor `after`. Raises CursorError."""
    at_us, last = _decoded(after) if after else (2**62, "")
    rows = con.execute(
        f"SELECT action_id, rule, content, created_us, seen_us, read_us FROM feed WHERE {_SHOWN}"  # noqa: S608
        " AND (created_us, action_id) < (?, ?) ORDER BY created_us DESC, action_id DESC LIMIT ?",
        (person, now_us, at_us, last, min(max(limit, 1), MOST) + 1),
    ).fetchall()
    more = len(rows) > min(max(limit, 1), MOST)
    shown = rows[:-1] if more else rows
    unseen, unread = con.execute(
        f"SELECT count(*) FILTER (WHERE seen_us IS NULL), count(*) FILTER (WHERE read_us IS NULL) FROM feed WHERE {_SHOWN}",  # noqa: S608
        (person, now_us),
    ).fetchone()
    following = _encoded(shown[-1][3], shown[-1][0]) if more else None
    return Page(tuple(_item(row) for row in shown), unseen, unread, following)


def mark(con: sqlite3.Connection, person: str, action_id: str, word: Mark, now_us: int) -> bool:
    """Note that an item was seen, read (and so seen) or dismissed, the first time; False when the person has no such item."""
    columns = {"seen": ("seen_us",), "read": ("seen_us", "read_us"), "dismissed": ("dismissed_us",)}[word]
    assignments = ", ".join(f"{column} = COALESCE({column}, :now)" for column in columns)
    done = con.execute(
        f"UPDATE feed SET {assignments} WHERE action_id = :id AND person = :person AND expires_us > :now",  # noqa: S608
        {"now": now_us, "id": action_id, "person": person},
    )
    return done.rowcount == 1


def _item(row: tuple[Any, ...]) -> Item:
    action_id, rule, content, created_us, seen_us, read_us = row
    shown = msgspec.json.decode(content)
    return Item(action_id, rule, shown["title"], shown["text"], shown["html"], shown["link"], created_us, seen_us, read_us)  # fmt: skip


def _encoded(created_us: int, action_id: str) -> str:
    return base64.urlsafe_b64encode(f"{created_us}:{action_id}".encode()).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[int, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        at_us, _, action_id = text.partition(":")
        return int(at_us), action_id
    except (binascii.Error, ValueError):
        raise CursorError("the cursor is not one of this feed; take `next` of the page before") from None
