"""A trigger message as a webhook: JSON as Standard Webhooks advises (type, timestamp, data), signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from gtm_dagster.delivery.attempt import Attempt, Leased, by_http
from gtm_dagster.delivery.http_exchange import Route, exchange
from gtm_dagster.delivery.signatures import signed_headers


@dataclass(frozen=True)
class WebhookSender:
    """Any address that takes JSON by POST."""

    url: str
    keys: tuple[bytes, ...]
    route: Route

    def send(self, messages: Sequence[Leased], at_us: int) -> Attempt:
        """POST one message: its id is that of every attempt, its time that of this one."""
        (message,) = messages
        body = webhook_body(message)
        trace = message.payload.get("traceparent")
        headers = {
            "Content-Type": "application/json",
            **({"traceparent": trace} if isinstance(trace, str) else {}),
            **signed_headers(self.keys, message.action_id, at_us // 1_000_000, body),
        }
        return by_http(exchange(self.url, "POST", body, headers, self.route))


def webhook_body(message: Leased) -> bytes:
    """type (trigger.RULE), timestamp (of the decision, RFC 3339), data: rule, person, purpose and the payload."""
    return msgspec.json.encode(
        {
            "type": f"trigger.{message.rule}",
            "timestamp": datetime.fromtimestamp(message.decided_us / 1e6, UTC).isoformat().replace("+00:00", "Z"),
            "data": {**message.payload, "rule": message.rule, "person": message.person, "purpose": message.purpose},
        }
    )
