"""Events of an NDJSON file, to try a rule on: in the native shape, judged by the tracking plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.taxonomy import Accepted, EventValidator
from gtm_dagster.taxonomy.event import Event
from gtm_dagster.taxonomy.plan import Plan
from gtm_dagster.taxonomy.times import read_time
from gtm_dagster.triggers.rule_lint import CONTEXT_FIELDS
from gtm_dagster.triggers.trigger_event import TriggerEvent

MOST_LINES = 100_000


class EventLineError(ValueError):
    """A file of events that cannot be used; each problem names the file and the line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_event_lines(path: Path, plan: Plan) -> list[TriggerEvent]:
    """The events of a file in the order of receipt (`received_at`, without it their own time). Raises EventLineError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EventLineError(f"--event {path}: cannot be read ({error})") from error
    if len(lines) > MOST_LINES:
        raise EventLineError(
            f"--event {path}: {len(lines)} lines are more than {MOST_LINES}; use `gtm trigger backtest`"
        )
    validator = EventValidator(plan)
    events: list[TriggerEvent] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        event = _judged(validator, line, number)
        if isinstance(event, TriggerEvent):
            events.append(event)
        else:
            problems += [f"{path} line {number}: {problem}" for problem in event]
    if problems:
        raise EventLineError(*problems)
    if not events:
        raise EventLineError(f"--event {path}: has no event")
    return sorted(events, key=lambda each: each.received_us)


def _judged(validator: EventValidator, line: str, number: int) -> TriggerEvent | list[str]:
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError) as error:
        return [f"not JSON ({error})"]
    if not isinstance(document, dict):
        return ["not an event: give a JSON object a line"]
    received: Any = document.pop("received_at", None)
    verdict = validator.validate(document, make_id=lambda: f"line-{number}")
    if not isinstance(verdict, Accepted):
        return [f"{error.path}: {error.message}" if error.path else error.message for error in verdict.errors]
    received_us = verdict.event.event_us if received is None else read_time(str(received))
    if not isinstance(received_us, int):
        return [f"received_at: {received!r} is not a time; give RFC 3339 such as 2026-03-01T09:30:00Z"]
    return trigger_event(verdict.event, received_us)


def trigger_event(event: Event, received_us: int) -> TriggerEvent:
    """An accepted event as rules see it."""
    return TriggerEvent(
        event_id=event.event_id,
        name=event.event_name,
        at_us=event.event_us,
        received_us=received_us,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        properties=event.properties,
        context={name: value for name in CONTEXT_FIELDS if (value := getattr(event, name)) is not None},
        timezone=event.timezone,
        consent=event.consent or {},
        bot=bool(event.bot_reason),
    )
