"""The funnel by day and model, its rates and times, accounts; retention with open periods and clocks that run wrong."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.figures.funnel_by_stage import accounts_by_stage, in_words, rates_and_times
from gtm_dagster.warehouse.figures.retention_grid import retained_accounts, retained_persons
from gtm_dagster.warehouse.verify import verify

STEPS = json.dumps(["page_viewed", "signup_completed", "payment_completed"])
HOUR = 60 * MINUTE
SIGNED, PAID = "signup_completed", "payment_completed"


def built(folder: Path, *rows: dict, **environ: str) -> Settings:
    settings = settings_for(folder, GTM_FUNNEL__STEPS=STEPS, **environ)
    for number, row in enumerate(rows):
        row["event_id"] = f"{number:04}"
    land(settings, list(rows), "import-1")
    refresh(settings)
    return settings


def of(who: str, us: int, name: str = "page_viewed", account: str | None = None, **columns: object) -> dict:
    row = event("", START + us, event_name=name, user_id=who, **columns)
    if account is not None:
        row["properties"] = json.dumps({**json.loads(row["properties"]), "account_id": account})
    return row


GOOGLE = {"source": "google", "medium": "cpc", "campaign": "c"}
MAIL = {"source": "newsletter", "medium": "email"}


def test_persons_add_up_over_days_and_sources(tmp_path: Path) -> None:
    settings = built(
        tmp_path,
        of("a", 0, **GOOGLE), of("a", 2 * DAY, SIGNED),
        of("b", 23 * HOUR, **GOOGLE),
        of("c", DAY, **MAIL), of("c", DAY, SIGNED),
        of("d", 0, PAID, device_type="api"), of("d", -HOUR, device_type="api"),
        GTM_REPORT_TIMEZONE="Europe/Berlin",
    )  # fmt: skip
    assert rows_of(settings, "SELECT cohort_day, channel, stage_no, persons FROM marts.funnel ORDER BY ALL") == [
        (date(2026, 1, 1), "Paid Search", 1, 1), (date(2026, 1, 1), "Paid Search", 2, 1),
        (date(2026, 1, 2), "Email", 1, 1), (date(2026, 1, 2), "Email", 2, 1), (date(2026, 1, 2), "Paid Search", 1, 1),
        (None, "(none)", 1, 1),
    ]  # fmt: skip
    assert rows_of(
        settings, "SELECT count(*) FROM marts.funnel_rates WHERE channel = '(none)' AND cohort_day IS NOT NULL"
    ) == [(0,)]


def test_rates_and_times(tmp_path: Path) -> None:
    """Ten persons, of whom eight sign up after 1 to 8 hours and two pay at once."""
    rows = [of(f"p{n}", 0, **GOOGLE) for n in range(10)]
    rows += [of(f"p{n}", (n + 1) * HOUR, SIGNED) for n in range(8)]
    rows += [of(f"p{n}", (n + 1) * HOUR, PAID) for n in range(2)]
    settings = built(tmp_path, *rows)
    columns = "stage, persons, rate_from_before, rate_from_first, median_hours, p90_hours"
    for cell in (
        "cohort_day IS NULL AND channel = '(all)'",
        "cohort_day = DATE '2026-01-01' AND channel = 'Paid Search'",
    ):
        found = rows_of(settings, f"SELECT {columns} FROM marts.funnel_rates WHERE {cell} ORDER BY stage_no")
        assert found == [
            ("page_viewed", 10, None, 1.0, None, None), (SIGNED, 8, 0.8, 0.8, 4.0, 8.0), (PAID, 2, 0.25, 0.2, 0.0, 0.0),
        ]  # fmt: skip
    assert rows_of(settings, "SELECT count(*) FROM marts.funnel_rates") == [(12,)]


def test_a_stage_that_nobody_reached_is_zero_and_what_follows_has_no_rate(tmp_path: Path) -> None:
    settings = built(tmp_path, of("a", 0), of("a", 1))
    found = rows_of(
        settings,
        "SELECT persons, rate_from_before, rate_from_first, median_hours FROM marts.funnel_rates WHERE cohort_day IS NULL AND channel = '(all)' ORDER BY stage_no",
    )
    assert found == [(1, None, 1.0, None), (0, 0.0, 0.0, None), (0, None, 0.0, None)]  # fmt: skip


def test_persons_are_shared_by_what_was_known(tmp_path: Path) -> None:
    """A search, a mail, a direct visit; the sign-up in the third, whose newsletter comes behind it, and a last visit."""
    settings = built(
        tmp_path,
        of("a", 0, **GOOGLE), of("a", DAY, **MAIL), of("a", 2 * DAY), of("a", 2 * DAY + 1, SIGNED), of("a", 2 * DAY + 2, **GOOGLE),
        of("a", 3 * DAY, **GOOGLE),
        of("b", 5, SIGNED, device_type="api"), of("b", 0, device_type="api"),
    )  # fmt: skip
    found = rows_of(
        settings,
        "SELECT model, channel, campaign, round(persons, 6) FROM marts.funnel_by_model WHERE stage_no = 2 ORDER BY ALL",
    )
    nobody = [("(unattributed)", None, 1.0)]
    third = round(1 / 3, 6)
    assert found == [
        (model, *row)
        for model, rows in (
            ("first_touch", [*nobody, ("Paid Search", "c", 1.0)]),
            ("last_non_direct", [*nobody, ("Email", None, 1.0)]),
            ("last_touch", [*nobody, ("Direct", None, 1.0)]),
            ("linear", [*nobody, ("Direct", None, third), ("Email", None, third), ("Paid Search", "c", third)]),
        )
        for row in rows
    ]  # fmt: skip


def test_the_account_of_a_person(tmp_path: Path) -> None:
    settings = built(
        tmp_path,
        of("a", 0, SIGNED), of("a", DAY, SIGNED, "x"), of("a", 2 * DAY, SIGNED), of("a", 3 * DAY, SIGNED, "x"),
        of("a", 4 * DAY, SIGNED, "y"), of("a", 5 * DAY, SIGNED, "x"),
        of("b", 0, account="undeclared"), of("c", 0, SIGNED, " "), of("d", 0, SIGNED, "x"), of("d", 0, SIGNED, "y"),
    )  # fmt: skip
    at = "CAST((from_us - 1767225600000000) / 86400000000 AS INT), CAST((until_us - 1767225600000000) / 86400000000 AS INT)"
    assert rows_of(settings, f"SELECT person_id, account_id, {at} FROM core.accounts ORDER BY person_id, named_at") == [
        ("a", "x", None, 4), ("a", "y", 4, 5), ("a", "x", 5, None), ("d", "y", None, None),
    ]  # fmt: skip


def test_no_account_property_no_accounts(tmp_path: Path) -> None:
    rows = [of("a", 0), of("a", 1, SIGNED, "x")]
    settings = built(tmp_path, *rows)
    assert rows_of(settings, "SELECT count(*) FROM core.accounts") == [(1,)]
    without = settings_for(tmp_path, GTM_FUNNEL__STEPS=STEPS, GTM_ACCOUNT_PROPERTY="plan")
    refresh(without)
    for table in ("core.accounts", "marts.funnel_accounts", "marts.retention_accounts"):
        assert rows_of(without, f"SELECT count(*) FROM {table}") == [(0,)], table


def test_accounts_reach_what_any_of_their_persons_does(tmp_path: Path) -> None:
    settings = built(
        tmp_path,
        of("a", 0, **GOOGLE), of("a", HOUR, SIGNED, "x"),
        of("b", HOUR, **MAIL), of("b", 2 * HOUR, SIGNED, "x"), of("b", 3 * HOUR, PAID),
        of("c", 0, **MAIL), of("c", HOUR, SIGNED, "y"), of("c", DAY, PAID, "z"),
        of("d", 0), of("d", HOUR, PAID, "z"),
    )  # fmt: skip
    found = rows_of(settings, "SELECT channel, stage_no, accounts FROM marts.funnel_accounts ORDER BY ALL")
    # x through a and b, whose first session is a's search; y through c until c goes to z; z through c, first of its day by name
    assert found == [
        ("Email", 1, 2), ("Email", 2, 2), ("Email", 3, 1), ("Paid Search", 1, 1), ("Paid Search", 2, 1), ("Paid Search", 3, 1),
    ]  # fmt: skip


def cells(settings: Settings, table: str = "marts.retention", who: str = "persons") -> list[tuple]:
    return rows_of(settings, f"SELECT cohort, period, {who}, retained, is_open FROM {table} ORDER BY ALL")


def test_the_period_of_the_newest_day_is_open(tmp_path: Path) -> None:
    """Thursday 1 January; the newest day is a Sunday, the last day of its week."""
    settings = built(tmp_path, of("a", 0), of("b", DAY), of("a", 8 * DAY), of("b", 17 * DAY, PAID, device_type="api"))
    week = date(2025, 12, 29)
    assert cells(settings) == [(week, 0, 2, 2, False), (week, 1, 2, 1, False)]
    land(settings, [event("new", START + 17 * DAY, anonymous_id="z")], "import-2")
    refresh(settings)
    assert cells(settings) == [
        (week, 0, 2, 2, False), (week, 1, 2, 1, False), (week, 2, 2, 0, True), (date(2026, 1, 12), 0, 1, 1, True),
    ]  # fmt: skip
    assert rows_of(settings, "SELECT DISTINCT rate FROM marts.retention WHERE period = 1") == [(0.5,)]
    assert verify(settings, PLAN).ok


@pytest.mark.parametrize("days", [-500, 500])
def test_a_clock_that_ran_wrong_makes_its_own_row_alone(tmp_path: Path, days: int) -> None:
    people = [of(f"p{n}", day * DAY) for n in range(11) for day in (0, 14)]
    settings = built(tmp_path, *people, of("p0", days * DAY), of("far", days * DAY))
    found = cells(settings)
    week = date(2025, 12, 29)
    body = [row for row in found if row[0] == week]
    if days > 0:  # a row of its own for the far person, and one for the far period of p0
        assert body == [
            (week, 0, 11, 11, False),
            (week, 1, 11, 0, False),
            (week, 2, 11, 11, True),
            (week, 71, 11, 1, True),
        ]
        assert len(found) == 5
    else:  # p0 was born far from the rest: the rows are the periods it was there
        assert body == [(week, 0, 10, 10, False), (week, 1, 10, 0, False), (week, 2, 10, 10, True)]
        assert [row[1:] for row in found if row[0] != week] == [(0, 2, 2, False), (71, 2, 1, False), (73, 2, 1, True)]


def test_accounts_come_back_through_any_person(tmp_path: Path) -> None:
    settings = built(
        tmp_path,
        of("a", 0, SIGNED, "x"), of("b", 7 * DAY, SIGNED, "x"), of("c", 0, SIGNED, "y"), of("c", 14 * DAY, SIGNED, "x"),
        of("d", 15 * DAY),
    )  # fmt: skip
    week = date(2025, 12, 29)
    assert cells(settings, "marts.retention_accounts", "accounts") == [
        (week, 0, 2, 2, False), (week, 1, 2, 1, False), (week, 2, 2, 1, True),
    ]  # fmt: skip


def test_pictures_say_what_they_show(tmp_path: Path) -> None:
    settings = built(tmp_path, of("a", 0), of("b", 0), of("a", 8 * DAY, SIGNED, "x"))
    with opened(settings.warehouse_path, settings, read_only=True) as con:
        ctx = BuildContext(settings, PLAN)
        [bars] = rates_and_times(con, ctx)
        assert (
            bars.title
            == "Persons by stage: % of the stage before, time that half of them took · first sessions 2026-01-01 to 2026-01-01 (UTC)"
        )
        assert [(bar.value, bar.note) for bar in bars.bars] == [(2, ""), (1, "(50%, 8.0 days)"), (0, "(0%)")]
        [grid] = retained_persons(con, ctx)
        assert "not over" in grid.title and "2025-12-29" in grid.title
        assert [(cell.share, cell.is_open) for cell in grid.rows[0].cells] == [(1.0, False), (0.5, True)]
        assert accounts_by_stage(con, ctx)[0].bars[0].value == 1
        assert retained_accounts(con, ctx)[0].rows[0].note == "(1)"


@pytest.mark.parametrize(
    ("hours", "words"),
    [(0.0, "0 s"), (0.01, "36 s"), (0.5, "30 min"), (3.25, "3.2 h"), (47.9, "47.9 h"), (48, "2.0 days")],
)
def test_hours_in_words(hours: float, words: str) -> None:
    assert in_words(hours) == words
