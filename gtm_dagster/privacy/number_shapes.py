"""Numbers that lead to a person inside a text: card and account numbers by their check digits, phone numbers by how people write them.

A shape is a bounded pattern and a judge of what it matched; a judge says no where the number is rather an order, a date
or an amount. What cannot be known: a bare run of digits that could be anything (`491705500226`, `5551234567`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

Shape = tuple[re.Pattern[str], Callable[[re.Match[str]], bool]]
_NO_DIGIT = re.compile(r"\D+")
_CALLING_CODES = re.compile(
    r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[2-9]\d\d"  # ITU E.164, assigned zones
)
_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4}(?:\d\d)?)?\Z")
_YEAR = re.compile(r"(?:19|20)\d\d\Z")
_ISSUERS = re.compile(
    r"(?:4\d{15}|5[1-5]\d{14}|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{12,15})\Z"
)
"""Visa, Mastercard, American Express, Discover, Diners, JCB, UnionPay, Maestro: first digits and lengths."""
_FIRST_OF_CARDS = re.compile(r"[3-6]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)")


def _digits(text: str) -> str:
    return _NO_DIGIT.sub("", text)


def is_card(text: str) -> bool:
    """Whether the digits of `text` are a card number: the check digit of Luhn, and what issuers give out.

    A bare run of digits needs the first digits and the length of an issuer; one in groups their first digit alone.
    """
    digits = _digits(text)
    if not (digits.isascii() and 13 <= len(digits) <= 19) or len(set(digits)) == 1:
        return False
    if not (_ISSUERS.match(digits) if digits == text else _FIRST_OF_CARDS.match(digits)):
        return False
    doubled = [int(char) for char in reversed(digits)]
    doubled[1::2] = [sum(divmod(2 * digit, 10)) for digit in doubled[1::2]]
    return sum(doubled) % 10 == 0


def is_account(text: str) -> bool:
    """Whether `text` is an IBAN, by its check digits (ISO 13616)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_international(match: re.Match[str]) -> bool:
    """After a plus or 00. A plus inside a word may stand for a blank, a bare run after 00 for a padded number."""
    text, digits = match[0], _digits(match[0])
    if text[0] != "+":
        return 10 <= len(digits) <= 16 and (digits != text or len(digits) >= 12)
    inside = match.start() > 0 and match.string[match.start() - 1].isalnum()
    if inside and (len(digits) < 11 or _DATE.match(digits)):
        return False
    return 8 <= len(digits) <= 15


def _is_trunk(match: re.Match[str]) -> bool:
    """After the 0 of a national number, in groups."""
    return 9 <= len(_digits(match[0])) <= 12


def _is_bare_trunk(match: re.Match[str]) -> bool:
    """A bare run after 0: no padded number (zeros in a row), and no ISBN-10 by its check digit."""
    digits = match[0]
    if "000" in digits:
        return False
    return (
        len(digits) != 10 or sum(int(d) * weight for d, weight in zip(digits, range(10, 0, -1), strict=True)) % 11 != 0
    )


def _is_in_parentheses(match: re.Match[str]) -> bool:
    return 8 <= len(_digits(match[0])) <= 13 and not _YEAR.match(match[1])


def _is_without_plus(match: re.Match[str]) -> bool:
    """Groups with blanks after a calling code, as an address line leaves a number whose plus it took for a blank."""
    first, *groups = match[0].split(" ")
    count = len(first) + sum(map(len, groups))
    thousands = all(len(group) == 3 for group in groups)
    return 11 <= count <= 13 and not thousands and _CALLING_CODES.fullmatch(first) is not None


CARDS: tuple[Shape, ...] = (
    (
        re.compile(
            r"(?<![0-9A-Za-z])[A-Z]{2}\d\d(?:[0-9A-Z]{11,30}|(?: [0-9A-Z]{4}){2,7}(?: [0-9A-Z]{1,4})?)(?![0-9A-Za-z])",
            re.ASCII,
        ),
        lambda match: is_account(match[0]),
    ),
    (re.compile(r"(?<!\d)[2-6](?:[ ._-]{0,2}\d){12,18}(?!\d)"), lambda match: is_card(match[0])),
)
PHONES: tuple[Shape, ...] = (
    (re.compile(r"(?<![\d+])(?:\+|(?<![\w.])00[ ]?)[1-9](?:[ ._/()+-]{0,3}\d){6,13}(?!\d)"), _is_international),
    (re.compile(r"(?<!\d)(?<!\d[./-])\(?0[1-9]\d{0,4}\)?[ ./-]{1,3}\d(?:[ ./-]{0,2}\d){4,10}(?!\d)"), _is_trunk),
    (re.compile(r"(?<![0-9A-Za-z.])(?<!\d-)0[1-9]\d{8,9}(?![0-9A-Za-z])(?!\.\d)"), _is_bare_trunk),
    (
        re.compile(
            r"(?<!\d)(?<!\d[./-])(?:1[ .-])?(?:\([2-9]\d\d\)[ .-]?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}(?!\d)(?![./-]\d)"
        ),
        lambda _: True,
    ),
    (re.compile(r"(?<!\w)\((\d{2,5})\)[ ./-]{0,2}\d(?:[ ./-]{0,2}\d){4,10}(?!\d)"), _is_in_parentheses),
    (re.compile(r"(?<!\d)(?<!\d[ ./-])[1-9]\d{0,2}(?: \d{1,9}){2,5}(?! ?\d)"), _is_without_plus),
)
