"""Times in messages: RFC 3339 in UTC, the fraction only where there is one."""

from __future__ import annotations

import pytest

from gtm_dagster.triggers.message_payload import moment


@pytest.mark.parametrize(
    ("us", "expected"),
    [
        pytest.param(0, "1970-01-01T00:00:00Z", id="whole-second"),
        pytest.param(1_764_500_000_000_000, "2025-11-30T10:53:20Z", id="whole-second-of-today"),
        pytest.param(1_764_500_000_000_007, "2025-11-30T10:53:20.000007Z", id="six-digits-always"),
        pytest.param(1_764_500_000_123_000, "2025-11-30T10:53:20.123000Z", id="milliseconds"),
        pytest.param(-1, "1969-12-31T23:59:59.999999Z", id="before-1970"),
    ],
)
def test_moment(us: int, expected: str) -> None:
    assert moment(us) == expected
