"""A live runner over the files of one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_cases import LiveCase
from trigger_cases import rules


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., LiveCase]]:
    """A case over `events.db` and `triggers.db` of one folder; a second call goes on with them."""
    cases: list[LiveCase] = []

    def make(*texts: str, **options: Any) -> LiveCase:
        cases.append(LiveCase(tmp_path, rules(*texts), **options))
        return cases[-1]

    yield make
    for case in cases:
        case.close()
