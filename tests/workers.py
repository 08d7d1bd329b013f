"""Which tests share a worker of `make test-real`, and which begin first.

A scheduler of our own: the marker xdist_group, which pytest-xdist 3.8 writes into the id of a test, is lost with pytest 9.2.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler.loadscope import LoadScopeScheduling

ONE_FIXTURE = ("conformance", "e2e", "opsstore")
"""Folders with a fixture for the whole run that costs many seconds: Spark and both DuckDBs, `gtm dev`, PostgreSQL."""
ONE_BROKER = (
    "eventlog/test_eventlog_contract.py", "eventlog/test_kafka_drill.py", "eventlog/test_kafka_outages.py", "eventlog/test_kafka_readers.py",
    "eventlog/test_kafka_topics.py", "triggers/test_kafka_shards.py", "triggers/test_trigger_run.py",
)  # fmt: skip
"""Files that share a Kafka."""
ALONE = (
    "chaos/test_experiments.py", "warehouse/test_credit_windows.py", "warehouse/test_money.py", "warehouse/test_pipeline_oracle.py",
    "warehouse/test_whole_chain.py", "warehouse/test_withdrawals.py",
)  # fmt: skip
"""Files whose tests share nothing and take many seconds each: a worker takes them one by one."""
LONGEST_FIRST: tuple[str, ...] = ("conformance", "e2e", "kafka", "chaos/test_experiments.py")
"""What groups of a minute and more begin with, in the order of their length."""


class GroupScheduling(LoadScopeScheduling):
    """One worker has the tests of a group, one after the other; the longest groups begin first, so that none ends alone."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        longest = min(self.workqueue, key=_rank)
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


def group_of(nodeid: str) -> str:
    """The group of a test: its folder, its file, or itself."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    folder = path.partition("/")[0]
    if folder in ONE_FIXTURE:
        return folder
    if path in ONE_BROKER:
        return "kafka"
    return nodeid if path in ALONE else path


def _rank(group: str) -> int:
    path = group.partition("::")[0].removeprefix("tests/")
    return LONGEST_FIRST.index(path) if path in LONGEST_FIRST else len(LONGEST_FIRST)
