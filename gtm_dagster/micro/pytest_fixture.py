"""The pytest plugin: the fixture `gtm_micro`, a collector in memory for the tests of a product.

Loaded by its entry point in every pytest of the environment, so it imports nothing before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gtm_dagster.micro.running_micro import RunningMicro


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings of the fixture, in the section of pytest."""
    parser.addini("gtm_micro_plan", "tracking plan of gtm_micro, a file; default: the packaged plan", default="")
    parser.addini("gtm_micro_consent", "consent of gtm_micro: required (default), opt_out or off", default="required")


@pytest.fixture(scope="session")
def gtm_micro_server(pytestconfig: pytest.Config) -> Iterator[RunningMicro]:
    """The collector that all tests of a session share."""
    from gtm_dagster.micro.running_micro import running_micro
    from gtm_dagster.privacy.consent import consent_policy
    from gtm_dagster.taxonomy import load_plan

    name, consent = pytestconfig.getini("gtm_micro_plan"), pytestconfig.getini("gtm_micro_consent")
    if consent not in ("required", "opt_out", "off"):
        raise pytest.UsageError(f"gtm_micro_consent = {consent!r} is none of required, opt_out, off")
    plan = load_plan(pytestconfig.rootpath / Path(name)) if name else None
    with running_micro(plan, consent_policy(consent)) as micro:
        yield micro


@pytest.fixture
def gtm_micro(gtm_micro_server: RunningMicro) -> Iterator[RunningMicro]:
    """A collector in memory, empty at the start of the test."""
    gtm_micro_server.reset()
    yield gtm_micro_server
    gtm_micro_server.reset()
