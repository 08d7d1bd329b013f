"""One POST to the address of a sink, and the reason it was not taken, which never names the address."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import requests

from gtm_dagster.admission.trace_context import traceparent

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow
    from gtm_dagster.settings import Notify

TIMEOUT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
"""So long an answer may drip in before it is cut off; its status counts all the same."""
ANSWER_BYTES = 65_536
_PLAIN_ID = re.compile(r"[A-Za-z0-9_:\[\]-]{1,200}")


def message_id(note: NotificationRow) -> str:
    """The message's id as a header takes it: the same at every attempt, so that a receiver can drop a copy."""
    if _PLAIN_ID.fullmatch(note.id):
        return note.id
    return f"msg_{hashlib.sha256(note.id.encode()).hexdigest()[:32]}"


def post_json(note: NotificationRow, declared: Notify, environ: Mapping[str, str], body: dict[str, Any]) -> str | None:
    """POST `body` to the sink's address (in gtm.toml, or in the variable it names); redirects are not followed.

    The headers are those of Standard Webhooks: the message's id, and the time of this attempt (seconds since 1970, UTC).
    `traceparent` belongs to the trace of the event that caused the message, where its payload has a `trace_id`; else all
    messages of an episode are one trace.
    """
    url = declared.url or environ.get(declared.url_env or "")
    if not url:
        variable = declared.url_env
        return f"no address: set {variable}" if variable else "no address: give url or url_env under [[notify]]"
    headers = {
        "webhook-id": message_id(note),
        "webhook-timestamp": str(int(time.time())),
        "traceparent": traceparent(json.loads(note.payload).get("trace_id"), note.id, note.episode or note.id),
    }
    try:
        with requests.post(
            url, json=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
        ) as response:
            status = response.status_code
            _drain(response)
    except requests.RequestException as error:
        return f"not reached ({type(error).__name__})"
    return None if status // 100 == 2 else f"answered {status}"


def _drain(response: requests.Response) -> None:
    """Take in the body, so that the sink can end its answer; not more of it than anybody needs."""
    until, size = time.monotonic() + ANSWER_SECONDS, 0
    try:
        for chunk in response.iter_content(4096):
            size += len(chunk)
            if size > ANSWER_BYTES or time.monotonic() > until:
                return
    except requests.RequestException:
        return  # the status has arrived
