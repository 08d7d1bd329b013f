"""PyFlink as scripts/install-flink puts it."""

from __future__ import annotations

from pathlib import Path

import pytest

FLINK = Path(__file__).parents[2] / ".cache/flink"
JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""Options of Java under which it starts soon."""


def need_flink() -> None:
    """Skips where PyFlink is not installed."""
    if not (FLINK / "installed").exists():
        pytest.skip("PyFlink is not installed: run make install-flink (850 MB; make test-real does not)")
