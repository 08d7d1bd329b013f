"""A deployment of the guard `checkout`, armed at NOON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stream_cases import Deployment


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.close()
