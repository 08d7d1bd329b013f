"""Deployments that every test of the dashboard can look at: a small one, one full of hostile names, an empty one."""

from collections.abc import Iterator

import pytest
from asgi_client import AsgiClient
from dashboard_cases import HOSTILE, dashboard, publish, settings_in, small

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.schema import tables


@pytest.fixture(scope="session", params=["small", "hostile", "empty"])
def any_deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    settings = settings_in(tmp_path_factory.mktemp(request.param))
    cells = {"small": small(), "hostile": small(names=HOSTILE), "empty": {}}[request.param]
    publish(settings.serving_path, cells)
    with dashboard(settings) as client:
        yield client


@pytest.fixture(scope="session")
def small_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_in(tmp_path_factory.mktemp("small"))
    publish(settings.serving_path, small())
    return settings


@pytest.fixture(scope="session")
def client(small_settings: Settings) -> Iterator[AsgiClient]:
    with dashboard(small_settings) as client:
        yield client


@pytest.fixture(scope="session")
def half_a_copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    """A serving copy without a single mart, without conversions and without books."""
    settings = settings_in(tmp_path_factory.mktemp("half"))
    marts = [table.name for table in tables() if table.schema == "marts"]
    publish(settings.serving_path, {}, without=[*marts, "core.conversions", "staging.books"])
    with dashboard(settings) as client:
        yield client
