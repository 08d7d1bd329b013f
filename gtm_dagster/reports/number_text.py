"""Numbers for people: no more digits than they deserve."""

from __future__ import annotations


def amount(value: float | None) -> str:
    """1,234 from 100 on, 12.3 below; a dash where nothing is known."""
    if value is None:
        return "–"
    if abs(value) >= 99.95 or abs(value - round(value)) < 0.05:
        return f"{value:,.0f}"
    return f"{value:,.1f}"


def money(value: float | None) -> str:
    """1,234 from 1,000 on, 12.30 below; a dash where nothing is known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 999.995 else f"{value:,.2f}"


def share(value: float) -> str:
    """A share of 1 in per cent: 12 %, below one per cent with a decimal."""
    is_plain = abs(value) >= 0.0095 or value == 0  # what follows would be 1.0 %
    return (f"{value:.0%}" if is_plain else f"{value:.1%}").replace("%", " %")


def window_text(window_hours: float) -> str:
    """A lookback as people say it: 24 h, 7 days."""
    return f"{window_hours / 24:g} days" if window_hours >= 48 and window_hours % 24 == 0 else f"{window_hours:g} h"
