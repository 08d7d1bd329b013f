"""What every picture is made of: the frame with title and description, texts, round steps of an axis."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from html import escape
from math import floor, log10

WIDE, HALF, PHONE = 1040, 500, 400
"""Width of a picture over the whole page, of one of two beside each other, and of one on a phone."""
FONT = 12
TEXT_LETTER = 6.6
"""Mean width of a letter at FONT."""


def picture(kind: str, title: str, description: str, width: int, height: float, parts: Iterable[str]) -> str:
    """The whole SVG; screen readers are given title and description, and the table below it the numbers."""
    content = "".join(parts)
    # unique on a page: two pictures of one title are one picture
    name = hashlib.sha256(f"{kind}{title}{description}{content}".encode()).hexdigest()[:10]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart {kind}" viewBox="0 0 {width} {height:.0f}" role="img" '
        f'aria-labelledby="t{name} d{name}"><title id="t{name}">{clean(title)}</title>'
        f'<desc id="d{name}">{clean(description)}</desc>{content}</svg>'
    )


def clean(text: str) -> str:
    """Text of an XML document: escaped, without the control characters that XML does not have."""
    return escape("".join(each if each >= " " and each not in "\ufffe\uffff" else " " for each in text))


def label(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """A text; a name from outside is set on its own, so that right-to-left letters do not move what stands beside it."""
    named = f' class="{kind}"' if kind else ""
    placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}{placed}>{clean(text)}</text>'


def text_width(text: str) -> float:
    """About how wide a text is."""
    return len(text) * TEXT_LETTER


def shortened(text: str, width: float) -> str:
    """`text`, cut to what fits into a width."""
    most = max(int(width / TEXT_LETTER), 3)
    return text if len(text) <= most else text[: most - 1] + "…"


def step(top: float, most: int = 4, *, whole: bool = False) -> float:
    """A round step that gives at most `most` lines up to `top`, which is above 0; `whole`: of what is counted in ones."""
    rough = top / most
    power: float = 10.0 ** floor(log10(rough))
    rounds = (1.0, 2.0, 5.0, 10.0) if whole and power < 10 else (1.0, 2.0, 2.5, 5.0, 10.0)
    found = next(each * power for each in rounds if each * power >= rough * 0.999)
    return max(found, 1.0) if whole else found


def short_number(value: float) -> str:
    """A number of an axis: 1.2k, 3M."""
    for limit, letter in ((1e9, "bn"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            unit = 1e3 if letter == "k" else limit
            return f"{value / unit:.3g}{letter}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
