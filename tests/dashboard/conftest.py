"""Deployments that every test of the dashboard can look at: a small one, one full of hostile names, an empty one."""

from collections.abc import Iterator

import pytest
from asgi_client import AsgiClient
from dashboard_cases import HOSTILE, dashboard, publish, settings_in, small


@pytest.fixture(scope="session", params=["small", "hostile", "empty"])
def any_deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    settings = settings_in(tmp_path_factory.mktemp(request.param))
    cells = {"small": small(), "hostile": small(names=HOSTILE), "empty": {}}[request.param]
    publish(settings.serving_path, cells)
    with dashboard(settings) as client:
        yield client


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    settings = settings_in(tmp_path_factory.mktemp("small"))
    publish(settings.serving_path, small())
    with dashboard(settings) as client:
        yield client
