"""What every test shares: the profiles of property tests, signals, and that programs a test starts find the same modules."""

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import profiles  # noqa: F401 - registers the profiles, which `--hypothesis-profile` chooses from
import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook
from hypothesis import settings
from kafka_broker import start_kafka

from benchmarks.kafka_node import KafkaNode

settings.load_profile("fast")


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all tests are collected: they stay, and looking through them again and again is a third of it
    # The product has no asserts to explain. As the home of a pytest plugin each of its modules would be read as a syntax
    # tree by every worker, which Python 3.11 does wrongly now and then while another thread does so too.
    for finder in sys.meta_path:
        if isinstance(finder, AssertionRewritingHook):
            finder._must_rewrite.discard("gtm_dagster")
            finder._marked_for_rewrite_cache.clear()
    os.environ["GTM_PRIVACY__CONSENT"] = "off"  # for programs a test starts; tests about consent say what they need
    os.environ["GTM_STREAM__METRICS_PORT"] = "0"  # one port of this machine, and many stream workers at a time
    folders = [str(path) for path in config.getini("pythonpath")]
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *inherited])
    # What a script starts with `&` ignores SIGINT, its children too, and a Dagster run in this process would make
    # SIGTERM whatever SIGINT is: then nothing that a later test starts and ends by a signal ends.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector of garbage pass over thousands of tests and the imported modules, which all stay."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # extensions complain at the exit of what nobody has freed


@pytest.fixture(scope="session", autouse=True)
def no_thread_works_on_unseen() -> Iterator[None]:
    """At the end of a worker: a thread that a test left spinning takes the interpreter from all tests after it."""
    yield
    before = time.process_time()
    time.sleep(0.5)
    if time.process_time() - before > 0.25:
        stacks = ["".join(traceback.format_stack(frame, 3)) for frame in sys._current_frames().values()]
        pytest.fail("a thread of an ended test still works; one of these:\n" + "\n".join(stacks), pytrace=False)


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
