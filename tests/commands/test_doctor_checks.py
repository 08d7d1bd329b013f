"""gtm doctor runs every check over everything, read-only: a fault where nothing changed is found there."""

import random
from types import SimpleNamespace

import pytest
from warehouse_cases import PLAN, land, random_events, refresh, settings_for

from gtm_dagster.commands.health_checks import checks_over_everything
from gtm_dagster.warehouse.build import all_checks
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.writer_lock import WarehouseLock


@pytest.fixture
def here(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, random_events(random.Random(5), 30), "import-1")
    refresh(settings)
    return SimpleNamespace(settings=settings, plan=PLAN)


def test_all_hold(here):
    (finding,) = checks_over_everything(here)
    assert finding.ok and finding.detail == f"{len(all_checks())} of {len(all_checks())} hold over everything"


@pytest.mark.parametrize(
    ("harm", "name", "ok"),
    [
        pytest.param("UPDATE core.sessions SET n_events = n_events + 1", "core.sessions sessions_cover_events", False, id="a law is broken"),
        pytest.param("UPDATE core.conversions SET value_is_no_number = true", "core.conversions values_are_numbers", True, id="a warning"),
        pytest.param("ALTER TABLE core.touchpoints DROP COLUMN age_us", "checks", True, id="a table of another version is not judged"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_named(here, harm, name, ok):
    with opened(here.settings.warehouse_path, here.settings) as con:
        con.execute(harm)
    found = {finding.name: finding for finding in checks_over_everything(here)}
    assert found[name].ok is ok
    if name == "checks":
        assert "`gtm refresh` builds them" in found[name].detail


def test_while_somebody_writes_nothing_is_looked_at(here):
    with WarehouseLock(here.settings.state_dir).hold("run 1", 0):
        (finding,) = checks_over_everything(here)
    assert finding.ok and finding.detail.startswith("not looked at: ")


def test_there_is_no_finding_before_there_is_a_warehouse(tmp_path):
    assert checks_over_everything(SimpleNamespace(settings=settings_for(tmp_path), plan=PLAN)) == []
