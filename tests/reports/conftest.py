"""The shop of `report_traffic`, built once for all tests that only read it."""

from __future__ import annotations

import pytest
from report_traffic import deployment

from gtm_dagster.settings import Settings


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return deployment(tmp_path_factory.mktemp("shop"))
