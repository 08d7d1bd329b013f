"""Where a write key may stand, requests that the key `dev` must not open, and what a heartbeat may look like."""

from __future__ import annotations

from collections.abc import Iterator

HEARTBEATS: list[object] = [
    None, True, 1, "a", [], {}, {"producer": None}, {"producer": ""}, {"producer": 1}, {"producer": "a" * 5_000}, {"producer": ["a"]},
    {"producer": "anna@example.org"}, {"producer": "two words"}, {"producer": "\x1b[2J"}, {"producer": "p", "ts": "yesterday"},
    {"producer": "p", "ts": -1}, {"producer": "p", "ts": 1e300}, {"producer": "p", "ts": []}, {"producer": "p", "ts": "2999-01-01T00:00:00Z"},
    {"producer": "p", "sent_at": "x"}, {"producer": "p", "closing": "x"}, {"producer": "p", "instance": 5}, {"producer": "p", "instance": "a" * 5_000},
]  # fmt: skip
"""Documents for POST /heartbeat, most of them wrong."""


def key_placements() -> Iterator[tuple[dict[str, str], str, bool]]:
    """(headers, path, whether an event is taken); headers as in `raw_http.request`, which sends the key `dev`."""
    yield from [
        ({}, "/ingest", True), ({"X-Write-Key": "", "Authorization": "Bearer dev"}, "/ingest", True),
        ({"X-Write-Key": "", "Authorization": "Basic ZGV2Og=="}, "/ingest", True), ({"X-Write-Key": ""}, "/ingest", False),
        *(({"X-Write-Key": value}, "/ingest", False) for value in ("nobody", "DEV", "dev\tdev", "dev;", "dev\\0", "d" * 9_000, "null", "*", "%64ev")),
        *(({"X-Write-Key": "", name: "dev"}, "/ingest", False) for name in ("X-Key", "Write-Key", "X-Api-Key", "Cookie", "Proxy-Authorization", "X_Write_Key")),
        *(({"X-Write-Key": "", "Authorization": value}, "/ingest", False) for value in
          ("dev", "Bearer", "Bearer ", "Bearer dev dev", "Basic", "Basic !!!", "Basic Og==", "Basic OmRldg==", "Digest dev", "Bearer " + "a" * 9_000)),
        *(({"X-Write-Key": ""}, path, False) for path in ("/ingest?write_key=dev", "/ingest?key=dev", "/ingest?X-Write-Key=dev")),
        *(({name: "203.0.113.9"}, "/ingest", False) for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "X-Forwarded-Host", "CF-Connecting-IP")),
        ({"Origin": "https://foreign.example"}, "/ingest", False), ({"Sec-Fetch-Site": "cross-site"}, "/ingest", False), ({"Host": "rebind.example"}, "/ingest", False),
    ]  # fmt: skip
