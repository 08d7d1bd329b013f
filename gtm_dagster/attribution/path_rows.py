"""From the rows of a file of paths to distinct paths: parsing, what is wrong with which row, and the sums of each path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.attribution.path_table import PathTable
from gtm_dagster.attribution.pathfile import PathsError, PathsUsage
from gtm_dagster.attribution.touch_lists import TouchLists


@dataclass(frozen=True)
class PathColumns:
    """The columns of a file of paths, None for those that are not read, and what stands between two touches."""

    path: str
    conversions: str
    value: str | None
    nulls: str | None
    ages: str | None
    stages: str | None
    separator: str

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that are lists of one entry a touch or stage, path first."""
        return tuple(name for name in (self.path, self.ages, self.stages) if name)


@dataclass(frozen=True)
class _Flaw:
    """Something wrong with some paths or rows: which, in which column, and the words for one of them."""

    wrong: np.ndarray
    column: str
    words: str


def path_table(frame: pd.DataFrame, columns: PathColumns, where: str, skip_bad_rows: bool) -> tuple[PathTable, int]:
    """The distinct paths of `frame`, and how many rows were skipped.

    Raises PathsUsage for a column that is not there, PathsError for the first row that is not a path with numbers of 0
    or more; with `skip_bad_rows` such rows are skipped.
    """
    for column in filter(None, (*columns.texts, columns.conversions, columns.value, columns.nulls)):
        if column not in frame.columns:
            there = ", ".join(map(str, frame.columns)) or "none"
            raise PathsUsage(f"{where}: no column {column!r} (columns: {there}); rename it or say which column to use")
    texts, of_row = _distinct({name: _text(frame[name]) for name in columns.texts})
    sums: dict[str, np.ndarray] = {}
    bad_row = np.zeros(len(frame), dtype=bool)
    for column in filter(None, (columns.conversions, columns.value, columns.nulls)):
        sums[column] = numbers = np.asarray(pd.to_numeric(frame[column], errors="coerce"), dtype=np.float64)
        wrong = ~(np.isfinite(numbers) & (numbers >= 0))
        if wrong.any() and not skip_bad_rows:
            row = int(np.flatnonzero(wrong)[0])
            given = frame[column].iloc[row]
            raise PathsError(f"{where}: row {row + 1}, column {column!r}: {_shown(given)} is not a number of 0 or more")
        bad_row |= wrong
    parsed = _Parsed(texts, columns)
    bad_path = np.zeros(len(parsed.lengths), dtype=bool)
    for flaw in parsed.flaws():
        if flaw.wrong.any() and not skip_bad_rows:
            row = int(np.flatnonzero(flaw.wrong[of_row])[0])
            given = frame[flaw.column].iloc[row]
            raise PathsError(f"{where}: row {row + 1}, column {flaw.column!r}: {flaw.words.format(given=given)}")
        bad_path |= flaw.wrong
    good = ~(bad_row | bad_path[of_row])
    weights = {name: numbers[good] for name, numbers in sums.items()}
    of_row = of_row[good]

    paths = len(parsed.lengths)

    def total(column: str | None) -> np.ndarray:
        return np.bincount(of_row, weights=weights[column], minlength=paths) if column else np.zeros(paths)

    table = PathTable(
        channels=tuple(parsed.channels),
        channel=parsed.channel,
        lengths=parsed.lengths,
        ages_hours=parsed.ages_hours,
        stages=parsed.stages,
        conversions=total(columns.conversions),
        value=total(columns.value) if columns.value else None,
        nulls=total(columns.nulls),
        rows=np.bincount(of_row, minlength=paths),
    )
    del parsed, texts
    pa.default_memory_pool().release_unused()  # the texts are done with; what is computed of them takes their room
    return table.paths(table.rows > 0), int((~good).sum())


def _text(column: pd.Series) -> pa.Array:
    try:
        text = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # an object column of texts and numbers
        text = pa.array(column.astype("string"), from_pandas=True)
    if isinstance(text, pa.ChunkedArray):  # encoding many chunks and unifying them takes six times as long
        text = text.combine_chunks()
    return text if pa.types.is_large_string(text.type) else text.cast(pa.large_string())


@dataclass(frozen=True)
class _Texts:
    """The distinct texts of a column, and which of them each distinct row has: a text is split once, whatever it stands beside."""

    texts: pa.Array
    of_path: np.ndarray

    def split(self, separator: str) -> tuple[pa.Array, np.ndarray]:
        """The entries of all texts, and how many each has."""
        parts = pc.split_pattern(self.texts.fill_null(""), separator)
        return pc.list_flatten(parts), pc.list_value_length(parts).to_numpy(zero_copy_only=False).astype(np.int64)


def _distinct(columns: dict[str, pa.Array]) -> tuple[dict[str, _Texts], np.ndarray]:
    """The distinct rows of parallel arrays, column by column, and the number of the distinct row of each row."""
    encoded = [text.dictionary_encode(null_encoding="encode") for text in columns.values()]
    of_row = encoded[0].indices.to_numpy(zero_copy_only=False)
    codes = [np.arange(len(encoded[0].dictionary))]
    for array in encoded[1:]:
        several = max(len(array.dictionary), 1)
        pairs = of_row.astype(np.int64) * several
        pairs += array.indices.to_numpy(zero_copy_only=False)
        of_row, distinct = pd.factorize(pairs)
        codes = [*(code[distinct // several] for code in codes), distinct % several]
    texts = [_Texts(array.dictionary, code) for array, code in zip(encoded, codes, strict=True)]
    return dict(zip(columns, texts, strict=True)), of_row


class _Parsed:
    """Distinct paths, their ages and stages, split; `flaws` finds what is wrong with each before any of it is read."""

    def __init__(self, texts: dict[str, _Texts], columns: PathColumns) -> None:
        self._columns, self._texts = columns, texts
        paths = texts[columns.path]
        self._absent = paths.texts.is_null().to_numpy(zero_copy_only=False)[paths.of_path]
        entries, lengths = paths.split(columns.separator)
        written = entries.dictionary_encode()
        names = pc.utf8_trim_whitespace(written.dictionary).dictionary_encode()
        self.channels: list[str] = names.dictionary.to_pylist()
        channel = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        written_as = written.indices.to_numpy(zero_copy_only=False)
        touches = TouchLists(channel[written_as], lengths).of(paths.of_path)
        self.channel, self.lengths = touches.code, touches.lengths
        self.ages_hours: np.ndarray | None = None
        self.stages = np.zeros(len(self.channel), dtype=np.int64)

    def flaws(self) -> Iterator[_Flaw]:
        """What is wrong, most basic first; ages and stages of paths without a flaw are read on the way."""
        path = self._columns.path
        yield _Flaw(self._absent, path, "there is no path")
        nameless = np.array([not name for name in self.channels], dtype=bool)[self.channel]
        yield _Flaw(self._any(nameless), path, "{given!r} has a channel without a name")
        if self._columns.ages:
            yield from self._read_ages(self._columns.ages)
        if self._columns.stages:
            yield from self._read_stages(self._columns.stages)

    def _read_ages(self, column: str) -> Iterator[_Flaw]:
        texts = self._texts[column]
        entries, counts = texts.split(self._columns.separator)
        other_count = counts[texts.of_path] != self.lengths
        yield _Flaw(other_count, column, "{given!r} has not as many ages as the path has touches")
        ages = np.zeros(len(self.channel))
        same = (~other_count).repeat(self.lengths)
        ages[same] = TouchLists(_floats(entries), counts).of(texts.of_path[~other_count]).code
        bad = ~(np.isfinite(ages) & (ages >= 0))
        yield _Flaw(self._any(bad), column, "{given!r} has an age that is not a number of hours of 0 or more")
        older = np.zeros(len(ages), dtype=bool)
        path = np.arange(len(self.lengths)).repeat(self.lengths)
        older[1:] = (ages[1:] > ages[:-1]) & (path[1:] == path[:-1])
        yield _Flaw(
            self._any(older), column, "{given!r} has a touch that is older than the one before it; give oldest first"
        )
        self.ages_hours = ages

    def _read_stages(self, column: str) -> Iterator[_Flaw]:
        # An entry is the place of the touch of a stage in the path, from 1; an empty one a stage that was not reached.
        texts = self._texts[column]
        entries, counts = texts.split(self._columns.separator.strip() or " ")
        entries = pc.utf8_trim_whitespace(entries)
        given = TouchLists(pc.not_equal(entries, "").to_numpy(zero_copy_only=False), counts).of(texts.of_path).code
        stages = TouchLists(_floats(entries), counts).of(texts.of_path)
        path, places = stages.number, stages.code
        bad = given & ~((places >= 1) & (places <= self.lengths[path]) & (places == np.floor(places)))
        wrong = np.bincount(path[bad], minlength=len(self.lengths)) > 0
        yield _Flaw(wrong, column, "{given!r} has a place that the path does not have")
        good = given & ~wrong[path]
        start = self.lengths.cumsum() - self.lengths
        at = (start[path[good]] + places[good] - 1).astype(np.int64)
        self.stages = np.bincount(at, minlength=len(self.channel))

    def _any(self, of_touch: np.ndarray) -> np.ndarray:
        """For each path whether any of its touches is so."""
        path = np.arange(len(self.lengths)).repeat(self.lengths)
        return np.bincount(path[of_touch], minlength=len(self.lengths)) > 0


def _floats(texts: pa.Array) -> np.ndarray:
    """The numbers, NaN for a text that is none."""
    trimmed = pc.utf8_trim_whitespace(texts)
    try:
        return trimmed.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return np.asarray(pd.to_numeric(pd.Series(trimmed.to_pylist()), errors="coerce"), dtype=np.float64)


def _shown(value: object) -> str:
    """A cell as its file has it: a number of numpy without its type."""
    return repr(value.item() if isinstance(value, np.generic) else value)
