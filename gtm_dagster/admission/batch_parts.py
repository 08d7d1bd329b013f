"""Coded columns: the distinct values of a column, or of several together, and which of them each row has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

_MOST_CODES = 2**40


class Coded:
    """`values[codes[row]]` is what a row has; the last value is that of a null.

    `refused`: a bool a value, true where a text was sent and the function found nothing good in it.
    """

    def __init__(self, codes: np.ndarray, values: list[Any], refused: np.ndarray | None = None) -> None:
        self.codes = codes
        self.values = values
        self._refused = refused

    @cached_property
    def valid(self) -> np.ndarray:
        """Rows whose value is not None."""
        return self.where(lambda value: value is not None)

    @cached_property
    def fits(self) -> np.ndarray:
        """Rows that are null, or whose text was found good."""
        if self._refused is None or not self._refused.any():
            return np.ones(len(self.codes), dtype=bool)
        return ~self._refused[self.codes]

    def where(self, holds: Callable[[Any], bool]) -> np.ndarray:
        """Rows whose value `holds`."""
        flags = np.fromiter((bool(holds(value)) for value in self.values), dtype=bool, count=len(self.values))
        return flags[self.codes]

    def each(self, function: Callable[[Any], Any]) -> Coded:
        """The column of `function` of every value, called once for each distinct one; None is nothing good."""
        found = [function(value) for value in self.values]
        return Coded(self.codes, found, np.array([value is None for value in found]))

    def texts(self, text_of: Callable[[Any], str | None] | None = None) -> pa.Array:
        """The column as text; null where the value is None."""
        texts = self.values
        if text_of is not None:
            texts = [None if value is None else text_of(value) for value in texts]
        if all(text is None for text in texts):
            return pa.nulls(len(self.codes), pa.string())
        return pa.array(texts, pa.string()).take(pa.array(self.codes))


def coded(array: pa.Array, function: Callable[[str], Any] | None = None) -> Coded:
    """A column of texts, each distinct one as `function` of it; null stays None and is no refusal."""
    rows = len(array)
    if array.null_count == rows:
        return Coded(np.zeros(rows, dtype=np.int64), [None], np.zeros(1, dtype=bool))
    dictionary = array.dictionary_encode()
    texts = dictionary.dictionary.to_pylist()
    codes = dictionary.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
    values = texts if function is None else [function(text) for text in texts]
    refused = np.array([*(value is None for value in values), False])
    return Coded(codes, [*values, None], refused)


def together(columns: Sequence[Coded]) -> Coded:
    """The distinct combinations of the values of several columns, as tuples."""
    rows = len(columns[0].codes)
    whole, size = np.zeros(rows, dtype=np.int64), 1
    for column in columns:
        if len(column.values) == 1:
            continue
        whole = whole * len(column.values) + column.codes
        size *= len(column.values)
        if size > _MOST_CODES // 2**20:
            whole, size = _renumbered(whole)
    codes, count = _renumbered(whole)
    first = np.zeros(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(rows - 1, -1, -1)
    parts = [[column.values[code] for code in column.codes[first].tolist()] for column in columns]
    return Coded(codes, list(zip(*parts, strict=True)))


def _renumbered(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """The codes as numbers from 0 without a gap, and how many there are."""
    dictionary = pa.array(codes).dictionary_encode()
    return dictionary.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(dictionary.dictionary)
