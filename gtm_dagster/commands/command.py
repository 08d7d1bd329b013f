"""How a module declares a command of `gtm`: a `COMMANDS` tuple, which `cli.py` finds by listing the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command: the words after `gtm` ("refresh", or "keys add" in the group `keys`) and the function behind them.

    `order` is its place in the help of `gtm` or of its group: smaller comes first.
    """

    words: str
    function: Callable[..., Any]
    order: int


@dataclass(frozen=True)
class Group:
    """A word that other commands follow (`gtm keys ...`), and what its help says; `order` as in `Command`.

    `default`: the command of the group that is meant where the first word is none of them, so that `gtm attribute FILE` is
    `gtm attribute paths FILE`; a file that is called like a command is reached as ./explain.
    """

    words: str
    help: str
    order: int
    default: str | None = None
