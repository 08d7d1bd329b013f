"""What a page says in place of a figure: what is missing, since when, and the command that brings it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Notice:
    """`what` is missing, `since` when (UTC; None where that is not known), the `command` that mends it and `why` it may be."""

    what: str
    command: str | None = None
    since: datetime | None = None
    why: str = ""


class NotFoundError(Exception):
    """There is no such page, chart or thing; the message says which there are, or where to look."""


class UnavailableError(Exception):
    """A figure cannot be shown; `notice` says why, and what to do."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(notice.what)
        self.notice = notice
