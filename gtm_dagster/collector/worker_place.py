"""Which of several processes at one port a process is."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Worker(msgspec.Struct, frozen=True):
    """The worker `number`, from 1 on; `folder` is what all of them share while the collector runs: rates of keys, and
    the figures of each for the metrics.
    """

    number: int
    folder: Path
