"""What every test shares: the profiles of property tests, signals, and that programs a test starts find the same modules."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import profiles  # noqa: F401 - registers the profiles, which `--hypothesis-profile` chooses from
import pytest
from hypothesis import settings
from kafka_broker import start_kafka

from benchmarks.kafka_node import KafkaNode

settings.load_profile("fast")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["GTM_PRIVACY__CONSENT"] = "off"  # for programs a test starts; tests about consent say what they need
    os.environ["GTM_STREAM__METRICS_PORT"] = "0"  # one port of this machine, and many stream workers at a time
    folders = [str(path) for path in config.getini("pythonpath")]
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *inherited])
    # What a script starts with `&` ignores SIGINT, its children too, and a Dagster run in this process would make
    # SIGTERM whatever SIGINT is: then nothing that a later test starts and ends by a signal ends.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope`, as `make test-real` runs: groups and their order are those of `workers`."""
    if config.getvalue("dist") != "loadscope":
        return None
    from workers import GroupScheduling

    return GroupScheduling(config, log)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaNode]:
    """The broker of all files of `workers.ONE_BROKER`; each test has topics of its own."""
    with start_kafka() as node:
        yield node
