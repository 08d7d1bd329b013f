"""`read_time`: a text as microseconds UTC, or the reason why it is no time. Every door and every file format uses it."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache

_EPOCH = datetime.fromisoformat("1970-01-01")
_TIME = re.compile(
    r"([0-9]{4}-[01][0-9]-[0-3][0-9][Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?)"
    r"( ?(?:[Zz]|UTC|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?"
)
_fit = _TIME.fullmatch
_parse = datetime.fromisoformat

BAD = "bad_timestamp"
"""The text is no time of a day that exists."""
WITHOUT_OFFSET = "timestamp_without_offset"
"""The text is a time, but names no offset from UTC."""


def read_time(text: str) -> int | str:
    """Microseconds since the epoch, UTC, of `text`; else the code `bad_timestamp` or `timestamp_without_offset`.

    A time is RFC 3339 and what databases print beside it: `T`, `t` or a blank after the date, seconds or none, any number
    of digits of a second (cut to microseconds, never rounded), and `Z`, `z`, `UTC`, `+hh:mm`, `+hhmm` or `+hh`, also after
    a blank. The day exists in the calendar; hours end at 23. A leap second (`:60`) is refused although RFC 3339 has it:
    microseconds since the epoch have no place for it, and the second after it may be another day. Never raises.
    """
    match = _fit(text)
    if match is None:
        return BAD
    written, zone = match.groups()
    try:
        since = _parse(written) - _EPOCH  # digits beyond the sixth are cut
    except ValueError:  # a day that the month does not have, the year 0
        return BAD
    if zone is None:
        return WITHOUT_OFFSET
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds - offset_us(zone)


@cache
def offset_us(zone: str) -> int:
    """Microseconds that local time is ahead of UTC, of a text such as `Z`, ` UTC`, `+02`, `+0530` or `-03:30`."""
    zone = zone.strip()
    if zone in ("Z", "z", "UTC"):
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:] if len(zone) > 3 else 0)
    return (-minutes if zone[0] == "-" else minutes) * 60_000_000
