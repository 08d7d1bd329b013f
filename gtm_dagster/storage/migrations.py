"""Migrations of a database: named, ordered, recorded in it, each applied once and in the transaction that records it.

A database says which migrations it has seen. A newer program applies the ones that are missing; an older program finds a
name it does not know and refuses, before it has read or written anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Connection = TypeVar("Connection")

NEWER = "written by a newer gtm-dagster; install that version"
"""What a file or database of a later version answers, also to a program that cannot know why."""


class NewerFormatError(Exception):
    """A file or database was written by a newer version; the message names it and says which program to use."""


@dataclass(frozen=True)
class Migration(Generic[Connection]):
    """One step: `apply` changes the database through the connection of the caller's transaction."""

    name: str
    apply: Callable[[Connection], None]


def pending(
    applied: Iterable[str], known: Sequence[Migration[Connection]], place: object
) -> list[Migration[Connection]]:
    """The migrations of `known` that `place` (a path or address) has not seen, in their order.

    Raises NewerFormatError when `applied` names one that is not known, ValueError when two of `known` share a name.
    """
    names = [migration.name for migration in known]
    if len(set(names)) < len(names):
        raise ValueError(f"two migrations share a name: {', '.join(names)}")
    seen = list(applied)
    unknown = sorted(set(seen) - set(names))
    if unknown:
        raise NewerFormatError(
            f"{place}: written by a newer gtm-dagster (migration {unknown[-1]}); install that version or a later one"
        )
    return [migration for migration in known if migration.name not in seen]


def migrate(
    con: Connection,
    known: Sequence[Migration[Connection]],
    place: object,
    applied: Callable[[Connection], Iterable[str]],
    record: Callable[[Connection, str], None],
) -> list[str]:
    """Apply what is pending, in order, and record each; returns their names.

    `con` is inside a transaction that keeps other writers out, so two programs that start at once migrate once. Raises
    NewerFormatError; then nothing was changed.
    """
    todo = pending(applied(con), known, place)
    for migration in todo:
        migration.apply(con)
        record(con, migration.name)
    return [migration.name for migration in todo]
