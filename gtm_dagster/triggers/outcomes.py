"""What rules want and what becomes of it: wants, actions, holds, and the reasons for sending nothing."""

from __future__ import annotations

from hashlib import sha1
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from gtm_dagster.triggers.compiled_rule import Kind, Rule

_NAMESPACE = UUID("8f0c7a1e-5a2d-5c36-9a54-2f1d3c1f7b60")
Reason = Literal[
    "already_open", "behind", "blind", "bot", "cancelled", "capped", "cooldown", "died_while_behind", "died_while_held",
    "duplicate", "expired", "fault", "held_too_long", "holdout", "no_consent", "no_key", "no_zone", "once", "paused",
    "rule_changed", "server_event", "stale_start", "too_many_open", "warm_up",
]  # fmt: skip
REASONS: dict[Reason, str] = {
    "already_open": "an earlier start of the same person and key covers it",
    "behind": "the worker had not read the log to its end",
    "blind": "nobody was heard who would have reported the cancelling event",
    "bot": "a program sent the event",
    "cancelled": "a cancelling event came in time",
    "capped": "the person got as many messages of the channel as the cap allows",
    "cooldown": "the rule acted for the person a short time before",
    "died_while_behind": "a cancelling event stood further on in the log",
    "died_while_held": "a cancelling event came while the message waited",
    "duplicate": "the same start was decided before",
    "expired": "it was too late to be worth sending",
    "fault": "the rule raised an error for the person, so nothing is claimed about them",
    "held_too_long": "it would have waited longer than max_hold",
    "holdout": "the person is in the group that gets nothing, for comparison",
    "no_consent": "the person did not consent to the purpose",
    "no_key": "the event lacks the property that is the rule's key",
    "no_zone": "the person's time zone is not known and the rule has no default",
    "once": "the rule acts once for a person, and did",
    "paused": "the rule was paused when its condition became true",
    "rule_changed": "the rule was changed with on_change: cancel, or is gone",
    "server_event": "a server sent the event, and the marketing rule does not say servers: true",
    "stale_start": "the time to wait was over when the start arrived",
    "too_many_open": "the person has too many open starts of the rule",
    "warm_up": "it became true before the worker's first start, which read the past to fill its state",
}
"""What each reason means, for people."""


def action_id(rule: str, kind: Kind, trigger_event_id: str, step: int = 0) -> str:
    """The identity of an action: the same for whoever decides it, whenever, under any version of the rule.

    `uuid5` of RFC 9562, written out: a message more costs a fifth of what the standard library's object does.
    """
    digest = bytearray(sha1(_NAMESPACE.bytes + msgspec.json.encode([rule, kind, trigger_event_id, step])).digest()[:16])  # noqa: S324
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Want(Struct, frozen=True, gc=False):
    """A rule wants to act. `at_us`: the start's time; `due_us`: when the condition became true."""

    rule: Rule
    trigger_event_id: str
    at_us: int
    due_us: int
    key: str = ""

    @property
    def action_id(self) -> str:
        return action_id(self.rule.name, self.rule.kind, self.trigger_event_id)


class Action(Struct, frozen=True, gc=False):
    """What is to be sent. Times are microseconds UTC; `at_us` - `due_us` is how late it is."""

    action_id: str
    rule: str
    person: str
    channel: str
    target: str
    trigger_event_id: str
    key: str
    due_us: int
    at_us: int
    expires_us: int


class Hold(Struct, frozen=True, gc=False):
    """A want that waits: it is asked again at `until_us`, if a cancelling event does not end it before."""

    want: Want
    reason: Literal["quiet", "behind"]
    until_us: int


class NonSend(Struct, frozen=True, gc=False):
    """A start that leads to nothing. `detail`: the event that ended it, or the numbers; `next_us`: when it could again."""

    rule: str
    trigger_event_id: str
    key: str
    reason: Reason
    at_us: int
    detail: str = ""
    next_us: int | None = None
