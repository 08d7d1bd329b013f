"""Times of a fixed layout, read from the bytes of a whole column at once.

A layout says what stands at each byte. A text that does not fit its layout exactly is not refused here: it is left for
the readers of single texts, which decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.importing.time_formats import expanded, names_utc

_BLOCK = 1 << 15
_FEW = 16
_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}
_OFFSET_WIDTHS = {"s": 1, "h": 2, "n": 2}
_ZONES = ("Z", "%s%h:%n", "", " UTC", "%s%h", "%s%h%n", " %s%h%n", " %s%h:%n", " Z", " %s%h", "UTC")
_LETTERS = {"T": b"T t", "Z": b"Zz"}
_LIMITS = {"Y": (1, 9999), "m": (1, 12), "d": (1, 31), "H": (0, 23), "M": (0, 59), "S": (0, 59), "h": (0, 23), "n": (0, 59)}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """What stands where: (`part`, first byte, bytes); parts are Y m d H M S f, s h n (sign, hours, minutes of the offset).

    `fixed`: (byte, letters allowed there). `is_utc`: whether the time is UTC (after its offset, where it has one).
    """

    parts: tuple[tuple[str, int, int], ...]
    fixed: tuple[tuple[int, bytes], ...]
    is_utc: bool


@dataclass(frozen=True)
class Found:
    """Of each text: microseconds, whether they are UTC, and whether the text fitted a layout at all."""

    us: np.ndarray
    is_utc: np.ndarray
    fits: np.ndarray


def read_fixed(texts: pa.Array, name: str) -> Found:
    """The times of `texts` (string, with nulls) in the format `name` (iso or of strptime), as far as their layout is known."""
    count = len(texts)
    found = Found(np.zeros(count, np.int64), np.zeros(count, bool), np.zeros(count, bool))
    if not count or texts.null_count == count:
        return found
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    widths, counts = (
        np.unique(lengths, return_counts=True) if lengths.min() != lengths.max() else (lengths[:1], [count])
    )
    for width, many in zip(widths.tolist(), counts, strict=True):
        layouts = _layouts(name, width) if many > _FEW else ()
        if layouts:
            place = np.flatnonzero(lengths == width) if many < count else None
            group = texts.take(pa.array(place)) if place is not None else texts
            _read_group(_matrix(group, width), layouts, place, found)
    return found


def _matrix(texts: pa.Array, width: int) -> np.ndarray:
    """The bytes of texts of one length, a row each."""
    offsets, data = texts.buffers()[1:]
    first = np.frombuffer(offsets, np.int32, 1, texts.offset * 4)[0]
    return np.frombuffer(data, np.uint8, len(texts) * width, first).reshape(len(texts), width)


def _read_group(matrix: np.ndarray, layouts: tuple[Layout, ...], place: np.ndarray | None, found: Found) -> None:
    for start in range(0, len(matrix), _BLOCK):
        columns = np.ascontiguousarray(matrix[start : start + _BLOCK].T)
        here = slice(start, start + columns.shape[1]) if place is None else place[start : start + columns.shape[1]]
        left = np.arange(columns.shape[1])
        ordered = sorted(layouts, key=lambda layout, columns=columns: not _read(columns[:, :1], layout)[1][0])  # type: ignore[misc]
        for layout in ordered:
            whole = len(left) == columns.shape[1]
            us, fits = _read(columns if whole else columns[:, left], layout)
            if fits.all() and whole:
                found.us[here], found.is_utc[here], found.fits[here] = us, layout.is_utc, True
                break
            rows = left[fits]
            at = rows + start if place is None else place[rows + start]
            found.us[at], found.is_utc[at], found.fits[at] = us[fits], layout.is_utc, True
            left = left[~fits]
            if len(left) <= _FEW:
                break


def _read(columns: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(microseconds, whether the text fits) of texts given as one row of bytes for each place in the text."""
    count = columns.shape[1]
    fits = np.ones(count, bool)
    for place, letters in layout.fixed:
        same = columns[place] == letters[0]
        for letter in letters[1:]:
            same |= columns[place] == letter
        fits &= same
    value: dict[str, np.ndarray] = {}
    for part, place, width in layout.parts:
        if part == "s":
            fits &= (columns[place] == ord("+")) | (columns[place] == ord("-"))
            value[part] = np.where(columns[place] == ord("-"), -1, 1)
            continue
        number = np.zeros(count, np.int32)
        for index in range(width):
            digit = columns[place + index] - np.uint8(48)  # wraps around: what is below "0" is above 9
            fits &= digit <= 9
            if part != "f" or index < 6:
                number = number * np.int32(10) + digit
        if part == "f":
            number *= np.int32(10 ** max(0, 6 - width))
        else:
            low, high = _LIMITS[part]
            fits &= (number >= low) & (number <= high)
        value[part] = number
    first_days, lengths = _months()
    month = np.where(fits, value["Y"] * 12 + value["m"] - 13, 0)
    fits &= value["d"] <= lengths[month]
    minutes = (first_days[month] + value["d"]) * 1440
    for part, factor in (("H", 60), ("M", 1)):
        if part in value:
            minutes += value[part] * factor
    if "s" in value:
        minutes -= value["s"] * (value["h"] * 60 + value.get("n", 0))
    us = minutes * 60_000_000
    if "S" in value:
        us += value["S"] * np.int64(1_000_000)
    if "f" in value:
        us += value["f"]
    return us, fits


@cache
def _months() -> tuple[np.ndarray, np.ndarray]:
    """Of every month from January of the year 1: (the day before its first, counted from the epoch; its days)."""
    starts = np.arange("0001-01", "10000-02", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return starts[:-1] - 1, np.diff(starts).astype(np.int32)


@cache
def _layouts(name: str, width: int) -> tuple[Layout, ...]:
    """The layouts of texts of `width` bytes in the format `name`; none when the format has none of this width."""
    if width > 64:
        return ()
    if name != "iso":
        layout = _strptime_layout(name, width)
        return (layout,) if layout else ()
    layouts = [
        _placed(_single(f"%Y-%m-%dT%H:%M{seconds}{zone}"), width, bool(zone), _LETTERS)
        for seconds in (":%S", ":%S.%f", "")
        for zone in _ZONES
    ]
    return tuple(layout for layout in layouts if layout)


def _strptime_layout(name: str, width: int) -> Layout | None:
    parts = expanded(name)
    letters = {part[1] for part in parts if _is_directive(part)}
    if not letters <= {*_WIDTHS, "f"} or not letters >= {"Y", "m", "d"} or not name.isascii():
        return None
    single = [piece for part in parts for piece in ([part] if _is_directive(part) else part)]
    return _placed(single, width, names_utc(parts), {})


def _single(layout: str) -> list[str]:
    return re.findall("%.|[^%]", layout)


def _is_directive(part: str) -> bool:
    return len(part) == 2 and part[0] == "%"


def _placed(parts: list[str], width: int, is_utc: bool, letters: dict[str, bytes]) -> Layout | None:
    """The layout of directives and single letters when they take `width` bytes; `%f` takes what the others leave."""
    widths = _WIDTHS | _OFFSET_WIDTHS
    digits = width - sum(widths.get(part[1], 0) if _is_directive(part) else 1 for part in parts)
    if digits < 1 if "%f" in parts else digits:
        return None
    placed: list[tuple[str, int, int]] = []
    fixed: list[tuple[int, bytes]] = []
    place = 0
    for part in parts:
        if _is_directive(part):
            placed.append((part[1], place, widths.get(part[1], digits)))
            place += placed[-1][2]
        else:
            fixed.append((place, letters.get(part, part.encode())))
            place += 1
    return Layout(tuple(placed), tuple(fixed), is_utc)
