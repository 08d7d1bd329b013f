"""How pages write times, ages, changes and cells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

from markupsafe import Markup, escape

from gtm_dagster.reports.command_lines import command_lines
from gtm_dagster.reports.number_text import amount, money, share

UNKNOWN = "–"
_CODE = re.compile("`([^`]+)`")


def moment(value: datetime | None) -> str:
    """A time in UTC to the minute."""
    if value is None:
        return UNKNOWN
    utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M} UTC"


def from_us(us: int | None) -> datetime | None:
    """A moment given in microseconds UTC; None for none."""
    return datetime.fromtimestamp(us / 1e6, UTC) if us else None


def age(value: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that leaves a number above one; one moment ahead is now."""
    if value is None:
        return UNKNOWN
    seconds = max((now - value) / timedelta(seconds=1), 0.0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def duration(hours: float) -> str:
    """A length of time: seconds below two minutes, minutes below two hours, hours below two days, else days."""
    for length, unit in ((48.0, "d"), (2.0, "h"), (1 / 30, "min")):
        if hours >= length:
            size = {"d": 24.0, "h": 1.0, "min": 1 / 60}[unit]
            return f"{amount(hours / size)} {unit}"
    return f"{hours * 3600:.0f} s"


def change(now: float | None, before: float | None) -> str:
    """The change against the period before in per cent; empty where there is nothing to compare with."""
    if now is None or not before or not isfinite(now) or not isfinite(before):
        return ""
    by = now / before - 1
    if abs(by) < 0.005:
        return "0 %"
    return f"{by:+.0%}".replace("%", " %") if abs(by) < 9.995 else f"×{now / before:.0f}"


def cell(value: Any, kind: str = "") -> str:
    """A value in a table of a page; `kind`: amount, money, share or hours (shown in the unit that fits)."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return UNKNOWN
    if kind == "amount":
        return amount(float(value))
    if kind == "money":
        return money(float(value))
    if kind == "share":
        return share(float(value))
    if kind == "hours":
        return duration(float(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float | Decimal):
        return f"{value:,.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def heading(column: str, kind: str = "") -> str:
    """The name of a column as a table heads it; hours are shown in the unit that fits, so it names none."""
    words = (column.removesuffix("_hours") + "_time" if kind == "hours" else column).replace("_", " ")
    words = re.sub(r"\bp(\d\d) time\b", r"\1 % within", words)
    return words[:1].upper() + words[1:]


def alike(value: float | None, column: Iterable[float | None], decimals: int = 1) -> str:
    """A number of a column in which all have as many decimals: none where all are whole."""
    if value is None:
        return UNKNOWN
    whole = all(each is None or abs(each - round(each)) < 0.005 for each in column)
    return f"{value:,.{0 if whole else decimals}f}"


def coded(text: str, *, of_demo: bool = False) -> Markup:
    """A text of a declaration: what stands between backticks as code, commands as they work on the deployment shown."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(command_lines(text, of_demo=of_demo)))))  # noqa: S704 - escaped before


def is_number(value: Any) -> bool:
    """Whether a cell stands at the right."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
