"""Trigger messages as one message of Slack: the text of one, or how many there were and the texts of the first of them.

An incoming webhook answers 200 and `ok`; 400 `invalid_payload`, 403 `action_prohibited` and 404 `no_service` do not change
by asking again, 410 `channel_is_archived` is its end, and it takes about one message a second (docs.slack.dev).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from gtm_dagster.delivery.attempt import Attempt, Leased, by_http, not_rendered
from gtm_dagster.delivery.http_exchange import Route, exchange
from gtm_dagster.delivery.message_templates import MessageTemplateError, MessageTemplates

SHOWN = 10
"""So many texts of a message that stands for several."""
LONGEST = 3_000
_FINAL = frozenset({400, 403, 404})


@dataclass(frozen=True)
class SlackSender:
    """A channel behind an incoming webhook."""

    url: str
    route: Route
    templates: MessageTemplates

    def send(self, messages: Sequence[Leased], at_us: int) -> Attempt:
        """POST one message for all of `messages`, which are of one rule or collapse key."""
        try:
            text = self.text(messages)
        except MessageTemplateError as error:
            return not_rendered(str(error))
        body = msgspec.json.encode({"text": text})
        headers = {"Content-Type": "application/json", "webhook-id": messages[0].action_id}
        attempt = by_http(exchange(self.url, "POST", body, headers, self.route))
        if attempt.code in _FINAL:
            return replace(attempt, final=True)
        return attempt

    def text(self, messages: Sequence[Leased]) -> str:
        """The text of one message; of several `7 x RULE in 60 s` and the first texts. Raises MessageTemplateError."""
        texts = [
            self.templates.render("slack", each.target.partition("@")[0], each.named()).text
            for each in messages[:SHOWN]
        ]
        if len(messages) == 1:
            return texts[0][:LONGEST]
        times = [each.decided_us for each in messages]
        seconds = max(round((max(times) - min(times)) / 1e6), 1)
        head = f"{len(messages)} x {messages[0].collapse_key} in {seconds} s"
        more = [f"and {len(messages) - SHOWN} more"] if len(messages) > SHOWN else []
        return "\n".join([head, *(f"• {' '.join(text.split())}" for text in texts), *more])[:LONGEST]
