"""A fresh ops store in both databases; PostgreSQL runs on loopback where it is installed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import start_postgres
from sqlalchemy import create_engine, text

from gtm_dagster.opsstore import OpsStore

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with start_postgres() as address:
        yield address.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database nobody has opened yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'ops.db'}"
    server = request.getfixturevalue("postgres")
    name = f"ops{next(_numbers)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def store(url: str) -> Iterator[OpsStore]:
    with OpsStore(url) as opened:
        yield opened
