"""Small row groups are merged every so many stagings, not by every checkpoint."""

import pytest
from warehouse_cases import START, event, land, refresh, rows_of, settings_for

from gtm_dagster.warehouse.staging import stage as staging


@pytest.mark.slow
def test_row_groups_are_merged_every_so_many_stagings(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "_COMPACT_EVERY", 3)
    settings = settings_for(tmp_path)
    held = []
    for day in range(6):
        land(settings, [event(f"e{day}", START + day, anonymous_id="a")], f"import-{day}")
        refresh(settings)
        told = rows_of(settings, "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('meta.events')")
        held.append(told[0][0])
    assert held == [1, 2, 1, 2, 3, 1]
