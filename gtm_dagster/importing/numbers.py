"""Texts of a column as JSON numbers, in the notation a mapping names, and what to say of a column that needs another one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import isfinite

import pyarrow as pa

_ALIKE = {" ": " \u00a0\u202f\u2009", "'": "'\u2019"}
"""Characters that programs write for one another between groups of digits."""
_COMMA = re.compile(r"-?[0-9]{1,3}(?:[.' \u00a0\u202f][0-9]{3})+,[0-9]+|-?[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})")
_COMMA_GROUPS = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_POINT_GROUP = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")
_POINT = re.compile(r"-?[0-9]+\.[0-9]+")


@cache
def number_format(decimal: str | None, thousands: str) -> Callable[[str], str | None]:
    """The function that makes a JSON number of a text; None when it is none.

    `decimal` is the sign before the fraction (None: a point), `thousands` the one between groups of three digits, if any.
    Groups are whole: `1.23` is no number where the point divides thousands.
    """
    point = re.escape(decimal or ".")
    digits = "(?:0|[1-9][0-9]*)"
    if thousands:
        between = f"[{re.escape(_ALIKE.get(thousands, thousands))}]"
        digits = f"(?:0|[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+|[1-9][0-9]*)"
    fits = re.compile(rf"(-?)({digits})(?:{point}([0-9]+))?([eE][+-]?[0-9]+)?").fullmatch

    def number(text: str) -> str | None:
        match = fits(text.strip())
        if match is None:
            return None
        sign, whole, fraction, exponent = match.groups()
        if thousands:
            whole = re.sub("[^0-9]", "", whole)
        found = f"{sign}{whole}{'.' + fraction if fraction else ''}{exponent or ''}"
        return found if isfinite(float(found)) else None

    return number


@dataclass
class Notation:
    """What the texts of one number column look like beside the notation named for it; grows with every part of a file."""

    column: str
    decimal: str | None
    thousands: str
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)

    def look(self, texts: pa.Array) -> None:
        """Count the texts that another notation would read, or that are read although they may be in another one."""
        number = number_format(self.decimal, self.thousands)
        for each in texts.value_counts().to_pylist():
            text, count = (each["values"] or "").strip(), each["counts"]
            kind = self._kind(text, number(text) is not None)
            if kind:
                before, example = self.seen.get(kind, (0, text))
                self.seen[kind] = (before + count, example)

    def _kind(self, text: str, is_number: bool) -> str | None:
        if len(text) > 32:
            return None
        if is_number:
            return "group" if self.decimal is None and not self.thousands and _POINT_GROUP.fullmatch(text) else None
        for kind, pattern in (("comma", _COMMA), ("groups", _COMMA_GROUPS), ("point", _POINT)):
            if pattern.fullmatch(text):
                return kind
        return None

    def hints(self) -> tuple[str, ...]:
        """One line for the column, when another notation would read refused texts of it; else nothing."""
        if "comma" in self.seen and self.decimal is None:
            count, example = self.seen["comma"]
            hint = f'column {self.column}: {_texts(count, example)} no number; name decimal = "," in the mapping'
            if "group" in self.seen:
                count, example = self.seen["group"]
                hint += f" and thousands, since {_texts(count, example)} taken for a number below a thousand"
            elif not re.fullmatch("[-0-9,]+", example):
                hint += " and thousands"
            return (hint,)
        if "groups" in self.seen and not self.thousands:
            count, example = self.seen["groups"]
            return (f'column {self.column}: {_texts(count, example)} no number; name thousands = "," in the mapping, or decimal = "," where that is meant',)  # fmt: skip
        if "point" in self.seen and self.decimal not in (None, "."):
            count, example = self.seen["point"]
            return (f'column {self.column}: {_texts(count, example)} no number with decimal = "{self.decimal}"; check the mapping',)  # fmt: skip
        return ()


def _texts(count: int, example: str) -> str:
    return f"{count} texts such as {example} are" if count > 1 else f"the text {example} is"
