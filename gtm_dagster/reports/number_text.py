"""Numbers for people: no more digits than they deserve."""

from __future__ import annotations

_HUNDREDTH = 0.0095
"""A share from which whole per cent say enough: what lies between would be 1.0 %."""


def amount(value: float | None) -> str:
    """1,234 from 100 on, 12.3 below; a dash where nothing is known."""
    if value is None:
        return "–"
    if abs(value) >= 99.95 or abs(value - round(value)) < 0.05:
        return _written(value, ",.0f")
    return _written(value, ",.1f")


def money(value: float | None) -> str:
    """1,234 from 1,000 on, 12.30 below; a dash where nothing is known."""
    if value is None:
        return "–"
    return _written(value, ",.0f" if abs(value) >= 999.995 else ",.2f")


def signed(value: float) -> str:
    """A difference with its sign and one decimal: +1.5, -0.3; 0.0 has none."""
    text = _written(value, "+,.1f")
    return "0.0" if text == "+0.0" else text


def counted(n: int, what: str) -> str:
    """1 row, 2,000 rows; `what`: one of them."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def share(value: float) -> str:
    """A share of 1 in per cent: 12 %, below one per cent and above 99 with a decimal: only nothing is 0 %, only all 100 %."""
    if 0 < value < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= value < 1:
        return "> 99.9 %"
    is_plain = value == 0 or _HUNDREDTH <= abs(value) <= 1 - _HUNDREDTH or abs(value) >= 1
    return _written(value, ".0%" if is_plain else ".1%").replace("%", " %")


def _written(value: float, form: str) -> str:
    """As `form` says; what is rounded to nothing has no minus."""
    text = format(value, form)
    return format(0.0, form) if text.startswith("-") and not text.strip("-0.,%") else text


def window_text(window_hours: float) -> str:
    """A lookback as people say it: 24 h, 7 days."""
    return f"{window_hours / 24:g} days" if window_hours >= 48 and window_hours % 24 == 0 else f"{window_hours:g} h"
