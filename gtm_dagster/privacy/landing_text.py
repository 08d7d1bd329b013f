"""The one rule for every text that lands, whichever field it stands in: no e-mail, IP address, phone or card number.

Light on import. Linear in the length of the text, whatever it is: every pattern is bounded.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote

from gtm_dagster.privacy.number_shapes import CARDS, PHONES, Shape

MAIL, ADDRESS, PHONE, CARD, ENCODED = "[mail]", "[ip]", "[phone]", "[card]", "[encoded]"
"""What stands in the place of what is found. None is longer than the shortest text it replaces, so lengths stay valid."""

_NUMBERS = re.compile(r"[0-9](?:(?:[ ._()/+-]{0,3}[0-9]){6}|\.[0-9]{1,3}\.[0-9])")
_GROUPS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_MAIL = re.compile(
    r"""(?:"[^"@]{1,64}"|[^\s@<>"'/?&=,;()]{1,64})@"""
    r"""(?:\[[^\]\s]{1,64}\]|[^\s@<>"'/?&=,;()\[\]]{1,255}\.[^\s@<>"'/?&=,;().\[\]]{2,})"""
)
_KEPT = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
    r"|(?<!\d)(?:19|20)\d\d([-/._])(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T _-]\d\d[:.h-]?\d\d(?:[:.-]?\d\d(?:[.,]\d{1,9})?)?(?:Z| ?UTC|[+-]\d\d:?\d\d)?(?!\d|[./-]\d))?(?!\d)"
    r"|(?<!\d)\d{1,2}([./-])\d{1,2}\2(?:19|20)\d\d(?!\d)"
)
"""UUIDs, dates and times: they hold groups of digits as phone numbers do."""
_IPV4 = re.compile(r"(?<![\d.])(?<![vV])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:.]{2,46}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\Z")
_FIRST_DIGITS = re.compile(r"\D*\d+")
_TWICE_ENCODED = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_MOST_ROUNDS = 8
_MOST_SECOND_LOOKS = 64
"""What looks like a number and is none may hide one behind its first digits; a text made of such costs no more than this."""
_BLANK = "\ue000"
_SIGNS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-") | {ord("\u3002"): "."}
"""Dashes, and the full stop that hosts may have for a dot (UTS 46)."""


def landable(text: str, *, is_version: bool = False) -> str:
    """`text` with `[mail]`, `[ip]`, `[phone]` and `[card]` in the place of what is personal in it.

    Looks through percent-encoding, however often, and through wide letters and invisible signs; where something is found
    behind them the decoded text comes back, else the very text. Never longer than `text`. `is_version`: four numbers with
    dots between them are a version and stay.
    """
    plain = text if text.isascii() else _plain(text)
    if not ("@" in plain or "%" in plain or _may_hold_numbers(plain)):
        return text
    if "%" in plain:
        decoded = percent_decoded(plain)
        if decoded is None:
            return ENCODED
        plain = decoded if decoded.isascii() else _plain(decoded)
    found = _MAIL.sub(MAIL, plain) if "@" in plain else plain
    found = _without_numbers(found, is_version)
    return text if found == plain else found.replace("\0", "")[: len(text)]


def _may_hold_numbers(text: str) -> bool:
    """False for nearly all texts, at a small cost: nothing to find in them."""
    return _NUMBERS.search(text) is not None or (":" in text and _GROUPS.search(text) is not None)


def percent_decoded(text: str) -> str | None:
    """`text` decoded until it changes no more; None for one that still changes after eight rounds."""
    for _ in range(_MOST_ROUNDS):
        if _ESCAPE.search(text) is None:
            return text
        decoded = unquote(_TWICE_ENCODED.sub("%", text), errors="replace")
        if decoded == text:
            return text
        text = decoded
    return None if _ESCAPE.search(text) else text


def _plain(text: str) -> str:
    """`text` with wide letters and digits of any script as plain ones, dashes of any kind as `-`, full stops as dots and without invisible signs."""
    shown = [_plain_sign(char) for char in text]
    return unicodedata.normalize("NFKC", "".join(shown)).translate(_SIGNS)


def _plain_sign(char: str) -> str:
    if char.isascii():
        return char
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    return "" if unicodedata.category(char) == "Cf" else char


def _without_numbers(text: str, is_version: bool) -> str:
    """`text` without IP addresses, card and phone numbers."""
    work = _KEPT.sub(lambda match: _BLANK * len(match[0]), text)
    if not _may_hold_numbers(work):
        return text
    spans: list[tuple[int, int, str]] = []
    if ":" in work:
        work = _found(work, (_IPV6, _is_ipv6), ADDRESS, spans)
    if "." in work and not is_version:
        work = _found(work, (_IPV4, _is_ipv4), ADDRESS, spans)
    for shapes, mask in ((CARDS, CARD), (PHONES, PHONE)):
        for shape in shapes:
            work = _found(work, shape, mask, spans)
    parts, done = [], 0
    for start, end, mask in sorted(spans):
        parts += [text[done:start], mask]
        done = end
    return "".join([*parts, text[done:]])


def _found(work: str, shape: Shape, mask: str, spans: list[tuple[int, int, str]]) -> str:
    """Adds what has the shape to `spans`; returns `work` with blanks there."""
    pattern, is_found = shape
    parts, done, at, refused = [], 0, 0, 0
    while (match := pattern.search(work, at)) is not None:
        start, at = match.span()
        if is_found(match):
            spans.append((start, at, mask))
            parts += [work[done:start], _BLANK * (at - start)]
            done = at
        elif refused < _MOST_SECOND_LOOKS and (first := _FIRST_DIGITS.match(work, start)) is not None:
            refused += 1
            at = first.end()
    return "".join([*parts, work[done:]]) if parts else work


def _is_ipv4(match: re.Match[str]) -> bool:
    return all(int(part) <= 255 for part in match[0].split("."))


def _is_ipv6(match: re.Match[str]) -> bool:
    """An address whose groups are no time of day, and a hardware address of six pairs."""
    text = match[0].rstrip(".:") if not match[0].endswith("::") else match[0]
    if _MAC.match(text):
        return True
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return text.count(":") == 7 or any(len(group) > 2 for group in re.split(r"[:.]", text))
