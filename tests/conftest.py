"""What every test shares: the profiles of property tests, signals, and that programs a test starts find the same modules."""

import os
import signal
from pathlib import Path

import profiles  # noqa: F401 - registers the profiles, which `--hypothesis-profile` chooses from
import pytest
from hypothesis import settings
from workers import LONGEST_FIRST, one_worker_for

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`: which tests share a worker, and the longest first, so that no worker ends alone."""
    if not getattr(config.option, "loadgroup", False):  # as xdist tells its workers
        return
    groups = {}
    for item in items:
        groups[item] = one_worker_for(item.path.relative_to(Path(__file__).parent).as_posix(), item.name)
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    ranks = {group: rank for rank, group in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(groups[item], len(ranks)))
