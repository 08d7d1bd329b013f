"""Names that anybody chose, in the middle of a sentence: they turn no word around them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FROM_RIGHT = frozenset({"R", "AL", "AN"})


def isolated(name: str) -> str:
    """A name that anybody chose, for the middle of a sentence: one from right to left turns no word around it.

    What steers the direction of text, or cannot be seen, is escaped; where a name runs from right to left it stands between
    U+2068 and U+2069 (https://www.unicode.org/reports/tr9/), as a `bdi` element does in a page.
    """
    plain = "".join(
        each if unicodedata.category(each) not in _UNSEEN else each.encode("unicode_escape").decode() for each in name
    )
    return f"\u2068{plain}\u2069" if _turns(plain) else plain


def isolated_in_page(sentence: str, names: Iterable[str]) -> str:
    """A sentence as HTML, with those of `names` that run from right to left in a `bdi` element."""
    text = escape(sentence)
    for name in sorted({name for name in names if _turns(name)}, key=len, reverse=True):
        text = text.replace(escape(name), f"<bdi>{escape(name)}</bdi>")
    return text


def _turns(text: str) -> bool:
    return any(unicodedata.bidirectional(each) in _FROM_RIGHT for each in text)
