"""What readers of the tables find of rollbacks."""

from __future__ import annotations

import pytest
from acting_cases import GUARD, armed, broken, settings_for
from guard_deployment import EPISODE

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.guard_jobs import ROLLBACKS
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.serving import query


@pytest.mark.parametrize("rolled_back", [True, False], ids=["a rollback", "none yet"])
def test_the_serving_copy_holds_the_rollbacks(tmp_path, store, rolled_back):
    settings = settings_for(tmp_path)
    if rolled_back:
        from test_acting import through

        through(*armed(settings, store, broken()))
    settings.state_dir.mkdir(exist_ok=True)
    with opened(settings.warehouse_path, settings) as con:
        publish(con, settings)
    columns, rows = query(
        settings,
        "SELECT flag, episode, decided_at < effective_at, estimate > 0.5, evidence > 9, verified, outcome FROM ops.rollbacks",
    )
    assert columns[:2] == ["flag", "episode"]
    assert rows == ([(GUARD.flag, EPISODE, True, True, True, True, "rolled_back")] if rolled_back else [])


def test_the_serving_copy_of_a_deployment_without_guards(tmp_path):
    settings = settings_for(tmp_path)
    with opened(settings.warehouse_path, settings) as con:
        publish(con, settings)
    assert query(settings, "SELECT * FROM ops.rollbacks")[1] == []
    assert not (tmp_path / "ops.db").exists()


def test_the_columns_of_the_asset_are_those_of_the_table(tmp_path):
    spec = next(spec for spec in build_defs().resolve_all_asset_specs() if spec.key == ROLLBACKS)
    settings = settings_for(tmp_path)
    with opened(settings.warehouse_path, settings) as con:
        publish(con, settings)
    declared = [(column.name, column.type) for column in spec.metadata["columns"].columns]
    _, rows = query(
        settings, "SELECT column_name, lower(data_type) FROM information_schema.columns WHERE table_name = 'rollbacks'"
    )
    assert declared == rows
