"""Formats of times that a mapping names: strptime's directives, numbers of seconds since the epoch, and `iso`.

A format reads one text as `(microseconds, is_utc)`, or gives None when the text is not of the format. Words (`now`), local
month names and the clock play no part, so the same file gives the same events everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import ROUND_DOWN, Context, Decimal
from functools import cache

from gtm_dagster.taxonomy.times import WITHOUT_OFFSET, offset_us, read_time

Moment = tuple[int, bool]
"""Microseconds since the epoch, and whether they are UTC; else they are local."""

UNIX = {"unix_s": 6, "unix_ms": 3, "unix_us": 0}
"""Names of the epoch formats, with the power of ten that makes microseconds of them."""

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WHOLE = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y"}
DIRECTIVES: dict[str, str] = {
    "Y": "[0-9]{4}", "y": "[0-9]{2}", "m": "1[0-2]|0?[1-9]", "d": "3[01]|[12][0-9]|0?[1-9]|(?<= ) ?[1-9]",
    "H": "2[0-3]|[01]?[0-9]", "I": "1[0-2]|0?[1-9]", "M": "[0-5]?[0-9]", "S": "[0-5]?[0-9]", "f": "[0-9]+",
    "j": "36[0-6]|3[0-5][0-9]|[0-2]?[0-9]?[0-9]", "p": "[ap]m", "b": "|".join(name[:3] for name in _MONTHS),
    "B": "|".join(_MONTHS), "a": "|".join(name[:3] for name in _DAYS), "A": "|".join(_DAYS),
    "z": "z|utc|gmt|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?", "Z": "utc|gmt|z",
}  # fmt: skip
"""The texts of each directive (letters in any case)."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_EXACT = Context(prec=60, rounding=ROUND_DOWN, Emax=10**9, Emin=-(10**9))
_MOST_US = 9 * 10**18
_DAY = re.compile(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})")


class FormatError(ValueError):
    """No format; the message says what of it, and what is allowed."""


@cache
def time_format(name: str) -> Callable[[str], Moment | None]:
    """The function that reads one text of the format `name`. Raises FormatError."""
    if name == "iso":
        return iso
    if name in UNIX:
        power = UNIX[name]
        return lambda text: _since_epoch(text, power)
    return _strptime(name)


def iso(text: str) -> Moment | None:
    """RFC 3339 and its relatives (`taxonomy.times`); without an offset local, as is a day alone (its midnight)."""
    us = read_time(text)
    if us == WITHOUT_OFFSET:
        us = read_time(f"{text}Z")
        return (us, False) if isinstance(us, int) else None
    if isinstance(us, int):
        return us, True
    day = _DAY.fullmatch(text)
    us = read_time(f"{day[1]}-{day[3]}-{day[4]}T00:00Z") if day else us
    return (us, False) if isinstance(us, int) else None


def _since_epoch(text: str, power: int) -> Moment | None:
    trimmed = text.strip()
    if len(trimmed) > 64 or not _NUMBER.fullmatch(trimmed):
        return None
    number = _EXACT.create_decimal(trimmed)
    if number and not -40 < number.adjusted() < 25:
        return (0, True) if number.adjusted() < 0 else None
    us = int(_EXACT.multiply(number, Decimal(10**power)))
    return (us, True) if abs(us) < _MOST_US else None


def expanded(name: str) -> list[str]:
    """The format in parts: each directive (`%Y`) and the text between. Raises FormatError for an unknown directive."""
    parts: list[str] = []
    for part in re.findall(r"%.|[^%]+|%", name, re.DOTALL):
        if part[:1] != "%":
            parts.append(part)
        elif part[1:] in _WHOLE:
            parts += expanded(_WHOLE[part[1:]])
        elif part == "%%":
            parts.append("%")
        elif part[1:] in DIRECTIVES:
            parts.append(part)
        elif part == "%h":
            parts.append("%b")
        else:
            known = " ".join(f"%{letter}" for letter in (*DIRECTIVES, *_WHOLE, "%"))
            raise FormatError(f"{name!r} has {part!r}, which is not one of {known}")
    return parts


def names_utc(parts: list[str]) -> bool:
    """Whether the text after the time itself says UTC: the format ends in the letters UTC, GMT or Z."""
    return re.search(r"(?:^|[^A-Za-z])(?:UTC|GMT|Z)\s*$", parts[-1], re.IGNORECASE) is not None


def _strptime(name: str) -> Callable[[str], Moment | None]:
    parts = expanded(name)
    directives = [part[1] for part in parts if len(part) == 2 and part[0] == "%"]
    twice = sorted({letter for letter in directives if directives.count(letter) > 1})
    if twice:
        raise FormatError(f"{name!r} has %{twice[0]} twice")
    has = set(directives)
    if not (has & {"Y", "y"} and (("d" in has and has & {"m", "b", "B"}) or "j" in has)):
        raise FormatError(f"{name!r} is not iso, unix_s, unix_ms or unix_us and names no day, such as %d.%m.%Y %H:%M")
    pattern = "".join(
        f"(?P<{part[1]}>{DIRECTIVES[part[1]]})" if len(part) == 2 and part[0] == "%" else _literal(part)
        for part in parts
    )
    fits = re.compile(pattern, re.IGNORECASE | re.ASCII).fullmatch
    is_utc = names_utc(parts)

    def read(text: str) -> Moment | None:
        match = fits(text)
        return _moment(match.groupdict(), is_utc) if match else None

    return read


def _literal(text: str) -> str:
    return "".join(r"\s+" if part.isspace() else re.escape(part) for part in re.split(r"(\s+)", text))


def _moment(part: dict[str, str], is_utc: bool) -> Moment | None:
    year = int(part["Y"]) if "Y" in part else int(part["y"]) + (1900 if int(part["y"]) > 68 else 2000)
    try:
        if "j" in part:
            day = date(year, 1, 1).toordinal() + int(part["j"]) - 1
            if int(part["j"]) == 0 or date.fromordinal(day).year != year:
                return None
        else:
            day = date(year, _month(part), int(part["d"])).toordinal()
    except (ValueError, OverflowError):
        return None
    seconds = (_hour(part) * 60 + int(part.get("M", 0))) * 60 + int(part.get("S", 0))
    us = ((day - _EPOCH_DAY) * 86_400 + seconds) * 1_000_000 + int(part.get("f", "0")[:6].ljust(6, "0"))
    zone = part.get("z") or part.get("Z")
    if zone is None:
        return us, is_utc
    return us - (offset_us(zone) if zone[0] in "+-" else 0), True


def _month(part: dict[str, str]) -> int:
    if "m" in part:
        return int(part["m"])
    name = (part.get("b") or part["B"]).lower()[:3]
    return next(number for number, month in enumerate(_MONTHS, 1) if month.startswith(name))


def _hour(part: dict[str, str]) -> int:
    if "I" not in part:
        return int(part.get("H", 0))
    return int(part["I"]) % 12 + (12 if part.get("p", "").lower() == "pm" else 0)
