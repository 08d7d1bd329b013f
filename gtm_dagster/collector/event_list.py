"""The events of a JSON text: strictly where a parser takes it, else piece by piece, so that one odd event costs no other.

Count and size come before parsing, and every step works on a bounded piece: the work is linear in the length whatever the
text is, and no single call holds the interpreter for long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

from gtm_dagster.collector.response import Refused

_BOM = b"\xef\xbb\xbf"
_COMMAS_PER_EVENT = 30
"""A list with more commas than this for each event it may hold is counted before it is parsed."""
_WINDOW = 65_536
"""Bytes that one call of a pattern looks at: 1 to 2 ms."""
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_REST_OF_STRING = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_DEEP = 8
"""Brackets whose kinds are matched one by one; what nests deeper is counted in runs."""
_CLOSER = {b"[": b"]", b"{": b"}"}
_events = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(msgspec.Raw)


def _between(stops: bytes) -> re.Pattern[bytes]:
    """What lies before the next bracket, or one of `stops`, of a text: whole strings and whole values up to three deep."""
    plain = rb'[^"\[\]{}]++'
    value = rb"(?:" + plain + rb"|" + _STRING + rb")*+"
    for _ in range(3):
        groups = rb"\{" + value + rb"\}|\[" + value + rb"\]"
        value = rb"(?:" + plain + rb"|" + _STRING + rb"|" + groups + rb")*+"
    return re.compile(rb'(?:[^"\[\]{}' + stops + rb"]++|" + _STRING + rb"|" + groups + rb")*+", re.DOTALL)


_IN_LIST = _between(b",")
_IN_EVENT = _between(b"")
_STRINGS = re.compile(_STRING, re.DOTALL)
_STRING_OR_CLOSER = re.compile(_STRING + rb"|[\]}]", re.DOTALL)
_TO_CLOSER = re.compile(rb'(?:[^"\]}]++|' + _STRING + rb")*+", re.DOTALL)
_TO_OPENER = re.compile(rb'(?:[^"\[{]++|' + _STRING + rb")*+", re.DOTALL)


def split(body: bytes, max_events: int, max_event_bytes: int) -> list[bytes]:
    """The JSON text of each event: a list's elements, or the one object.

    A list that only its characters, numbers or depth make no JSON is taken too; a longer piece than `max_event_bytes` is
    not looked into. Raises Refused 400 for other texts, and 413 for more than `max_events`.
    """
    text = body.removeprefix(_BOM).strip()
    if not text:
        raise Refused(400, "unparseable", "the body is empty; send one event or a list of events as JSON")
    if text[:1] not in (b"[", b"{"):
        raise Refused(400, "unparseable", "the body is neither a JSON object nor a list of them")
    fault = "its brackets or strings do not close"
    commas = max_events * _COMMAS_PER_EVENT
    if len(text) <= commas or text.count(b",") <= commas:
        try:
            if not text.startswith(b"["):
                return [bytes(_event.decode(text))]
            found = _events.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            fault = str(error)
        else:
            if len(found) > max_events:
                raise too_many(max_events)
            return [bytes(raw) for raw in found]
    events = _pieces(text, max_events)
    if not events or not all(len(event) > max_event_bytes or _nearly_json(event) for event in events):
        raise Refused(400, "unparseable", f"the body is not JSON: {fault}")
    return events


def too_many(max_events: int) -> Refused:
    """The refusal of a list of more than `max_events` events."""
    return Refused(413, "too_many_events", f"more than {max_events} events in one request; send at most {max_events}")


def _pieces(text: bytes, max_events: int) -> list[bytes]:
    """The elements of a list, or the one object, by brackets and commas alone; none when the brackets do not match."""
    pieces: list[bytes] = []
    is_list = text.startswith(b"[")
    start = 1 if is_list else 0
    for at, is_end in _borders(text, is_list):
        piece = text[start : at if is_list else at + 1].strip()
        start = at + 1
        if not piece:
            return []
        pieces.append(piece)
        if len(pieces) > max_events:
            raise too_many(max_events)
        if is_end:
            return pieces if start == len(text) else []
    return []


def _borders(text: bytes, is_list: bool) -> Iterator[tuple[int, bool]]:
    """(place, whether it is the last bracket) of each comma of the outermost list and of the bracket that closes the text.

    Ends early where brackets do not match or a string does not close.
    """
    closers = [_CLOSER[text[:1]]]
    at = 1
    while True:
        at = _next_mark(text, at, _IN_LIST if is_list and len(closers) == 1 else _IN_EVENT)
        mark = text[at : at + 1]
        if mark in _CLOSER:
            closers.append(_CLOSER[mark])
            if len(closers) > _DEEP:
                closers.pop()
                at = _out_of_the_deep(text, at)
                continue
        elif mark == b",":
            yield at, False
        elif closers.pop() != mark:
            return
        elif not closers:
            yield at, True
            return
        at += 1


def _out_of_the_deep(text: bytes, at: int) -> int:
    """The place behind the bracket that closes the one at `at`, whatever kind it is; the end of the text without one."""
    size = len(text)
    depth = 0
    while at < size:
        window = min(at + _WINDOW, size)
        end = _TO_CLOSER.match(text, at, window).end()  # type: ignore[union-attr]  # it matches nothing too
        depth += _count(text[at:end], b"[{")
        at = end
        if at < window and text[at] != 0x22:
            end = _TO_OPENER.match(text, at, window).end()  # type: ignore[union-attr]
            closing = _count(text[at:end], b"]}")
            if closing >= depth:
                return _behind_closers(text, at, depth)
            depth -= closing
            at = end
        if at < window and text[at] == 0x22:
            at = _end_of_string(text, at + 1)
    return size


def _count(text: bytes, marks: bytes) -> int:
    """How often one of the two `marks` stands outside of the strings of a text."""
    bare = _STRINGS.sub(b"", text) if b'"' in text else text
    return bare.count(marks[:1]) + bare.count(marks[1:])


def _behind_closers(text: bytes, at: int, count: int) -> int:
    """The place behind the next `count` closing brackets."""
    for match in _STRING_OR_CLOSER.finditer(text, at):
        if match.group()[:1] != b'"':
            count -= 1
            if not count:
                return match.end()
    return len(text)


def _next_mark(text: bytes, at: int, between: re.Pattern[bytes]) -> int:
    """Where the next bracket or comma is that `between` stops at; the end of the text when a string does not close."""
    size = len(text)
    while at < size:
        window = min(at + _WINDOW, size)
        match = between.match(text, at, window)
        at = match.end() if match else at
        if at < window:
            if text[at] != 0x22:
                return at
            at = _end_of_string(text, at + 1)
    return size


def _end_of_string(text: bytes, at: int) -> int:
    """The place behind the quote that ends the string which `at` lies in; the end of the text when there is none."""
    size = len(text)
    while at < size:
        window = min(at + _WINDOW, size)
        match = _REST_OF_STRING.match(text, at, window)
        at = match.end() if match else at
        if at < size and text[at] == 0x22:
            return at + 1
        if at < window and window == size:  # a backslash that ends the text
            return size
    return size


def _nearly_json(text: bytes) -> bool:
    """Whether a lenient parser takes the text."""
    try:
        json.loads(text.decode(errors="replace"), strict=False, parse_int=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
