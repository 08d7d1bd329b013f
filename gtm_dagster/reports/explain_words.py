"""What the text and the page of an explained conversion say in the same words."""

from __future__ import annotations

from dataclasses import dataclass

from gtm_dagster.attribution.rounding import largest_remainder
from gtm_dagster.reports.explained_conversion import ExplainedConversion, ResultExplained
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


@dataclass(frozen=True)
class Printed:
    """Shares in per cent and values of one result as they are printed: columns add up to the printed sums.

    `credits`: an entry for each touch, None without credit.
    """

    credits: tuple[tuple[str, str] | None, ...]
    elsewhere: tuple[str, str] | None
    unattributed: tuple[str, str] | None
    total: tuple[str, str]


def printed(each: ExplainedConversion, result: ResultExplained) -> Printed:
    """The figures of a result, rounded by largest remainder."""
    cells = [*result.credits, result.elsewhere, result.unattributed]
    known = [cell for cell in cells if cell is not None]
    shares = iter(largest_remainder([100 * cell.share for cell in known]))
    values = iter(largest_remainder([cell.value or 0.0 for cell in known]))
    texts = [
        None if cell is None else (_percent(cell.share, next(shares)), _value(each, cell.value, next(values)))
        for cell in cells
    ]
    total = _percent(result.total.share, result.total.share * 100), money_of(each, result.total.value)
    return Printed(tuple(texts[:-2]), texts[-2], texts[-1], total)


def _percent(share: float, rounded: float) -> str:
    return "< 0.01 %" if share > 0 and rounded == 0 else f"{rounded:.2f} %"


def _value(each: ExplainedConversion, value: float | None, rounded: float) -> str:
    return money_of(each, None if value is None else rounded)


def adds_up(result: ResultExplained) -> str:
    """Whether the shares add up to 1, in words."""
    if not result.conserves:
        return "each channel gets all of it"
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


def without_credit(touch: Touch, why_out: str | None) -> str:
    """What stands in place of a share: why the touch is out, or that it counts and has none."""
    if why_out:
        return f"out: {why_out}"
    return "in, counted with a later touch of its session" if touch.is_followed else "in, gets nothing"
