"""Rows of a file before they are events: the readable ones as a table, and those that fit none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from gtm_dagster.taxonomy.event import FieldError


@dataclass(frozen=True)
class BrokenRow:
    """A row that does not fit the table: its number (from 1, without the header), its text and the reason."""

    row_no: int
    text: str
    error: FieldError


@dataclass(frozen=True)
class Rows:
    """Rows of a part of a file: the readable ones as a table, the number of each of them, and the broken ones.

    `numeric`: text columns whose values are all JSON numbers already, so that no notation applies to them.
    `may_lack_columns`: other parts of the file may have columns that this one lacks.
    """

    table: pa.Table
    numbers: Sequence[int] | np.ndarray
    broken: list[BrokenRow] = field(default_factory=list)
    numeric: frozenset[str] = frozenset()
    may_lack_columns: bool = False
