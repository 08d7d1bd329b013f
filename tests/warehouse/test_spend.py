"""Credit beside spend: what is joined, what is NULL, and what is a row of its own."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path

import pytest
import spend_oracle as oracle
from test_money import KINDS, import_spend_rows, money_events, settings_of, spend_rows
from warehouse_cases import DAY, MINUTE, PLAN, START, WINDOWS, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.spend_days import day_shares
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
from gtm_dagster.warehouse.schema import table_of
from gtm_dagster.warehouse.verify import verify

FIRST = date(2026, 1, 1)
SUMS = "conversions, value, net_value, spend, cpa, roas"
WINDOW = {"GTM_ATTRIBUTION__WINDOWS": json.dumps([{"model": "last_touch", "lookback_hours": 240}])}


def payment(name: str, day: int, campaign: str | None, amount: float, currency: str, medium: str = "cpc") -> list[dict]:
    """A visit of google on a day, and a payment an hour later."""
    at = START + day * DAY
    who = {"user_id": f"user of {name}"}
    paid = {"amount": amount, "currency": currency, "payment_id": name}
    return [
        event(f"visit {name}", at, source="google", medium=medium, campaign=campaign, **who),
        event(f"pay {name}", at + 60 * MINUTE, event_name="payment_completed", device_type="api", properties=json.dumps(paid), **who),
    ]  # fmt: skip


def spent(day: int, cost: float, currency: str = "EUR", **names: str | None) -> dict:
    return {
        "write_key": "ads",
        "day": FIRST + timedelta(days=day),
        "currency": currency,
        "cost": cost,
        "source": "google",
        **names,
    }


def channel_rows(settings: Settings) -> dict[tuple, tuple]:
    rows = rows_of(
        settings,
        f"SELECT day - DATE '2026-01-01', conversion_type, currency, channel, {SUMS} FROM marts.channel_attribution",
    )
    return {row[:4]: row[4:] for row in rows}


def campaign_rows(settings: Settings) -> dict[tuple, tuple]:
    rows = rows_of(
        settings,
        "SELECT source, medium, campaign, matched, nearest_campaign, sum(conversions), sum(value), sum(spend) "
        "FROM marts.campaign_performance WHERE conversion_type = 'payment_completed' GROUP BY ALL",
    )
    return {row[:5]: row[5:] for row in rows}


def test_spend_joins_its_day_channel_and_currency_and_nothing_else(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **WINDOW)
    visits = (
        payment("a", 0, "brand", 100, "EUR") + payment("b", 0, "brand", 40, "USD") + payment("c", 1, None, 7, "EUR")
    )
    land(settings, [*visits, event("s", START + DAY, event_name="signup_completed", user_id="user of c")], "import-1")
    rows = [
        spent(0, 25, medium="cpc", campaign="brand"),
        spent(2, 10, medium="cpc"),
        spent(0, 0.0, "USD", medium="cpc"),
    ]
    import_spend_rows(settings, "spend-1", rows)
    refresh(settings)
    assert channel_rows(settings) == {
        (0, "payment_completed", "EUR", "Paid Search"): (1.0, 100.0, 100.0, 25.0, 25.0, 4.0),
        (0, "payment_completed", "USD", "Paid Search"): (
            1.0,
            40.0,
            40.0,
            0.0,
            0.0,
            None,
        ),  # nothing was spent: no return on it
        (1, "payment_completed", "EUR", "Paid Search"): (
            1.0,
            7.0,
            7.0,
            None,
            None,
            None,
        ),  # no spend is known of this day
        (2, "payment_completed", "EUR", "Paid Search"): (
            0.0,
            None,
            None,
            10.0,
            None,
            None,
        ),  # spend that brought nothing
        (1, "signup_completed", None, "Paid Search"): (1.0, None, None, None, None, None),  # two currencies of spend
    }
    SpendLanding(settings.landing_dir).withdraw("spend-1", by="me", reason="other account")
    import_spend_rows(settings, "spend-2", rows[:2])
    refresh(settings)
    found = channel_rows(settings)
    assert found[1, "signup_completed", None, "Paid Search"] == (1.0, None, None, None, None, None)
    assert found[0, "signup_completed", None, "Paid Search"] == (
        0.0,
        None,
        None,
        25.0,
        None,
        None,
    )  # one currency of spend
    assert found[0, "payment_completed", "USD", "Paid Search"] == (1.0, 40.0, 40.0, None, None, None)


def test_spend_is_matched_at_its_finest_grain_and_what_matches_nothing_says_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **WINDOW)
    visits = [
        *payment("a", 0, "brand", 1, "EUR"), *payment("b", 0, "spring", 2, "EUR"), *payment("c", 0, "other", 4, "EUR"),
        *payment("d", 0, None, 8, "EUR", medium="organic"),
    ]  # fmt: skip
    land(settings, visits, "import-1")
    rows = [
        spent(0, 10, medium="cpc", campaign="brand"), spent(1, 20, campaign="spring"), spent(0, 30, medium="cpc"),
        spent(0, 40, medium="cpc", campaign="Brnad"), spent(0, 50, source="bing"), spent(0, 60, source=None, channel="Audio"),
    ]  # fmt: skip
    import_spend_rows(settings, "spend-1", rows)
    refresh(settings)
    assert campaign_rows(settings) == {
        ("google", "cpc", "brand", "campaign", None): (1.0, 1.0, 10.0),
        ("google", None, "spring", "campaign", None): (1.0, 2.0, 20.0),  # of any medium
        ("google", "cpc", None, "medium", None): (1.0, 4.0, 30.0),  # every campaign without spend of its own
        ("google", "organic", None, None, None): (1.0, 8.0, None),  # nobody pays for it
        ("google", "cpc", "Brnad", "(unmatched)", "brand"): (0.0, None, 40.0),
        ("bing", None, None, "(unmatched)", None): (0.0, None, 50.0),
        (None, None, None, "(unmatched)", None): (0.0, None, 60.0),
    }


def test_source_and_channel_spend_takes_paid_visits_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **WINDOW)
    land(settings, payment("a", 0, "x", 1, "EUR") + payment("b", 0, None, 2, "EUR", medium="organic"), "import-1")
    import_spend_rows(settings, "spend-1", [spent(0, 10)])
    refresh(settings)
    organic = {("google", "organic", None, None, None): (1.0, 2.0, None)}
    assert campaign_rows(settings) == {("google", None, None, "source", None): (1.0, 1.0, 10.0), **organic}
    import_spend_rows(settings, "spend-2", [spent(0, 4, source=None, channel="Paid Search")])
    SpendLanding(settings.landing_dir).withdraw("spend-1", by="me", reason="by channel now")
    refresh(settings)
    assert campaign_rows(settings) == {(None, None, None, "channel", None): (1.0, 1.0, 4.0), **organic}


def test_nothing_is_built_again_without_news_and_spend_alone_is_news(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **WINDOW)
    land(settings, payment("a", 0, "x", 1, "EUR"), "import-1")
    for name in ("spend-1", "spend-2"):
        import_spend_rows(settings, name, [spent(0, 10, campaign=name)])
        refresh(settings)
        served = settings.serving_path.stat().st_mtime_ns
        refresh(settings)
        assert settings.serving_path.stat().st_mtime_ns == served
    assert rows_of(settings, "SELECT sum(spend) FROM marts.channel_attribution") == [(20.0,)]


@pytest.mark.parametrize(
    ("account", "report", "shares"),
    [
        pytest.param("UTC", "UTC", [(0, 1.0)], id="the same zone"),
        pytest.param("Asia/Kolkata", "UTC", [(-1, 5.5 / 24), (0, 18.5 / 24)], id="half an hour of zone"),
        pytest.param("America/New_York", "UTC", [(0, 20 / 24), (1, 4 / 24)], id="behind"),
        pytest.param("Europe/Berlin", "Europe/Berlin", [(0, 1.0)], id="the day of 25 hours in one zone"),
        pytest.param("Europe/Berlin", "UTC", [(-1, 2 / 25), (0, 23 / 25)], id="the day of 25 hours"),
        pytest.param("Pacific/Kiritimati", "Pacific/Niue", [(-2, 1 / 24), (-1, 23 / 24)], id="farthest apart"),
    ],
)
def test_days_of_an_account_are_divided_by_hours(account: str, report: str, shares: list[tuple[int, float]]) -> None:
    day = date(2026, 10, 25)  # clocks go back in Berlin
    found = [((of - day).days, share) for of, share in day_shares(day, account, report)]
    assert found == [(days, pytest.approx(share)) for days, share in shares]
    assert sum(share for _, share in found) == pytest.approx(1.0)


def test_a_day_that_a_zone_leaves_out_is_one_moment() -> None:
    assert day_shares(date(2011, 12, 30), "Pacific/Apia", "UTC") == [(date(2011, 12, 30), 1.0)]


def assert_marts(settings: Settings) -> None:
    """Both marts are what plain Python makes of the credits, the conversions and the spend."""
    credits = dicts(settings, "marts.attribution_credits", "conversion_id, model, window_hours, channel, source, medium, campaign, credit, value, net_value")  # fmt: skip
    conversions = dicts(settings, "core.conversions", "conversion_id, day, conversion_type, currency")
    spend = dicts(settings, "core.spend", "day, source, medium, campaign, channel, currency, cost")
    results = [(str(w["model"]), float(w["lookback_hours"])) for w in WINDOWS]
    sources = rows_of(settings, "SELECT source, medium, campaign, channel FROM core.sources")
    keys = "day, conversion_type, currency, model, window_hours"
    for table, names, expected in (
        ("channel_attribution", f"{keys}, channel", oracle.by_channel(credits, conversions, spend, results)),
        ("campaign_performance", f"{keys}, source, medium, campaign, channel, matched", oracle.by_campaign(credits, conversions, spend, results, sources)),
    ):  # fmt: skip
        width = len(names.split(","))
        rows = rows_of(settings, f"SELECT {names}, {SUMS} FROM marts.{table}")
        assert len(rows) == len(expected) and rows
        for row in rows:
            assert row[width:] == pytest.approx(expected[row[:width]], abs=1e-9), row


def dicts(settings: Settings, table: str, names: str) -> list[dict]:
    return [dict(zip(names.split(", "), row, strict=True)) for row in rows_of(settings, f"SELECT {names} FROM {table}")]


@pytest.mark.parametrize(("seed", "currencies"), [(1, ("EUR", "USD")), (2, ("EUR",))], ids=["two currencies", "one"])
def test_the_marts_are_those_of_the_oracle(tmp_path: Path, seed: int, currencies: tuple[str, ...]) -> None:
    rng = random.Random(seed)
    settings = settings_of(tmp_path, KINDS)
    land(settings, money_events(rng, 150), "import-1")
    import_spend_rows(settings, "spend-1", [row for row in spend_rows(rng, 60) if row["currency"] in currencies])
    refresh(settings)
    assert_marts(settings)
    land(settings, [{**row, "event_id": f"late {row['event_id']}"} for row in money_events(rng, 30)], "import-2")
    import_spend_rows(settings, "spend-2", [row for row in spend_rows(rng, 20) if row["currency"] in currencies])
    refresh(settings)
    assert_marts(settings)


def test_an_import_that_comes_back_counts_by_its_new_time(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **WINDOW)
    land(settings, payment("a", 0, "x", 1, "EUR"), "import-1")
    cost = "SELECT sum(cost) FROM core.spend"
    landing = SpendLanding(settings.landing_dir)
    for name, amount in (("spend-1", 10), ("spend-2", 20)):
        import_spend_rows(settings, name, [spent(0, amount)])
    refresh(settings)
    assert rows_of(settings, cost) == [(20.0,)]
    landing.withdraw("spend-1", by="me", reason="again")
    import_spend_rows(settings, "spend-1", [spent(0, 10)])
    assert verify(settings, PLAN).ok  # not followed yet
    refresh(settings)
    assert rows_of(settings, cost) == [(10.0,)]
    assert verify(settings, PLAN).ok
    for name in ("spend-1", "spend-2"):
        landing.withdraw(name, by="me", reason="all of it")
    assert verify(settings, PLAN).ok
    refresh(settings)
    assert rows_of(settings, cost) == [(None,)]


def test_checks_see_what_is_wrong(tmp_path: Path) -> None:
    """Spend that grows, a lost row, and net value that is not gross less refunds: the failing checks by what was done."""
    rng = random.Random(1)
    settings = settings_of(tmp_path, KINDS)
    land(settings, money_events(rng, 100), "import-1")
    import_spend_rows(settings, "spend-1", spend_rows(rng, 40))
    refresh(settings)
    wrong = {
        "UPDATE marts.{0} SET spend = spend + 1 WHERE rowid = (SELECT max(rowid) FROM marts.{0} WHERE spend > 0)": {"spend_adds_up"},
        "DELETE FROM marts.{0} WHERE rowid = (SELECT max(rowid) FROM marts.{0} WHERE spend > 0 AND conversions = 0)": {"spend_adds_up"},
        "DELETE FROM marts.{0} WHERE rowid = (SELECT max(rowid) FROM marts.{0} WHERE conversions > 0 AND spend IS NULL)": {"credit_reaches_the_days"},
        "UPDATE marts.{0} SET net_value = net_value - 1 WHERE rowid = (SELECT max(rowid) FROM marts.{0} WHERE value > 0)": {"credit_reaches_the_days", "refunds_are_taken_off"},
    }  # fmt: skip
    with opened(settings.warehouse_path, settings) as con:
        for table, prefix in (("channel_attribution", ""), ("campaign_performance", "campaign_")):
            checks = table_of(f"marts.{table}").checks
            for sql, names in wrong.items():
                con.execute("BEGIN")
                con.execute(sql.format(table))
                failed = {check.name for check in checks if not check.run(con, BuildContext(settings, PLAN)).passed}
                con.execute("ROLLBACK")
                assert failed == {f"{prefix}{name}" for name in names} & {check.name for check in checks}, sql
