"""Texts that programs write where there is no value: `undefined`, `null`, an all-zero UUID. They name nobody and nothing."""

from __future__ import annotations

from string import ascii_letters, digits

_WORDS = (
    "undefined", "null", "none", "nil", "nan", r"\n", "n/a", "-", "(null)", "<null>", "(none)",
    "[object object]", "[object undefined]", "[object null]",
    "0" * 32, "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}", "{" + "0" * 32 + "}",
)  # fmt: skip
ABSENT_IDS = frozenset({"", '""', "''"} | {form for word in _WORDS for form in (word, f'"{word}"', f"'{word}'")})
"""In lower case, without blanks around; quoted forms too."""
ABSENT_TEXTS = ABSENT_IDS | {"(not set)", '"(not set)"', "'(not set)'"}
_LONGEST = max(map(len, ABSENT_TEXTS))
_SIGNS = ascii_letters + digits
PRESENT_STARTS = frozenset(a + b for a in _SIGNS for b in _SIGNS) - {
    a + b for word in ABSENT_TEXTS for a in (word[:1], word[:1].upper()) for b in (word[1:2], word[1:2].upper())
}
"""Two letters or digits with which no word for nothing begins: most ids and texts need no look beyond them."""


def present_id(text: str | None) -> str | None:
    """`text` as sent, None when it is blank or a word for nothing; blanks around it and case do not count."""
    if text is None or text[:2] in PRESENT_STARTS:
        return text
    bare = text.strip()
    return None if not bare or (len(bare) <= _LONGEST and bare.lower() in ABSENT_IDS) else text


def present_text(text: str | None) -> str | None:
    """`present_id` for a text of `context`, where `(not set)` is nothing either."""
    if text is None or text[:2] in PRESENT_STARTS:
        return text
    bare = text.strip()
    return None if not bare or (len(bare) <= _LONGEST and bare.lower() in ABSENT_TEXTS) else text
