"""The restatement log: what a refresh changed of a day that was over, by how much and why, whatever was rebuilt."""

from __future__ import annotations

import json
import random
import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from profiles import slow_but
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, random_events, refresh, rows_of, settings_for

from gtm_dagster.importing.spend import SPEND_SCHEMA
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened, transaction
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
from gtm_dagster.warehouse.marts import restatements
from gtm_dagster.warehouse.schema import built, readers_of
from gtm_dagster.warehouse.schema.ddl import declared_differences, replace_table
from gtm_dagster.warehouse.staging.stage import stage
from gtm_dagster.warehouse.verify import verify_served

LINEAR = '[{"model": "linear", "lookback_hours": 168}]'
LOG = """SELECT day, conversion_type, currency, model, channel, reason, conversions_before, conversions_after, value_before, value_after
  FROM marts.restatements ORDER BY restatement_no"""
FIRST = date(2026, 1, 2)


def paid(event_id: str, day: int, user: str, amount: float = 10.0, **columns: object) -> dict:
    properties = json.dumps({"amount": amount, "currency": "EUR"})
    moment = START + day * DAY + 12 * 60 * MINUTE
    return event(event_id, moment, user_id=user, event_name="payment_completed", device_type="api", properties=properties, **columns)  # fmt: skip


def visit(event_id: str, day: int, source: str | None = None, hour: float = 9, **columns: object) -> dict:
    medium = "cpc" if source else None
    return event(event_id, START + day * DAY + round(hour * 60) * MINUTE, source=source, medium=medium, **columns)


def follow(settings: Settings, *, full: bool = False, until: str = "marts.restatements") -> None:
    """A refresh of the tables that the log is made from; `until`: the last of them, as when a run is killed behind it."""
    ctx = BuildContext(settings, PLAN, full)
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, ctx, allow_rebuild=True)
        stage(con, ctx)
        for table in built():
            if table.step is not None and "marts.restatements" in readers_of({table.name}):
                table.step(con, ctx)
            if table.name == until:
                break


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A payment of day 1 that a search ad brought, and visits until day 3: days 0 to 2 are over."""
    folder = tmp_path_factory.mktemp("built") / "state"
    settings = settings_for(folder, GTM_ATTRIBUTION__WINDOWS=LINEAR)
    rows = [visit("v", 1, "google", user_id="u"), paid("p", 1, "u"), visit("z", 3, user_id="z")]
    land(settings, [*rows, visit("y", 0, user_id="z")], "import-1")
    follow(settings)
    assert rows_of(settings, LOG) == []
    return folder


@pytest.fixture
def settings(built_once: Path, tmp_path: Path) -> Settings:
    shutil.copytree(built_once, tmp_path, dirs_exist_ok=True)
    return settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS=LINEAR)


def test_a_late_touch_takes_its_share_of_a_day_that_was_over(settings: Settings) -> None:
    land(settings, [visit("late", 1, "newsletter", hour=2, user_id="u")], "import-2")
    follow(settings)
    cell = (FIRST, "payment_completed", "EUR", "linear")
    assert rows_of(settings, LOG) == [
        (*cell, "Paid Other", "late_event", 0.0, 0.5, 0.0, 5.0),
        (*cell, "Paid Search", "late_event", 1.0, 0.5, 10.0, 5.0),
    ]


def withdraw(settings: Settings, name: str) -> None:
    Landing(settings.landing_dir).withdraw(name, by="me", reason="wrong file")


def reasons(settings: Settings) -> list[tuple]:
    """Each row without its day, type and model."""
    return [(channel, *rest) for _, _, _, _, channel, *rest in rows_of(settings, LOG)]


def test_a_late_payment_comes_to_a_day_that_was_over(settings: Settings) -> None:
    land(settings, [paid("late", 2, "u", 4.0)], "import-2")
    follow(settings)
    assert reasons(settings) == [("Paid Search", "late_event", 0.0, 1.0, 0.0, 4.0)]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([paid("now", 3, "u"), visit("w", 4, "bing", user_id="u")], id="the newest day was not over"),
        pytest.param([visit("w", -30, user_id="other"), paid("old", -29, "other")], id="days before the first known one are history"),
        pytest.param([visit("after", 1, "bing", hour=20, user_id="u")], id="a visit after the payment takes no credit"),
    ],
)  # fmt: skip
def test_what_restates_nothing(settings: Settings, rows: list[dict]) -> None:
    land(settings, rows, "import-2")
    follow(settings)
    assert rows_of(settings, LOG) == []


def test_a_withdrawn_import_gives_its_credit_back(settings: Settings) -> None:
    land(settings, [paid("wrong", 1, "u", 90.0), visit("w", 1, "bing", hour=3, user_id="u")], "import-2")
    follow(settings)
    withdraw(settings, "import-2")
    follow(settings)
    assert reasons(settings) == [
        ("Paid Search", "late_event", 1.0, 2.0, 10.0, 100.0),
        ("Paid Search", "withdrawn_import", 2.0, 1.0, 100.0, 10.0),
    ]
    assert rows_of(settings, "SELECT DISTINCT reason, detail FROM marts.restatements ORDER BY ALL") == [
        ("late_event", None),
        ("withdrawn_import", "import-2"),
    ]


def test_a_login_that_joins_two_histories_is_a_merge(settings: Settings) -> None:
    land(settings, [visit("anon", 1, "newsletter", hour=2, anonymous_id="a")], "import-2")
    follow(settings)
    assert reasons(settings) == []
    land(settings, [visit("login", 3, hour=10, anonymous_id="a", user_id="u")], "import-3")
    follow(settings)
    assert reasons(settings) == [
        ("Paid Other", "identity_merge", 0.0, 0.5, 0.0, 5.0),
        ("Paid Search", "identity_merge", 1.0, 0.5, 10.0, 5.0),
    ]


def test_a_late_event_of_a_known_person_is_no_merge(settings: Settings) -> None:
    """Its anonymous id is new, and belongs to the user from its first event on."""
    rows = [
        visit("late", 1, "newsletter", hour=2, anonymous_id="new"),
        visit("l2", 1, hour=2.1, anonymous_id="new", user_id="u"),
    ]
    land(settings, rows, "import-2")
    follow(settings)
    assert {reason for _, reason, *_ in reasons(settings)} == {"late_event"}


@pytest.mark.slow
def test_a_withdrawn_login_takes_the_merge_back(settings: Settings) -> None:
    land(settings, [visit("anon", 1, "newsletter", hour=2, anonymous_id="a")], "import-2")
    land(settings, [visit("login", 3, hour=10, anonymous_id="a", user_id="u")], "import-3")
    follow(settings)
    withdraw(settings, "import-3")
    follow(settings)
    assert {row[1] for row in reasons(settings)[2:]} == {"withdrawn_import"}


def test_two_reasons_in_one_refresh_are_steps_from_one_to_the_next(settings: Settings) -> None:
    """One cell: the withdrawn payment of one person goes, the late one of another comes."""
    land(settings, [visit("w", 1, "google", hour=3, user_id="w"), paid("wrong", 1, "w", 90.0)], "import-2")
    follow(settings)
    withdraw(settings, "import-2")
    land(settings, [visit("k", 1, "google", hour=3, user_id="k"), paid("late", 1, "k", 7.0)], "import-3")
    follow(settings)
    assert reasons(settings)[1:] == [
        ("Paid Search", "withdrawn_import", 2.0, 1.0, 100.0, 10.0),
        ("Paid Search", "late_event", 1.0, 2.0, 10.0, 17.0),
    ]


@pytest.mark.slow
def test_reasons_that_cancel_out_restate_nothing(settings: Settings) -> None:
    land(settings, [visit("w", 1, "google", hour=3, user_id="w"), paid("wrong", 1, "w", 90.0)], "import-2")
    follow(settings)
    before = reasons(settings)
    withdraw(settings, "import-2")
    land(settings, [visit("k", 1, "google", hour=3, user_id="k"), paid("late", 1, "k", 90.0)], "import-3")
    follow(settings)
    assert reasons(settings) == before


def test_a_changed_setting_says_which(settings: Settings, tmp_path: Path) -> None:
    land(settings, [visit("early", 1, "newsletter", hour=2, user_id="u")], "import-2")
    follow(settings)
    changed = settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS=LINEAR, GTM_SESSIONS__TIMEOUT_MINUTES="600")
    follow(changed)
    assert reasons(settings)[2:] == [
        ("Paid Other", "rule_change", 0.5, 1.0, 5.0, 10.0),
        ("Paid Search", "rule_change", 0.5, 0.0, 5.0, 0.0),
    ]
    detail = "SELECT DISTINCT detail FROM marts.restatements WHERE reason = 'rule_change'"
    assert rows_of(settings, detail) == [("sessions.timeout_minutes: 30 -> 600",)]


@pytest.mark.slow
def test_a_result_that_comes_or_goes_restates_nothing(settings: Settings, tmp_path: Path) -> None:
    both = '[{"model": "first_touch", "lookback_hours": 24}, {"model": "linear", "lookback_hours": 168}]'
    follow(settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS=both))
    follow(settings)
    assert rows_of(settings, LOG) == []


def test_a_rebuild_keeps_the_log_and_adds_nothing(settings: Settings) -> None:
    land(settings, [visit("late", 1, "newsletter", hour=2, user_id="u")], "import-2")
    follow(settings)
    whole_log = "SELECT * FROM marts.restatements ORDER BY ALL"
    before = rows_of(settings, whole_log)
    assert len(before) == 2
    follow(settings, full=True)
    assert rows_of(settings, whole_log) == before
    land(settings, [visit("later", 1, "newsletter", hour=3, user_id="u")], "import-3")
    follow(settings, full=True)
    assert [row[1] for row in reasons(settings)[2:]] == ["late_event", "late_event"]


@pytest.mark.slow
def test_a_rebuild_gives_the_rows_of_an_incremental_refresh(tmp_path: Path) -> None:
    """Where a refresh has one reason; of several a rebuild knows only the first."""
    logs = []
    for folder, full in (("a", False), ("b", True)):
        settings = settings_for(tmp_path / folder)
        rows = [visit(f"v{n}", n % 4, ("google", "bing", None)[n % 3], hour=n, user_id=f"u{n % 5}") for n in range(20)]
        land(settings, rows + [paid(f"p{n}", n % 3, f"u{n % 5}", 3.0 * n) for n in range(9)], "import-1")
        follow(settings)
        land(settings, [visit(f"w{n}", n % 3, "newsletter", hour=n, user_id=f"u{n}") for n in range(4)], "import-2")
        follow(settings, full=full)
        logs.append(rows_of(settings, LOG))
    assert len(logs[0]) > 20
    assert logs[0] == [pytest.approx(row) for row in logs[1]]


@pytest.mark.parametrize(
    "killed_after", slow_but(1, "core.conversions", "marts.attribution_credits", "marts.channel_attribution")
)
def test_a_killed_refresh_loses_no_row(settings: Settings, killed_after: str) -> None:
    land(settings, [visit("w", 1, "google", hour=3, user_id="w"), paid("wrong", 1, "w", 90.0)], "import-2")
    follow(settings)
    withdraw(settings, "import-2")
    land(settings, [visit("late", 1, "newsletter", hour=2, user_id="u")], "import-3")
    follow(settings, until=killed_after)
    land(settings, [visit("z2", 4, user_id="z")], "import-4")
    follow(settings)
    assert reasons(settings)[1:] == [
        ("Paid Other", "late_event", 0.0, 0.5, 0.0, 5.0),
        ("Paid Search", "withdrawn_import", 2.0, 1.0, 100.0, 10.0),
        ("Paid Search", "late_event", 1.0, 0.5, 10.0, 5.0),
    ]
    assert rows_of(settings, "SELECT count(*) FROM meta.replaced_credit") == [(0,)]
    assert rows_of(settings, "SELECT count(*) FROM meta.restatement_causes") == [(0,)]


def test_the_oldest_rows_go_by_number_and_by_age_and_are_counted(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(restatements, "KEPT_ROWS", 1)
    for n in range(2):
        land(settings, [visit(f"late{n}", 1, "newsletter", hour=2 + n, user_id="u")], f"import-{2 + n}")
        follow(settings)
    assert rows_of(settings, "SELECT restatement_no FROM marts.restatements ORDER BY 1") == [(4,)]
    assert rows_of(settings, "SELECT ended FROM meta.restatement_state") == [(3,)]
    monkeypatch.setattr(restatements, "KEPT_DAYS", -1)
    land(settings, [visit("now", 4, user_id="u")], "import-9")
    follow(settings)
    assert rows_of(settings, "SELECT last_no, ended FROM meta.restatement_state") == [(4, 4)]


def test_the_serving_copy_takes_the_new_rows_over(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restatements, "KEPT_ROWS", 1)
    for n in range(2):
        land(settings, [visit(f"late{n}", 1, "newsletter", hour=2 + n, user_id="u")], f"import-{2 + n}")
        refresh(settings)
        served = verify_served(settings)
        assert served is not None and served.ok, served and served.first


def test_a_log_of_fewer_columns_is_read_on(settings: Settings) -> None:
    land(settings, [visit("late", 1, "newsletter", hour=2, user_id="u")], "import-2")
    follow(settings)
    with opened(settings.warehouse_path, settings) as con:
        con.execute("ALTER TABLE marts.restatements DROP COLUMN detail")
        con.execute("ALTER TABLE marts.restatements ADD COLUMN gone INTEGER")
        with transaction(con):
            replace_table(con, "marts.restatements")
    assert len(reasons(settings)) == 2
    assert declared_differences() == []


def test_money_given_back_restates_the_day_of_the_payment(built_once: Path, tmp_path: Path) -> None:
    """In the same refresh as a late visit of another person: each to its own reason."""
    kinds = [{"event": "payment_completed", "value": "amount", "currency": "currency", "unique": "payment_id",
              "refunds": {"event": "payment_refunded"}}]  # fmt: skip
    settings = settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS=LINEAR, GTM_CONVERSIONS=json.dumps(kinds))
    rows = [visit(f"v{user}", 1, "google", user_id=user) for user in ("u", "k")]
    for user in ("u", "k"):
        properties = json.dumps({"amount": 10.0, "currency": "EUR", "payment_id": f"pay-{user}"})
        rows.append({**paid(f"p{user}", 1, user), "properties": properties})
    land(settings, [*rows, visit("z", 3, user_id="z")], "import-1")
    follow(settings)
    back = json.dumps({"amount": 4.0, "currency": "EUR", "payment_id": "pay-u"})
    refund = {**paid("r", 3, "u"), "event_name": "payment_refunded", "properties": back}
    land(settings, [refund, visit("late", 1, "newsletter", hour=2, user_id="k")], "import-2")
    follow(settings)
    sql = "SELECT channel, reason, conversions_after - conversions_before, value_after - value_before, net_before, net_after FROM marts.restatements ORDER BY restatement_no"
    assert rows_of(settings, sql) == [
        ("Paid Other", "late_event", 0.5, 5.0, 0.0, 5.0),
        ("Paid Search", "refund", 0.0, 0.0, 20.0, 16.0),
        ("Paid Search", "late_event", -0.5, -5.0, 16.0, 11.0),
    ]


def test_spend_that_comes_later_restates_the_day(settings: Settings) -> None:
    """Beside a late visit: credit to its own reason, spend to the import's."""
    table = pa.Table.from_pylist(
        [{"day": FIRST, "source": "google", "medium": "cpc", "campaign": None, "channel": "Paid Search", "currency": "EUR", "cost": 3.0, "write_key": "ads", "row_no": 1}],
        schema=SPEND_SCHEMA,
    )  # fmt: skip
    SpendLanding(settings.landing_dir).write(table, "spend-1", file="spend-1", write_key="ads")
    land(settings, [visit("late", 1, "newsletter", hour=2, user_id="u")], "import-2")
    follow(settings)
    sql = "SELECT channel, reason, conversions_before, conversions_after, spend_before, spend_after FROM marts.restatements ORDER BY restatement_no"
    assert rows_of(settings, sql) == [
        ("Paid Other", "late_event", 0.0, 0.5, None, None),
        ("Paid Search", "late_event", 1.0, 0.5, None, None),
        ("Paid Search", "spend_import", 0.5, 0.5, None, 3.0),
    ]


CELL = "day, conversion_type, currency, model, window_hours, channel"
NOTHING = (0, 0, 0, None)


def measures(side: str = "") -> str:
    """The select list of what a cell holds; no value and none left are one here."""
    value, net = (f"value{side}", f"net{side}") if side else ("value", "net_value")
    return f"conversions{side}, coalesce({value}, 0), coalesce({net}, 0), spend{side}"


@pytest.mark.parametrize("seed", slow_but(0, *range(6)))
def test_the_log_leads_from_each_table_to_the_next(tmp_path: Path, seed: int) -> None:
    """Random batches of late events, logins and withdrawals: before, and each row in its order, gives what is there now."""
    rng = random.Random(seed)
    settings = settings_for(tmp_path)
    rows = random_events(rng, 240)
    rng.shuffle(rows)
    names: list[str] = []
    before: dict[tuple, tuple] = {}
    over = (date.max, date.min)
    last = restated = 0
    for number in range(6):
        names.append(f"import-{number}")
        land(settings, rows[number * 40 : number * 40 + 40], names[-1])
        if number > 1 and rng.random() < 0.5:
            withdraw(settings, names.pop(rng.randrange(len(names) - 1)))
        follow(settings, full=rng.random() < 0.2)
        mart = rows_of(settings, f"SELECT {CELL}, {measures()} FROM marts.channel_attribution")
        log = rows_of(
            settings,
            f"""SELECT {CELL}, {measures("_before")}, {measures("_after")} FROM marts.restatements
            WHERE restatement_no > {last} ORDER BY restatement_no""",
        )
        now, moved = {row[:6]: row[6:] for row in mart}, dict(before)
        for row in log:
            assert moved.get(row[:6], NOTHING) == approx(row[6:10]), row
            assert over[0] <= row[0] < over[1], row
            moved[row[:6]] = row[10:]
        for key in now | moved:
            if over[0] <= key[0] < over[1]:
                assert now.get(key, NOTHING) == approx(moved.get(key, NOTHING)), key
        before = now
        restated += len(log)
        [(last, *over)] = rows_of(settings, "SELECT last_no, first_day, newest_day FROM meta.restatement_state")
    assert restated > 20


def approx(cell: tuple) -> object:
    return tuple(value if value is None else pytest.approx(value, rel=1e-6, abs=1e-9) for value in cell)
