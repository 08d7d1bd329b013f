"""An explained conversion as plain text of at most 80 columns; only an id that is longer goes beyond, since none is cut."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from gtm_dagster.reports.explain_words import (
    adds_up,
    age,
    hidden_line,
    name_of,
    printed,
    source,
    value_line,
    without_credit,
)
from gtm_dagster.reports.explained_conversion import ExplainedConversion, ResultExplained

_WIDTH = 80


def explanation(each: ExplainedConversion) -> str:
    """The conversion, its touches, and each result."""
    return "\n".join(line.rstrip() for line in _lines(each)) + "\n"


def _lines(each: ExplainedConversion) -> Iterator[str]:
    conversion = each.conversion
    yield f"Conversion {conversion['conversion_id']}"
    yield from _wrapped(
        f"{conversion['conversion_type']} at {conversion['conversion_time']:%Y-%m-%d %H:%M:%S} UTC "
        f"(day {conversion['day']}), {value_line(each)}"
    )
    yield f"Person {conversion['person_id']}"
    yield ""
    yield "Touches, oldest first"
    for number, touch in enumerate(each.touches, start=1):
        yield f"{number:>4}  {touch.at:%Y-%m-%d %H:%M:%S}  {age(touch):<18}  {touch.channel}"
        rule = f" (rule {touch.rule})" if touch.rule not in (None, "no source") else ""
        yield from _wrapped(f"{source(touch)}{rule}", "      ")
        if touch.note:
            yield from _wrapped(touch.note, "      ")
    if not each.touches:
        yield from _wrapped("none: the person has no session", "      ")
    if line := hidden_line(each):
        yield from _wrapped(line, "      ")
    for result in each.results:
        yield ""
        yield from _result(each, result)
    for label, hours, why in each.absent:
        yield ""
        yield from _wrapped(f"{label} {hours:g} h: {why}")


def _result(each: ExplainedConversion, result: ResultExplained) -> Iterator[str]:
    yield from _wrapped(f"{name_of(result)}: {result.meaning}" if result.meaning else name_of(result))
    texts = printed(each, result)
    for number, (touch, text, why) in enumerate(zip(each.touches, texts.credits, result.why_out, strict=True), 1):
        if text is not None:
            yield _row(f"{number}", text, touch.channel)
        else:
            yield from _wrapped(without_credit(touch, why), f"{number:>4}  ", 6)
    if texts.elsewhere is not None:
        yield _row("", texts.elsewhere, "touches that are not shown")
    if texts.unattributed is not None:
        yield _row("", texts.unattributed, "(unattributed): no touch counts")
    yield _row("sum", texts.total, adds_up(result))


def _row(number: str, text: tuple[str, str], what: str) -> str:
    return f"{number:>4}  {text[0]:>8}  {text[1]:>18}  {what}"


def _wrapped(text: str, indent: str = "", hang: int | None = None) -> list[str]:
    """Lines of at most 80 columns; a word that is longer stays whole."""
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=" " * (len(indent) if hang is None else hang),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
