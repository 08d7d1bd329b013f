"""What every test shares: programs that tests start find the same modules as the tests do."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    folders = [str(path) for path in config.getini("pythonpath")]
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *inherited])
