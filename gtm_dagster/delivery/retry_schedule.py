"""When a message is sent again, and how much a destination is asked to take: pure figures of times in microseconds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

SECOND_US = 1_000_000
LONGEST_WAIT_SECONDS = 86_400.0
WAITS_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After the first attempt, the second, and so on, as Standard Webhooks 1.0.0 advises: some three days in all."""
JITTER = 0.2
OPENING_FAILURES = 5
FIRST_PAUSE_US, LONGEST_PAUSE_US = 30 * SECOND_US, 600 * SECOND_US


def wait_us(action_id: str, attempts: int, asked_seconds: float | None = None) -> int | None:
    """How long after attempt number `attempts` the next one is; None: there is none.

    Up to JITTER longer than WAITS_SECONDS, so that what failed together does not come back together; always the same for
    the same message. `asked_seconds`: what the receiver asked for, which is waited at least.
    """
    if attempts > len(WAITS_SECONDS):
        return None
    share = int.from_bytes(hashlib.sha256(f"{action_id}:{attempts}".encode()).digest()[:4], "big") / 2**32
    wait = round(WAITS_SECONDS[attempts - 1] * SECOND_US * (1 + JITTER * share))
    return max(wait, round((asked_seconds or 0) * SECOND_US))


def retry_after(text: str | None, now: float) -> float | None:
    """The seconds of a Retry-After: a number, or a date (RFC 9110, 10.2.3); at most a day. None without a good one."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:99]), LONGEST_WAIT_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # the old form has no zone and is of UTC
            moment = moment.replace(tzinfo=UTC)
        return min(max(moment.timestamp() - now, 0.0), LONGEST_WAIT_SECONDS)
    except (ValueError, TypeError, OverflowError):
        return None


@dataclass
class Pace:
    """What a destination is asked to take: a bucket of tokens, and a circuit that opens when it fails again and again.

    `rate`: messages a second; a burst is one second's. `most`: requests at once.
    """

    rate: float
    most: int
    in_flight: int = 0
    failures: int = 0
    open_until_us: int = 0
    paused_until_us: int = 0
    _tokens: float = 0.0
    _at_us: int | None = None

    @property
    def _burst(self) -> float:
        return max(self.rate, 1.0)

    def room(self, now_us: int) -> int:
        """How many messages may be sent now: one, to try, when the circuit was open and its pause is over."""
        if self._at_us is None:
            self._tokens, self._at_us = self._burst, now_us
        self._tokens = min(self._burst, self._tokens + max(now_us - self._at_us, 0) / SECOND_US * self.rate)
        self._at_us = now_us
        if self.closed(now_us):
            return 0
        tokens = int(self._tokens + 1e-6)  # ten tenths are one
        if self.failures >= OPENING_FAILURES:
            return 1 if self.in_flight == 0 and tokens else 0
        return min(self.most - self.in_flight, tokens)

    def closed(self, now_us: int) -> bool:
        """Whether nothing is sent now for another reason than the rate: the circuit is open, or a pause was asked for."""
        return now_us < max(self.open_until_us, self.paused_until_us)

    def began(self, messages: int = 1) -> None:
        """So many requests were begun."""
        self.in_flight += messages
        self._tokens -= messages

    def ended(self) -> None:
        """A request ended; `worked` or `failed` says how, where the destination has a part in it."""
        self.in_flight -= 1

    def worked(self) -> None:
        """The destination took a message: the circuit is closed."""
        self.failures = 0
        self.open_until_us = 0

    def failed(self, now_us: int) -> bool:
        """The destination did not take a message; True when the circuit opens by it."""
        self.failures += 1
        over = self.failures - OPENING_FAILURES
        if over < 0:
            return False
        self.open_until_us = now_us + min(FIRST_PAUSE_US * 2 ** min(over, 10), LONGEST_PAUSE_US)
        return True

    def pause(self, now_us: int, seconds: float) -> None:
        """The destination asks to be left alone."""
        self.paused_until_us = max(self.paused_until_us, now_us + round(seconds * SECOND_US))
