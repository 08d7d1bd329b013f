"""What a person asks for alone: one check, which looks at everything and builds nothing; one table of two."""

import random

import dagster as dg
import pytest
from warehouse_cases import land, random_events, settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.orchestration.refresh_run import run_refresh
from gtm_dagster.warehouse.engine import opened

SESSIONS, EVENTS = dg.AssetKey(["core", "sessions"]), dg.AssetKey(["staging", "events"])


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = settings_for(tmp_path_factory.mktemp("checks"))
    land(settings, random_events(random.Random(5), 60), "import-1")
    assert run_refresh(settings, build_defs).ok
    return settings


def _alone(settings, instance, check):
    """The outcome of one check, run as the UI's button runs it."""
    definitions = build_defs(settings=settings)
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection={check}
    )
    done = job.execute_in_process(instance=instance, raise_on_error=False)
    assert done.get_asset_materialization_events() == []
    (result,) = done.get_asset_check_evaluations()
    return result


@pytest.mark.parametrize(
    ("check", "broken_by"),
    [
        pytest.param(dg.AssetCheckKey(EVENTS, "contract"), None, id="the contract of what has landed"),
        pytest.param(dg.AssetCheckKey(EVENTS, "books_balance"), None, id="of staging"),
        pytest.param(
            dg.AssetCheckKey(SESSIONS, "sessions_cover_events"),
            "DELETE FROM core.sessions WHERE session_start = (SELECT max(session_start) FROM core.sessions)",
            id="of core, after somebody changed rows by hand",
        ),
    ],
)
def test_a_check_alone_looks_at_everything_and_builds_nothing(settings, check, broken_by):
    with instance_of(settings) as instance:
        assert _alone(settings, instance, check).passed
        if broken_by:
            with opened(settings.warehouse_path, settings) as con:
                con.execute(broken_by)
            result = _alone(settings, instance, check)
            assert not result.passed
            assert result.metadata["over"].value == "everything"


def test_one_of_two_tables_that_are_staged_together_records_both(settings):
    land(settings, random_events(random.Random(6), 10), "import-2")
    definitions = build_defs(settings=settings)
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={EVENTS})
    with instance_of(settings) as instance:
        done = job.execute_in_process(instance=instance, raise_on_error=False)
    assert done.success
    written = {event.asset_key for event in done.get_asset_materialization_events()}
    assert written == {EVENTS, dg.AssetKey(["staging", "quarantine"])}
    assert {result.asset_key for result in done.get_asset_check_evaluations()} <= {EVENTS}
