"""What the text and the page of an explained conversion say in the same words."""

from __future__ import annotations

from gtm_dagster.reports.explained_conversion import Credit, ExplainedConversion, ResultExplained
from gtm_dagster.reports.touch_verdicts import Touch


def money_of(each: ExplainedConversion, value: float | None) -> str:
    """An amount with its currency; nothing where there is no value."""
    if value is None:
        return ""
    currency = each.conversion.get("currency")
    return f"{value:,.2f} {currency}" if currency else f"{value:,.2f}"


def value_line(each: ExplainedConversion) -> str:
    """What the conversion is worth, with what was given back."""
    conversion = each.conversion
    if conversion["value"] is None:
        return "no value"
    line = money_of(each, conversion["value"])
    if conversion.get("refunded"):
        line += f", {money_of(each, conversion['refunded'])} given back, {money_of(each, conversion['net_value'])} net"
    return line


def age(touch: Touch) -> str:
    """How long before the conversion, or after it."""
    hours = abs(touch.age_hours)
    length = f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
    return f"{length} {'after' if touch.age_us < 0 else 'before'}"


def source(touch: Touch) -> str:
    """Source, medium and campaign, as far as there are any."""
    return " / ".join(part for part in (touch.source, touch.medium, touch.campaign) if part)


def percent(credit: Credit) -> str:
    """A share of the conversion; a small one is not nothing."""
    return f"{credit.share:.2%}" if credit.share >= 0.00005 or credit.share == 0 else f"{credit.share:.1e}"


def adds_up(result: ResultExplained) -> str:
    """Whether the shares add up to 1, in words."""
    if not result.conserves:
        return "each channel gets all of it (this model does not divide)"
    off = abs(result.total.share - 1)
    return "adds up to 1" if off <= 1e-9 else f"does not add up to 1: off by {off:.1e}"


def name_of(result: ResultExplained) -> str:
    """Model and lookback."""
    return f"{result.label} {result.window_hours:g} h"


def hidden_line(each: ExplainedConversion) -> str | None:
    """How many sessions of the person are not shown."""
    if not each.hidden:
        return None
    sessions = "session" if each.hidden == 1 else "sessions"
    return f"{each.hidden:,} more {sessions} of the person, further away, are not shown."
