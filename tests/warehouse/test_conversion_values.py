"""The value and the id of a conversion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from warehouse_cases import DAY, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.warehouse.build import all_checks
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.schema import table_of

NAME = "rev.en/u~e'[0]"
# The JSON of the value, the value of the conversion, and whether there is one that is no number.
VALUES = {
    "100": (100.0, False), "-0.5": (-0.5, False), "1e3": (1000.0, False), '"12.50"': (12.5, False), '"1E2"': (100.0, False),
    '"NaN"': (None, True), '"nan"': (None, True), '"inf"': (None, True), '"-Infinity"': (None, True), '"1e999"': (None, True),
    '"1_000"': (None, True), '"1,5"': (None, True), '" 1"': (None, True), '"0x10"': (None, True), '"+1"': (None, True),
    '".5"': (None, True), '"01"': (None, True), '""': (None, True), "true": (None, True), "null": (None, False),
}  # fmt: skip


def test_a_value_is_a_finite_number_or_there_is_none(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path, GTM_CONVERSIONS=json.dumps([{"event": "page_viewed", "value": NAME, "currency": "cur.r"}])
    )
    rows = [
        event(text, START, user_id="u", properties=f'{{{json.dumps(NAME)}: {text}, "cur.r": "EUR"}}') for text in VALUES
    ]
    land(settings, [*rows, event("none", START, user_id="u")], "import-1")
    refresh(settings)
    query = "SELECT substr(conversion_id, 3), value, value_is_no_number FROM core.conversions"
    found = {name: (value, wrong) for name, value, wrong in rows_of(settings, query)}
    assert found == {**VALUES, "none": (None, False)}
    assert rows_of(settings, "SELECT count(*) FROM core.conversions WHERE currency = 'EUR'") == [(len(VALUES),)]
    assert rows_of(settings, "SELECT sum(credited.value) FROM (SELECT DISTINCT conversion_id, value FROM marts.attribution_credits WHERE model = 'last_touch') credited") == [(1212.0,)]  # fmt: skip
    check = next(each for each in table_of("core.conversions").checks if each.name == "values_are_numbers")
    with opened(settings.warehouse_path, settings, read_only=True) as con:
        result = check.run(con, BuildContext(settings, PLAN))
    assert (check.severity, result.passed, result.metadata) == ("WARN", False, {"offending": sum(wrong for _, wrong in VALUES.values())})  # fmt: skip


@pytest.mark.parametrize(
    ("write_key", "event_id", "conversion_id"),
    [
        ("import", "e:1", "import:e:1"),
        ("a", "b:c", "a:b:c"),
        ("a:b", "c", r"a\:b:c"),
        ("a\\", "b:c", r"a\\:b:c"),
        ("a\\:b", "c", r"a\\\:b:c"),
        ("a:", ":c", r"a\:::c"),
        ("a::", "c", r"a\:\::c"),
    ],
)
def test_the_id_of_a_conversion(write_key: str, event_id: str, conversion_id: str, ids: dict) -> None:
    assert ids[write_key, event_id] == conversion_id


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """The ids of conversions whose write keys hold what separates the two; every check passes."""
    settings = settings_for(tmp_path_factory.mktemp("ids"))
    pairs = [("import", "e:1"), ("a", "b:c"), ("a:b", "c"), ("a\\", "b:c"), ("a\\:b", "c"), ("a:", ":c"), ("a::", "c")]
    rows = [
        event(event_id, START + number * DAY, user_id="u", write_key=key, event_name="payment_completed")
        for number, (key, event_id) in enumerate(pairs)
    ]
    land(settings, rows, "import-1")
    refresh(settings)
    found = rows_of(settings, "SELECT conversion_us, conversion_id FROM core.conversions")
    return {pairs[(at - START) // DAY]: name for at, name in found}


def test_a_sum_that_overflows_is_null_with_a_warning(tmp_path: Path) -> None:
    """Two values of 1.7e308 of one day, in a property for which the plan has no maximum; the next day has one."""
    kinds = [{"event": "page_viewed", "value": "amount", "currency": "currency"}]
    window = '[{"model": "last_touch", "lookback_hours": 24}]'
    settings = settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS=window, GTM_CONVERSIONS=json.dumps(kinds))
    rows = [
        event(f"p{n}", START + day * DAY, user_id="u", properties=f'{{"amount": {amount}, "currency": "EUR"}}')
        for n, (day, amount) in enumerate([(0, 1.7e308), (0, 1.7e308), (1, 1.7e308)])
    ]  # fmt: skip
    land(settings, rows, "import-1")
    refresh(settings)
    sums = "SELECT conversions, value, net_value, roas FROM marts.channel_attribution ORDER BY day"
    assert rows_of(settings, sums) == [(2.0, None, None, None), (1.0, 1.7e308, 1.7e308, None)]
    assert rows_of(settings, "SELECT value FROM marts.daily WHERE conversions > 0 ORDER BY day") == [
        (None,),
        (1.7e308,),
    ]
    check = next(check for _, check in all_checks() if check.name == "sums_are_finite")
    with opened(settings.warehouse_path, settings) as con:
        con.execute("CREATE TEMP TABLE changed_persons AS SELECT DISTINCT person_no FROM core.conversions")
        for form in (check.run, check.changed):
            assert form is not None
            outcome = form(con, BuildContext(settings, PLAN))
            assert not outcome.passed and outcome.metadata == {"offending": 1}
