"""Personal values that are planted in every field of an event, and a search for them in everything a deployment keeps.

Each value is planted once, so a value that is found says where it came from. `needles` are what would give it away:
the text itself, and the digits of a number however they are grouped.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow.parquet as pq

CONTEXT = ("source", "medium", "campaign", "term", "content", "click_id", "country", "region", "locale", "timezone")
MARK = "zbigniewcanary"
"""Part of every planted name, e-mail address and free text."""


_SHAPES = re.compile(
    rf"(?i:{MARK})|198\.51\.\d+\.\d+|2001:db8:[0-9a-f]+::c0de|\+49 170 55\d{{5}}|17055\d{{5}}|0170-66\d{{5}}|17066\d{{5}}"
    r"|4111 11\d\d \d{4} \d{4}|411111\d{10}"
)
"""The shapes of all planted values; which of them were planted is looked up."""


def _card(number: int) -> str:
    digits = f"411111{number:09d}"
    doubled = [int(d) * (2 - place % 2) for place, d in enumerate(digits)]
    check = -sum(sum(divmod(value, 10)) for value in doubled) % 10
    return " ".join((digits + str(check))[start : start + 4] for start in range(0, 16, 4))


@dataclass
class Canaries:
    """Makes values no other has. `planted`: by place, the needles of what was planted there."""

    way: int
    planted: dict[str, list[str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def __call__(self, kind: str, place: str) -> str:
        """A new value of `kind` for `place`."""
        n = next(self._numbers)
        number = self.way * 1_000 + n
        text = {
            "mail": f"{MARK}{number}@example.org",
            "mail twice": f"{MARK}{number}%2540example.org",
            "name": f"{MARK.title()} Kowalska{number}",
            "id": f"{MARK}-kowalska-{number}",
            "text": f"Please call {MARK} {number} at home",
            "json": f'{{"name": "{MARK}{number}"}}',
            "phone": f"+49 170 55{number:05d}",
            "local": f"0170-66{number:05d}",
            "ip4": f"198.51.{number // 250 % 250 + 1}.{number % 250 + 1}",
            "ip6": f"2001:db8:{number:x}::c0de",
            "card": _card(number),
        }[kind]
        found = [text] if MARK not in text.lower() else [re.search(rf"{MARK}[a-z -]*\d+", text, re.I)[0]]  # type: ignore[index]
        if kind in ("phone", "local", "card"):
            found.append(re.sub(r"\D", "", text)[-9 if kind == "phone" else -16 :].lstrip("0"))
        self.planted.setdefault(f"{place} ({kind})", []).extend(found)
        return text


def events(new: Canaries) -> list[dict[str, Any]]:
    """Events with a personal value in every field: kept, refused, and refused for want of consent."""
    ids = (f"t{new.way}-{n}" for n in count())
    planted_events: list[dict[str, Any]] = []

    def add(name: str = "page_viewed", context: dict[str, Any] | None = None, **changes: Any) -> None:
        event = {"event_id": next(ids), "event_name": name, "timestamp": "2026-03-02T10:00:00Z", "anonymous_id": "dev"}
        planted_events.append(event | {"context": context or {}, **changes})

    for kind in ("mail", "mail twice", "phone", "local", "ip4", "ip6", "card"):
        add(context={name: new(kind, f"context.{name}") for name in CONTEXT})
    for name in ("page_url", "referrer"):
        add(context={name: f"https://{new('id', name)}:pw@a.example/x?q={new('mail', name)}#{new('id', name)}"})
        for kind in ("mail", "mail twice", "phone", "card"):
            add(context={name: f"https://a.example/u/{new(kind, name)}/x".replace(" ", "%20")})
        add(context={name: f"https://{new('ip4', name)}/"})
        add(context={name: f"http://[{new('ip6', name)}]:8080/a"})
    for kind in ("id", "phone", "ip4", "ip6", "card", "mail", "text"):
        for name in ("user_id", "session_id", "anonymous_id"):
            add(**{name: new(kind, name)})
        add(event_id=new(kind, "event_id"))
    for kind in ("mail", "phone", "ip4", "card", "mail twice"):
        add(
            properties={"title": f"Hello {new(kind, 'declared title')} there", "path": f"/{new(kind, 'declared path')}"}
        )
    for kind in ("mail", "phone", "local", "ip4", "ip6", "card", "text", "json", "name"):
        add(properties={"x": new(kind, "undeclared")})
        add(properties={new(kind, "property key"): 1})
    add(properties={"n": int(new("card", "undeclared number").replace(" ", ""))})
    for name in (
        "userPhone",
        "homeAddress",
        "phone_number",
        "tel",
        "dob",
        "card",
        "first-name",
        "customerEmailAddress",
    ):
        add(properties={name: new("id", f"property {name}")})
    add("signup_completed", properties={"email": new("mail", "personal"), "company": new("name", "personal")})
    add("demo_requested", properties={"message": new("text", "free text")})
    # refused
    for kind in ("mail", "text", "phone", "card", "ip4", "ip6", "local"):
        add(new(kind, "unknown event"), properties={"x": new(kind, "of an unknown event")})
        add(timestamp=new(kind, "timestamp"))
        add("pricing_viewed", properties={"billing_period": new(kind, "not allowed")})
        add("payment_completed", properties={"amount": new(kind, "not a number"), "currency": new(kind, "pattern")})
        add("payment_completed", properties={"amount": 1, "currency": "EUR", new(kind, "unknown property"): 1})
    add("payment_completed", event_id=new("id", "event_id of a refused event"), properties={})
    # without consent
    add("nope", {"consent": {"analytics": False}, "source": new("mail", "suppressed")}, user_id=new("id", "suppressed"))
    add(new("text", "suppressed name"), {"consent": {"analytics": False}})
    # the same id with another content
    same = next(ids)
    add(event_id=same, context={"source": "a"})
    add(event_id=same, context={"source": new("mail", "conflict")})
    return planted_events


def raw_shapes(new: Canaries) -> list[dict[str, Any]]:
    """Events that only the native shape can say: nested values, fields nobody knows, and one that is too large."""
    base = {"event_name": "page_viewed", "timestamp": "2026-03-02T10:00:00Z", "anonymous_id": "dev"}
    events_ = [
        {"properties": {"x": {"deep": [new("mail", "nested property")]}}},
        {"context": {"ip": new("ip4", "context.ip"), "user_agent": new("text", "context.user_agent")}},
        {
            "context": {
                "device_type": new("text", "device_type"),
                new("card", "context key"): new("mail", "context key"),
            }
        },
        {"context": {"consent": {new("mail", "consent"): new("text", "consent")}}},
        {"context": {"source": {"a": new("mail", "context of another type")}}},
        {new("text", "envelope key"): new("mail", "envelope value"), new("card", "envelope key"): 1},
        {"email": new("mail", "envelope value"), "user_id": [new("mail", "list as an id")]},
        {"write_key": new("id", "forged write key"), "plan_version": new("text", "forged plan version")},
        {"properties": {"title": new("mail", "too large") + "x" * 70_000}, "event_id": new("id", "too large")},
        {"properties": [new("mail", "list as properties")]},
    ]
    return [{**base, "event_id": f"r{new.way}-{n}", **event} for n, event in enumerate(events_)]


def found_in(folder: Path, needles: set[str]) -> dict[str, list[str]]:
    """Which needles stand in which file, in its bytes or in what it holds unpacked."""
    result: dict[str, list[str]] = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        if path.name.endswith("-shm") and not path.exists():
            continue  # SQLite takes it away when the last connection closes, which may be the one of its store above
        for where, text in contents(path):
            hits = sorted(hit for hit in set(_SHAPES.findall(text)) if hit.lower() == MARK or hit in needles)
            if hits:
                result.setdefault(f"{path.relative_to(folder)} {where}", []).extend(hits)
    return result


def contents(path: Path) -> Iterator[tuple[str, str]]:
    """(where in the file, text) of its bytes, and of what it holds unpacked."""
    raw = path.read_bytes()
    yield "bytes", raw.decode("latin-1")
    if path.suffix == ".parquet":
        yield "columns", str(pq.read_table(path, partitioning=None).to_pylist())
    elif path.suffix == ".duckdb":
        yield from _duckdb(path)
    elif raw.startswith(b"SQLite format 3"):
        yield from _sqlite(path)


def _duckdb(path: Path) -> Iterator[tuple[str, str]]:
    with duckdb.connect(str(path), read_only=True) as con:
        for schema, table in con.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            yield f"{schema}.{table}", str(con.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall())


def _sqlite(path: Path) -> Iterator[tuple[str, str]]:
    con = sqlite3.connect(path)
    try:
        for (table,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in con.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    yield table, " ".join(_unpacked(cell))
    finally:
        con.close()


def _unpacked(cell: Any) -> Iterator[str]:
    if not isinstance(cell, bytes):
        yield str(cell)
        return
    yield cell.decode("latin-1")
    unpack: tuple[Callable[[bytes], bytes], ...] = (zlib.decompress, lambda data: zlib.decompress(data[1:]))
    for way in unpack:
        try:
            plain = way(cell)
        except zlib.error:
            continue
        yield plain.decode("latin-1")
        try:
            yield str(msgspec.msgpack.decode(plain))
        except (msgspec.DecodeError, ValueError):
            continue
