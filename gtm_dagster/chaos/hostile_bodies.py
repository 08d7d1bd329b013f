"""Bodies that are JSON, or nearly, and not what a sender would write: odd values, and large ones that are dear to read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

from gtm_dagster.chaos.malformed_http import event

LARGE = 4_900_000
"""Bytes of a large body, just under `collector.max_body_bytes`."""


def hostile_events() -> Iterator[tuple[str, bytes]]:
    """(name, JSON text) of single events with something odd in them; each is sent with a good neighbour in a list."""
    plain = json.dumps(event("odd"))
    texts = {
        "half a surrogate pair": r'"\ud800"', "NaN": "NaN", "Infinity": "-Infinity", "1e400": "1e400", "a number of 60,000 digits": "9" * 60_000,
        "depth 5,000": "[" * 5_000 + "]" * 5_000, "depth in objects": '{"a":' * 3_000 + "1" + "}" * 3_000, "NUL": r'"\u0000"', "a text of 70,000": f'"{"a" * 70_000}"',
        "escapes": f'"{chr(92) * 2 * 5_000}"', "null": "null", "true": "true", "an empty text": '""', "a list": "[1,2]", "an object": '{"a":{"b":[]}}',
        "minus zero": "-0.0", "2^63": "9223372036854775808", "10^30": "1" + "0" * 30, "a tiny number": "1e-400", "blank text": '"   "', "RTL override": '"\u202egnp.exe"',
        "terminal escape": r'"\u001b]0;title\u0007"', "SQL": '"\'; DROP TABLE events; --"', "markup": '"<script>alert(1)</script>"', "template": '"{{7*7}} ${7*7}"',
    }  # fmt: skip
    fields = ("event_id", "event_name", "timestamp", "user_id", "properties", "context")
    for name, value in texts.items():
        document = plain[:-1] + f', "properties": {{"path": {value}}}}}'
        yield f"{name} as a property", document.encode("utf-8", "surrogatepass")
    for field in fields:
        for name in ("null", "true", "an empty text", "a list", "an object", "10^30", "NUL", "terminal escape"):
            document = json.dumps({key: value for key, value in event("odd").items() if key != field})
            yield f"{name} as {field}", (document[:-1] + f', "{field}": {texts[name]}}}').encode()
    for moment in ("", "now", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", "1e10",
                   "2026-03-01T10:00:00+99:99", "2026-03-01T10:00:60Z", "-2026-03-01T10:00:00Z", "2026-03-01T25:00:00Z", "٢٠٢٦-٠٣-٠١T10:00:00Z"):  # fmt: skip
        yield f"timestamp {moment!r}", json.dumps(event("odd", timestamp=moment)).encode()
    for name in (
        "write_key",
        "received_at",
        "received_us",
        "plan_version",
        "verdict",
        "origin",
        "rules",
        "sealed",
        "key_role",
        "bot_reason",
        "trace_id",
        "__proto__",
    ):
        yield f"a forged {name}", json.dumps(event("odd", **{name: "forged"})).encode()
    yield "a key twice", (plain[:-1] + ', "event_id": "other"}').encode()
    yield "invalid UTF-8", plain.encode().replace(b"visitor", b"\xff\xfe")
    yield "overlong UTF-8", plain.encode().replace(b"visitor", b"\xc0\xaf")


def large_bodies(seed: int) -> Iterator[tuple[str, bytes]]:
    """(name, body) of up to LARGE bytes, each plain and as gzip; what a scanner that goes back would take hours for."""
    unclosed = rb"\"" * (LARGE // 2 - 10)
    shapes = {
        "an unclosed text of escaped quotes": b'["' + unclosed,
        "the same behind a good event": b"[" + json.dumps(event(f"before-{seed}")).encode() + b',"' + unclosed,
        "the same with its brackets closed": b'["' + unclosed + b"]}]",
        "events with NaN": b"[" + b'{"a":NaN},' * (LARGE // 10 - 1) + b"{}]",
        "an unclosed text": b'["' + b"a" * (LARGE - 10),
        "empty lists": b"[" + b"[]," * (LARGE // 3 - 2) + b"[]]",
        "lists in lists": b"[" * 1_000_000 + b"]" * 1_000_000,
        "opened lists": b"[" * LARGE,
        "one event of 5 MB": b'[{"a":"' + b"b" * (LARGE - 20) + b'"}]',
        "a number of 5 MB": b"[" + b"1" * (LARGE - 10) + b"]",
        "commas": b"[" + b"," * (LARGE - 2) + b"]",
        "colons": b'{"a"' + b":" * (LARGE - 10) + b"}",
        "backslashes": b'["' + b"\\" * (LARGE - 10) + b'"]',
        "half surrogate pairs": b'["' + rb"\ud800" * (LARGE // 6 - 4) + b'"]',
        "quotes": b"[" + b'"' * (LARGE - 2) + b"]",
        "blanks": b"[" + b" " * (LARGE - 2) + b"]",
        "objects never closed": b'{"a":' * (LARGE // 5),
        "keys": b"{" + b",".join(b'"%d":1' % n for n in range(LARGE // 11)) + b"}",
    }  # fmt: skip
    for name, body in shapes.items():
        yield name, body
        yield f"{name}, as gzip", gzip.compress(body, 1)
