"""Pictures of attribution: one kind of conversion each, whole, and the title says what is counted."""

from __future__ import annotations

from collections import Counter

import pytest
from warehouse_cases import PLAN

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.credit_by_channel import credit_by_channel
from gtm_dagster.warehouse.figures.figure import Bars, Figure
from gtm_dagster.warehouse.figures.ways_to_convert import ways_to_convert
from gtm_dagster.warehouse.schema import built
from gtm_dagster.warehouse.serving import query, reader


@pytest.fixture(scope="module")
def figures(shop: Settings) -> dict[str, Bars]:
    ctx = BuildContext(shop, PLAN)
    with reader(shop) as con:
        found: list[Figure] = [*credit_by_channel(con, ctx), *ways_to_convert(con, ctx)]
    return {figure.name: figure for figure in found if isinstance(figure, Bars)}


def test_each_kind_has_pictures_of_its_own(figures: dict[str, Bars]) -> None:
    subjects = ("credit", "paths", "time_to_convert")
    assert set(figures) == {f"chart_{each}_payment_completed_{cur}" for each in subjects for cur in ("EUR", "USD")}


def test_a_title_says_type_currency_model_window_and_period(figures: dict[str, Bars]) -> None:
    for figure in figures.values():
        for words in ("payment_completed", "480 h", "2026-01-10 to 2026-02-08"):
            assert words in figure.title
        assert ("EUR" in figure.title) == figure.name.endswith("EUR")
    assert "first_touch" in figures["chart_credit_payment_completed_EUR"].title


def test_every_picture_holds_every_conversion_of_its_kind_once(shop: Settings, figures: dict[str, Bars]) -> None:
    counts = dict(query(shop, "SELECT currency, count(*) FROM core.conversions GROUP BY 1")[1])
    for figure in figures.values():
        assert sum(bar.value for bar in figure.bars) == pytest.approx(counts[figure.name[-3:]]), figure.name


def test_paths_run_from_the_oldest_touch_and_conversions_without_one_are_there(figures: dict[str, Bars]) -> None:
    paths = {bar.label: bar.value for bar in figures["chart_paths_payment_completed_EUR"].bars}
    assert paths == {"Paid Search > Direct": 112, "Paid Search > Email": 32, "Affiliates": 3, "(no touch)": 2}
    times = {bar.label: (bar.value, bar.note) for bar in figures["chart_time_to_convert_payment_completed_EUR"].bars}
    assert times["7 to 14 days"] == (144, "(97%)") and times["under 1 hour"][0] == 3 and times["no touch"][0] == 2
    assert "median 9.0 days" in figures["chart_time_to_convert_payment_completed_EUR"].title


def test_no_two_pictures_of_a_table_share_a_name(shop: Settings) -> None:
    ctx = BuildContext(shop, PLAN)
    with reader(shop) as con:
        for table in built():
            names = Counter(figure.name for chart in table.charts for figure in chart(con, ctx))
            assert set(names.values()) <= {1} and all(name.startswith("chart") for name in names), table.name
