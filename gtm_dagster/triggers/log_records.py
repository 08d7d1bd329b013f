"""Records of the event log as rules see them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from gtm_dagster.triggers.past_events import PROFILE_EVENTS
from gtm_dagster.triggers.rule_lint import CONTEXT_FIELDS
from gtm_dagster.triggers.trigger_event import TriggerEvent

COLUMNS = (
    "received_us", "verdict", "event_us", "event_name", "event_id", "user_id", "anonymous_id", "properties", "consent",
    "timezone", "bot_reason", "write_key", "trace_id", *CONTEXT_FIELDS,
)  # fmt: skip
_FIRST_CONTEXT = 1 + COLUMNS.index(CONTEXT_FIELDS[0])
_object = msgspec.json.Decoder(dict[str, Any]).decode


def trigger_events(
    rows: Iterable[tuple[Any, ...]], names: Collection[str]
) -> Iterator[tuple[int, TriggerEvent | None]]:
    """(offset, event) of rows of (offset, COLUMNS); None for a record that is not an accepted event with a person.

    Properties are read of the events `names` alone, and of those that say who a person is and allows.
    """
    return ((row[0], _event(row, names)) for row in rows)


def _event(row: tuple[Any, ...], names: Collection[str]) -> TriggerEvent | None:
    (_, received_us, verdict, event_us, name, event_id, user_id, anonymous_id, properties, consent, timezone, bot,
     write_key, trace_id) = row[:_FIRST_CONTEXT]  # fmt: skip
    if verdict != "accepted" or event_us is None or event_id is None or name is None or not (user_id or anonymous_id):
        return None
    wanted = properties and (name in names or name in PROFILE_EVENTS)
    context = zip(CONTEXT_FIELDS, row[_FIRST_CONTEXT:], strict=True)
    return TriggerEvent(
        event_id=event_id,
        name=name,
        at_us=event_us,
        received_us=received_us,
        user_id=user_id,
        anonymous_id=anonymous_id,
        properties=_object(properties) if wanted else {},
        context={field: value for field, value in context if value is not None},
        timezone=timezone,
        consent=_object(consent) if consent else {},
        bot=bot is not None,
        write_key=write_key,
        trace_id=trace_id,
    )
