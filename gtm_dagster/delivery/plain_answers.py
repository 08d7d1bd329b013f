"""Answers that need no parser: a short success that came whole, as nearly all answers to a webhook are."""

from __future__ import annotations

import re

READ_AHEAD_BYTES = 4096
"""What is read of an answer before it is looked at."""
_HEAD = re.compile(rb"HTTP/1\.1 (20[0-4]) [\t -~]*\r\n((?:[!#-'*+.0-9A-Z^-z|~-]+:[\t -~]*\r\n)*)\r\n")
_LENGTH = re.compile(rb"^content-length:[\t ]*([0-9]{1,4})[\t ]*\r$", re.MULTILINE)
_NOT_PLAIN = (b"transfer-encoding", b"close", b"upgrade")


def plain_answer(data: bytes) -> tuple[int, bytes] | None:
    """Status and body, where `data` is one whole answer of HTTP/1.1 with a length, after which the connection stays open.

    None for whatever is not that plain: the library's parser has to look at it.
    """
    head = _HEAD.match(data)
    if head is None:
        return None
    status, fields, body = int(head[1]), head[2].lower(), data[head.end() :]
    lengths = _LENGTH.findall(fields)
    if any(word in fields for word in _NOT_PLAIN) or len(lengths) != fields.count(b"content-length"):
        return None
    if status == 204:
        return (status, b"") if not body and not lengths else None
    return (status, body) if len(lengths) == 1 and int(lengths[0]) == len(body) else None
