"""What every test shares: the profiles of property tests, and that programs a test starts find the same modules."""

import os

import profiles  # noqa: F401 - registers the profiles, which `--hypothesis-profile` chooses from
import pytest
from hypothesis import settings

settings.load_profile("fast")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["GTM_PRIVACY__CONSENT"] = "off"  # for programs a test starts; tests about consent say what they need
    folders = [str(path) for path in config.getini("pythonpath")]
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *inherited])
