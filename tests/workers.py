"""Which tests share a worker of `make test-real`, and which begin first."""

from __future__ import annotations

ONE_FIXTURE = ("conformance", "e2e", "opsstore")
"""Folders with a fixture for the whole run that costs many seconds: Spark and both DuckDBs, `gtm dev`, PostgreSQL."""
ALONE = ("warehouse/test_credit_windows.py", "warehouse/test_pipeline_oracle.py", "warehouse/test_withdrawals.py")
"""Files whose tests share nothing and take many seconds each: a worker takes them one by one."""
LONGEST_FIRST: tuple[str, ...] = ("chaos/test_experiments.py", "conformance", "e2e")
"""Groups of a minute and more, in the order of their length."""


def one_worker_for(path: str, test: str) -> str:
    """The group of the test `test` in `path` (below tests/): one worker has the tests of a group, one after the other."""
    folder = path.partition("/")[0]
    if folder in ONE_FIXTURE:
        return folder
    return f"{path}::{test}" if path in ALONE else path
