"""Text as a terminal may get it: what came with an event, a file name or an answer never steers the terminal."""

from __future__ import annotations

import re
import textwrap

_STEERING = "\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff\\U000e0000-\\U000e007f"
"""C0 and C1 controls with ESC, DEL and CSI; marks that turn the direction of text; line and paragraph separators; the byte
order mark; halves of characters, as names of files hold them; tags, which nobody sees."""
_ALL = re.compile(f"[{_STEERING}]")
_BUT_LINES = re.compile(f"(?![\\n\\t])[{_STEERING}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def on_one_line(text: str) -> str:
    """`text` with every character that steers a terminal escaped as Python and JSON write it, ends of lines too."""
    return _ALL.sub(_escaped, text)


def on_lines(text: str) -> str:
    """The same, but for line ends and tabs: for a text of several lines that this program made."""
    return _BUT_LINES.sub(_escaped, text)


def in_json(document: str) -> str:
    """A JSON document with the same characters as \\uXXXX, which any reader of JSON turns back: none stands between texts."""
    return _BUT_LINES.sub(_escaped_in_json, document)


_COMMAND = re.compile(r"`[^`\n]*`")
_NO_BREAK = "\0"


def broken_at_blanks(line: str, width: int) -> str:
    """A line as several of at most `width` characters, the further ones indented by two more.

    A word stays whole, however long, and so does a command in backticks: both are there to be copied.
    """
    indent = line[: len(line) - len(line.lstrip())]
    whole = _COMMAND.sub(lambda match: match.group().replace(" ", _NO_BREAK), line)
    lines = textwrap.wrap(
        whole, width, subsequent_indent=f"{indent}  ", expand_tabs=False, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace(_NO_BREAK, " ")


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    return _SHORT.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _escaped_in_json(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + ((code - 0x10000) >> 10):04x}\\u{0xDC00 + ((code - 0x10000) & 0x3FF):04x}"
