"""Requests of the numbered scenarios, and what is looked at of their answers."""

from __future__ import annotations

import json
from typing import Any

import requests
from collector_server import Server

KEY = {"X-Write-Key": "dev"}


def event(event_id: str, **changed: Any) -> dict[str, Any]:
    return {"event_id": event_id, "event_name": "page_viewed", "timestamp": "2026-03-01T10:00:00Z", "anonymous_id": "v", **changed}  # fmt: skip


def post(server: Server, body: Any, headers: dict[str, str] | None = None, path: str = "/ingest") -> requests.Response:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(f"{server.url}{path}", data=sent, headers=KEY if headers is None else headers, timeout=60)


def statuses(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["status"] for each in answer.json()["results"]]
