"""How an attempt ends in the outbox: delivered, due again, given up, suppressed, too late; in the caller's transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gtm_dagster.delivery.attempt import Attempt, Leased
from gtm_dagster.delivery.message_store import MessageStore
from gtm_dagster.delivery.retry_schedule import wait_us
from gtm_dagster.delivery.worker_wiring import Lane, Wiring

LOST = "the deliverer ended before the answer came"
_log = logging.getLogger("gtm_dagster.delivery")


class Endings:
    """Writes attempts and the last words of messages down, and lets them be counted."""

    def __init__(self, store: MessageStore, wiring: Wiring) -> None:
        self._store, self._wiring = store, wiring
        self._alerts: list[tuple[str, str]] = []

    def ended(self, lane: Lane, messages: Sequence[Leased], attempt: Attempt, now_us: int) -> None:
        """An attempt of one destination ended; what was one message has one fate."""
        if attempt.gone and self._store.disable(lane.name, f"it answered {attempt.code}", now_us):
            words = (
                f"{lane.name} answered {attempt.code}: it takes no more messages and is disabled; "
                f"when it is back: `gtm trigger replay --destination {lane.name}`"
            )
            _log.error("%s", words)
            self._alerts.append((lane.name, words))
        for message in messages:
            self._store.record(message, attempt, now_us)
            if attempt.suppressed:
                self.suppressed(lane.name, message, attempt.suppressed, now_us)
            elif attempt.outcome == "delivered":
                self._end(lane.name, message, "delivered", now_us, None)
            elif attempt.final or (attempt.outcome == "unknown" and lane.destination.at_most_once):
                self._give_up(lane.name, message, attempt, now_us)
            else:
                self.failed(lane.name, message, attempt, now_us, messages[0].action_id)

    def send_alerts(self) -> None:
        """What people have to know of the transaction that was committed; one that cannot be sent stays in the log."""
        alerts, self._alerts = self._alerts, []
        for name, words in alerts:
            try:
                self._wiring.alert(name, words)
            except Exception as error:  # noqa: BLE001 - messages go on
                _log.error("nobody is alerted of %s: %s", name, error)

    def failed(self, name: str, message: Leased, attempt: Attempt, now_us: int, together: str | None = None) -> None:
        """Due again later, or given up when no attempt is left. `together`: the id whose jitter counts."""
        wait = wait_us(together or message.action_id, message.since_replay, attempt.wait_seconds)
        if wait is None:
            self._give_up(name, message, attempt, now_us)
        elif self._store.retry(message, now_us + wait, attempt.error):
            self._wiring.observe(name, attempt.outcome, message, now_us)

    def lost(self, lane: Lane, message: Leased, now_us: int) -> bool:
        """A lease ended that nobody marked; True when the message is given up, as it may have arrived."""
        words = f"{LOST}; not sent again (at_most_once)" if lane.destination.at_most_once else LOST
        attempt = Attempt("unknown", error=words)
        self._store.record(message, attempt, now_us)
        if lane.destination.at_most_once:
            self._give_up(lane.name, message, attempt, now_us)
        return lane.destination.at_most_once

    def delivered_here(self, name: str, message: Leased, now_us: int) -> None:
        """A message that needed no request."""
        self._store.record(message, Attempt("delivered"), now_us)
        self._end(name, message, "delivered", now_us, None)

    def suppressed(self, name: str, message: Leased, reason: str, now_us: int) -> None:
        """A message that must not go out any more."""
        self._end(name, message, "suppressed", now_us, reason)

    def expired(self, name: str, message: Leased, now_us: int) -> None:
        """A message that it is too late for."""
        self._end(name, message, "expired", now_us, None)

    def dropped(self, name: str, message: Leased, reason: str, now_us: int) -> None:
        """A message of a destination that is disabled."""
        self._end(name, message, "dead", now_us, f"{name} is disabled: {reason}")

    def _give_up(self, name: str, message: Leased, attempt: Attempt, now_us: int) -> None:
        self._wiring.observe(name, attempt.outcome, message, now_us)
        self._end(name, message, "dead", now_us, attempt.error)
        _log.error("message %s to %s is given up: %s", message.action_id, name, attempt.error)

    def _end(self, name: str, message: Leased, status: str, now_us: int, error: str | None) -> None:
        if self._store.end(message, status, now_us, error):
            self._wiring.observe(name, status, message, now_us)
