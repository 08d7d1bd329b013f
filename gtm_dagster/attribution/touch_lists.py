"""Many lists of codes, one behind the other, and what is asked of all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class TouchLists:
    """`code`: entries from 0, list after list; `lengths`: how many each list has."""

    code: np.ndarray
    lengths: np.ndarray

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each list ends, exclusive."""
        return self.lengths.cumsum()

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each list begins."""
        return self.ends - self.lengths

    @cached_property
    def number(self) -> np.ndarray:
        """The number of the list of each entry."""
        import numpy as np

        return np.arange(len(self.lengths)).repeat(self.lengths)

    def of(self, which: np.ndarray) -> TouchLists:
        """The lists with the given numbers, in that order."""
        import numpy as np

        lengths = self.lengths[which]
        shift = self.starts[which] - (lengths.cumsum() - lengths)
        return TouchLists(self.code[np.arange(lengths.sum()) + shift.repeat(lengths)], lengths)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """List number and code of each code that a list has, each once, by list and then by code."""
        import numpy as np

        codes = int(self.code.max(initial=0)) + 1
        number, code = np.divmod(np.unique(self.number * codes + self.code), codes)
        return number, code

    def distinct_counts(self) -> np.ndarray:
        """How many different codes each list has."""
        import numpy as np

        return np.bincount(self.pairs()[0], minlength=len(self.lengths))

    def distinct(self) -> TouchLists:
        """Each list with the first entry of every code alone."""
        import numpy as np

        codes = int(self.code.max(initial=0)) + 1
        _, first = np.unique(self.number * codes + self.code, return_index=True)
        first.sort()
        return TouchLists(self.code[first], np.bincount(self.number[first], minlength=len(self.lengths)))

    def grams(self, order: int, codes: int) -> tuple[TouchLists, np.ndarray]:
        """Each list as its runs of `order` entries, numbered; and a row a run: its codes plus 1, 0 before the beginning.

        A list shorter than `order` is one run.
        """
        import numpy as np

        if order == 1:
            return self, np.arange(1, codes + 1)[:, None]
        lengths = np.maximum(self.lengths - order + 1, 1)
        number = np.arange(len(lengths)).repeat(lengths)
        place = np.arange(len(number)) - (lengths.cumsum() - lengths)[number]
        missing = np.maximum(order - self.lengths, 0)[number]
        run = np.zeros(len(number), dtype=np.int64)
        columns = []
        for step in range(order):
            offset = place + step - missing
            code = np.where(offset < 0, 0, self.code[self.starts[number] + np.maximum(offset, 0)] + 1)
            columns.append(code)
            # Numbered anew at each step: a product of four code ranges need not fit 64 bits.
            _, run = np.unique(run * (codes + 1) + code, return_inverse=True)
        rows = np.zeros((int(run.max(initial=-1)) + 1, order), dtype=np.int64)
        for step, code in enumerate(columns):
            rows[run, step] = code
        return TouchLists(run, lengths), rows
