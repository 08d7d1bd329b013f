"""What strings of consent platforms say of the three purposes: IAB TCF v2 (Europe), and IAB GPP with its sections.

TCF: purpose 1, and 8 or 9 are analytics; 1, 2 and 7 marketing; 1, and 3 and 4 or 5 and 6 personalization. GPP: TCF is its
section 2; a section of the US refuses marketing where it opts out of sale, sharing or targeted advertising, and also
personalization where it has Global Privacy Control; it grants nothing. Only the bits that say so are read (IAB Tech Lab, "GPP String",
"US Privacy" sections and "TC String Format").
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from gtm_dagster.privacy.consent import REFUSED_BY_GPC

LONGEST = 8_192
"""Characters of a string; a longer one is not read."""
_ALPHABET = {
    char: number for number, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
}
_TCF_EUROPE, _US_PRIVACY = 2, 6
_GPP_TYPE = 3
_OPT_OUTS = {
    7: (18, 3), 8: (12, 2), 11: (14, 2), 18: (14, 2), 24: (16, 2), 25: (16, 2), 26: (16, 2), 27: (16, 2),
    **dict.fromkeys((9, 10, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23), (12, 2)),
}  # fmt: skip
"""Sections of the US, national (7) and of states: at which bit the opt-outs of sale, sharing and targeted advertising begin,
and how many there are, two bits each; 1 is an opt-out.
"""
_OPTED_OUT = 1
_PURPOSES_AT = 152
"""The bit of a TC string's core at which the consents to purposes begin."""
_MOST_SECTIONS = 64
_FIBONACCI = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765, 10946)


def tcf_purposes(text: str) -> dict[str, bool]:
    """The purposes of a TC string of version 2; none of what is no such string."""
    bits = _bits(text.partition(".")[0]) if len(text) <= LONGEST else ""
    if len(bits) < _PURPOSES_AT + 24 or int(bits[:6], 2) != 2:
        return {}
    yes = [False, *(bit == "1" for bit in bits[_PURPOSES_AT : _PURPOSES_AT + 24])]
    return {
        "analytics": yes[1] and (yes[8] or yes[9]),
        "marketing": yes[1] and yes[2] and yes[7],
        "personalization": yes[1] and ((yes[3] and yes[4]) or (yes[5] and yes[6])),
    }


def gpp_purposes(text: str, applicable: Collection[int] = ()) -> dict[str, bool]:
    """The purposes of a GPP string; none of what is no such string.

    `applicable`: the ids of the sections that are in force (`gpp_sid`); without any all are. What one section refuses is refused.
    """
    if len(text) > LONGEST:
        return {}
    header, *sections = text.split("~")
    ids = _section_ids(_bits(header))
    if len(ids) != len(sections):
        return {}
    found: dict[str, bool] = {}
    for number, section in zip(ids, sections, strict=True):
        if not applicable or number in applicable:
            found = strictest(found, _section_purposes(number, section))
    return found


def strictest(one: Mapping[str, bool], other: Mapping[str, bool]) -> dict[str, bool]:
    """The purposes of both; a no of either counts."""
    return {purpose: one.get(purpose, True) and other.get(purpose, True) for purpose in (*one, *other)}


def _section_purposes(number: int, section: str) -> dict[str, bool]:
    if number == _TCF_EUROPE:
        return tcf_purposes(section)
    if number == _US_PRIVACY:  # four characters: version, notice, opt-out of sale, agreement
        return {"marketing": False} if len(section) == 4 and section[2] in "Yy" else {}
    if number not in _OPT_OUTS:
        return {}
    core, *parts = section.split(".")
    bits = _bits(core)
    start, count = _OPT_OUTS[number]
    choices = [bits[at : at + 2] for at in range(start, start + 2 * count, 2)]
    found = {"marketing": False} if any(choice and int(choice, 2) == _OPTED_OUT for choice in choices) else {}
    if any(_bits(part)[:3] == "011" for part in parts):  # the part of type 1, whose bit is Global Privacy Control
        return dict(REFUSED_BY_GPC)
    return found


def _section_ids(bits: str) -> list[int]:
    """The ids in a header: its type and version, then ranges in Fibonacci coding; none of what is no header."""
    if len(bits) < 24 or int(bits[:6], 2) != _GPP_TYPE:
        return []
    reader = iter(bits[24:])
    found: list[int] = []
    last = 0
    try:
        for _ in range(int(bits[12:24], 2)):
            is_range = next(reader) == "1"
            first = last + _fibonacci(reader)
            last = first + (_fibonacci(reader) if is_range else 0)
            if len(found) + last - first >= _MOST_SECTIONS:
                return []
            found.extend(range(first, last + 1))
    except StopIteration:
        return []
    return found


def _fibonacci(reader: Iterator[str]) -> int:
    """The next number: a bit for each Fibonacci number from 1 and 2 on; two ones in a row end it. StopIteration without one."""
    total, before = 0, "0"
    for value in _FIBONACCI:
        bit = next(reader)
        if bit == before == "1":
            return total
        total += value if bit == "1" else 0
        before = bit
    raise StopIteration


def _bits(text: str) -> str:
    """The bits of base64url text, empty for any other."""
    try:
        return "".join(format(_ALPHABET[char], "06b") for char in text)
    except KeyError:
        return ""
