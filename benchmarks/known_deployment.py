"""x."""

from benchmarks.known_answer import KnownAnswer

CASES: tuple[KnownAnswer, ...] = ()
