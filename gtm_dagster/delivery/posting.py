"""One POST to the address of a sink of `[[notify]]`, and the reason it was not taken, which never names the address."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gtm_dagster.admission.trace_context import traceparent
from gtm_dagster.delivery.http_exchange import Route, exchange
from gtm_dagster.delivery.signatures import SecretError, signed_headers, signing_keys

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow
    from gtm_dagster.settings import Notify

TIMEOUT_SECONDS = 5.0
"""From the look-up of the name to the last byte of the answer."""
OWN_ADDRESS = Route(allow=None, seconds=TIMEOUT_SECONDS, proxies=True)
"""Whoever writes `[[notify]]` runs the deployment: every address is theirs to name."""
_PLAIN_ID = re.compile(r"[A-Za-z0-9_:\[\]-]{1,200}")


def message_id(note: NotificationRow) -> str:
    """The message's id as a header takes it: the same at every attempt, so that a receiver can drop a copy."""
    if _PLAIN_ID.fullmatch(note.id):
        return note.id
    return f"msg_{hashlib.sha256(note.id.encode()).hexdigest()[:32]}"


def post_json(note: NotificationRow, declared: Notify, environ: Mapping[str, str], body: dict[str, Any]) -> str | None:
    """POST `body` to the sink's address (in gtm.toml, or in the variable it names); redirects are not followed.

    The headers are those of Standard Webhooks: the message's id, the time of this attempt (seconds since 1970, UTC), and
    a signature where the sink has a secret. `traceparent` belongs to the trace of the event that caused the message, where
    its payload has a `trace_id`; else all messages of an episode are one trace.
    """
    url = declared.url or environ.get(declared.url_env or "")
    if not url:
        variable = declared.url_env
        return f"no address: set {variable}" if variable else "no address: give url or url_env under [[notify]]"
    secret = environ.get(declared.secret_env) if declared.secret_env else None
    if declared.secret_env and not secret:
        return f"no secret to sign with: set {declared.secret_env}"
    raw = json.dumps(body, ensure_ascii=False).encode()
    try:
        keys = signing_keys(secret)
    except SecretError as error:
        return f"{declared.secret_env}: {error}"
    headers = {
        "Content-Type": "application/json",
        "traceparent": traceparent(json.loads(note.payload).get("trace_id"), note.id, note.episode or note.id),
        **signed_headers(keys, message_id(note), int(time.time()), raw),
    }
    return exchange(url, "POST", raw, headers, OWN_ADDRESS).error
