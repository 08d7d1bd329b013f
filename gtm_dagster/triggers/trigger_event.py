"""An event as rules see it, and whether it satisfies their conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gtm_dagster.triggers.compiled_rule import Condition


class TriggerEvent(Struct, frozen=True, kw_only=True, gc=False):
    """An accepted event. `at_us` is when it happened, `received_us` when the collector took it (microseconds UTC).

    `context`: the fields a `where` may name. `consent`: what it says of each purpose. `bot`: a program sent it. `write_key`:
    the key it came with. `trace_id`: 32 hex characters of its request's trace.
    """

    event_id: str
    name: str
    at_us: int
    received_us: int
    user_id: str | None = None
    anonymous_id: str | None = None
    properties: Mapping[str, Any] = {}
    context: Mapping[str, str] = {}
    timezone: str | None = None
    consent: Mapping[str, bool] = {}
    bot: bool = False
    write_key: str | None = None
    trace_id: str | None = None

    def value(self, path: str) -> Any:
        """The value at `properties.NAME` or `context.NAME`; None where there is none."""
        if path.startswith("properties."):
            return self.properties.get(path[11:])
        return self.context.get(path[8:])

    def key(self, name: str | None) -> str | None:
        """The occurrence key: the text of property `name`, "" without a name, None where the event lacks it."""
        if name is None:
            return ""
        value = self.properties.get(name)
        return None if value is None or value == "" else str(value)


def satisfies(conditions: tuple[Condition, ...], event: TriggerEvent) -> bool:
    """Whether all of `conditions` hold for `event`."""
    return not conditions or all(_holds(condition, event.value(condition.path)) for condition in conditions)


def _holds(condition: Condition, value: Any) -> bool:
    if condition.present is not None and (value is not None) != condition.present:
        return False
    if condition.within is not None and not _among(value, condition.within):
        return False
    if condition.without is not None and _among(value, condition.without):
        return False
    if condition.least is None and condition.most is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (condition.least is None or value >= condition.least) and (condition.most is None or value <= condition.most)


def _among(value: Any, values: tuple[Any, ...]) -> bool:
    """Membership in which true is not 1."""
    is_bool = isinstance(value, bool)
    for each in values:  # noqa: SIM110 - half of what a generator costs
        if value == each and isinstance(each, bool) == is_bool:
            return True
    return False
