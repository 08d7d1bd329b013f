"""What came of one attempt to send a message, and what is sent, whatever the channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gtm_dagster.delivery.http_exchange import Answer, Outcome

GONE = 410


@dataclass(frozen=True)
class Leased:
    """A message that one deliverer has. `attempt` counts from 1; times are microseconds UTC."""

    action_id: str
    rule: str
    person: str
    purpose: str
    channel: str
    target: str
    payload: Mapping[str, Any]
    attempt: int
    since_replay: int
    expires_us: int
    received_us: int
    decided_us: int
    collapse_key: str

    def named(self) -> dict[str, Any]:
        """What a template may name (`message_templates.NAMES`); a property that is null is absent, as in the plan."""
        event = self.payload.get("event") or {}
        properties = {name: value for name, value in (event.get("properties") or {}).items() if value is not None}
        return {
            "rule": self.rule, "person": self.person, "key": self.payload.get("key"), "due_at": self.payload.get("due_at"),
            "event": event, "properties": properties,
        }  # fmt: skip


@dataclass(frozen=True)
class Attempt:
    """`final`: nobody sends it again. `suppressed`: why it is not sent at all. `gone`: the destination wants no more.

    `blamed`: whether the destination, not the message, is the reason that it failed.
    """

    outcome: Outcome
    code: int | None = None
    error: str | None = None
    seconds: float = 0.0
    wait_seconds: float | None = None
    throttled: bool = False
    final: bool = False
    suppressed: str | None = None
    gone: bool = False
    blamed: bool = True


def by_http(answer: Answer) -> Attempt:
    """The attempt of an answer over HTTP: 410 is the end of the destination."""
    return Attempt(
        answer.outcome, answer.status, answer.error, answer.seconds, answer.wait_seconds, answer.throttled,
        gone=answer.status == GONE, final=answer.status == GONE,
    )  # fmt: skip


def not_rendered(error: str) -> Attempt:
    """A message whose template fails: the destination has no part in it, and a deploy may mend it."""
    return Attempt("failed", error=error, blamed=False)
