"""The small pictures of a table are shown again while they say what they would say if they were drawn anew."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import msgspec
import pytest
from warehouse_cases import PLAN, settings_for

from gtm_dagster.orchestration.drawn_figures import drawn_before, note_drawn
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import in_memory
from gtm_dagster.warehouse.schema import table_of
from gtm_dagster.warehouse.schema.ddl import create

AT = datetime(2026, 1, 1, 9, tzinfo=UTC)
DRAWN = {"chart": "<svg/>"}


@pytest.mark.parametrize(
    ("table", "changes", "hours_later", "shown"),
    [
        pytest.param("marts.daily", {}, 14, DRAWN, id="drawn today under these settings"),
        pytest.param("marts.daily", {"report_timezone": "Asia/Tokyo"}, 0, None, id="a setting changed"),
        pytest.param("marts.daily", {}, 16, None, id="drawn on the UTC day before"),
        pytest.param("marts.funnel", {}, 0, None, id="drawn for another table"),
        pytest.param("core.sessions", {}, 0, None, id="a table without pictures"),
    ],
)
def test_pictures_are_shown_again_under_the_settings_they_were_drawn_for(tmp_path, table, changes, hours_later, shown):
    settings = settings_for(tmp_path)
    with in_memory() as con:
        create(con)
        pictures = {name: dg.MetadataValue.md(text) for name, text in DRAWN.items()}
        note_drawn(con, BuildContext(settings, PLAN), table_of("marts.daily"), pictures, AT)
        ctx = BuildContext(msgspec.structs.replace(settings, **changes), PLAN)
        found = drawn_before(con, ctx, table_of(table), AT + timedelta(hours=hours_later))
    assert (found and {name: picture.md_str for name, picture in found.items()}) == shown
