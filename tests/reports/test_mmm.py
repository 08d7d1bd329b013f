"""`gtm report mmm`: spend and sessions by day and channel, outcomes by day; what is unknown is empty, what is none is 0."""

from __future__ import annotations

import csv
import io
import json
import shlex
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from report_traffic import deployment

from gtm_dagster.cli import run
from gtm_dagster.reports.mmm import ALL, COLUMNS, as_csv, as_parquet, mmm_table
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.figures.period import Period
from gtm_dagster.warehouse.serving import query, reader

PERIOD = Period(date(2025, 12, 30), date(2026, 2, 15))


@pytest.fixture(scope="module", params=["UTC", "Pacific/Auckland"])
def shop_in(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return deployment(tmp_path_factory.mktemp("shop"), GTM_REPORT_TIMEZONE=request.param)


def figures(settings: Settings) -> dict[tuple, float | None]:
    with reader(settings) as con:
        rows = mmm_table(con, PERIOD, settings.report_timezone)
    found = {row[:5]: row[5] for row in rows}
    assert len(found) == len(rows), "a figure stands there once"
    return found


def test_sums_are_those_of_the_tables(shop_in: Settings) -> None:
    found = figures(shop_in)

    def total(variable: str, **wanted: str | None) -> float:
        names = list(COLUMNS)
        return sum(
            amount or 0.0
            for key, amount in found.items()
            if key[2] == variable and all(key[names.index(name)] == value for name, value in wanted.items())
        )

    ((sessions,),) = query(shop_in, "SELECT count(*) FROM core.sessions")[1]
    assert total("sessions") == sessions
    assert total("spend", currency="EUR") == pytest.approx(150) and total("clicks") == pytest.approx(50)
    for currency, n, value, net in query(
        shop_in, "SELECT currency, count(*), sum(value), sum(net_value) FROM core.conversions GROUP BY 1"
    )[1]:
        assert total("conversions", currency=currency) == n
        assert total("value", currency=currency) == pytest.approx(value)
        assert total("net_value", currency=currency) == pytest.approx(net)


def test_days_of_sessions_are_those_of_the_daily_table(shop_in: Settings) -> None:
    daily = dict(
        query(shop_in, "SELECT day, sessions FROM marts.daily WHERE conversion_type IS NULL AND sessions > 0")[1]
    )
    found: dict[date, float] = {}
    for (day, _, variable, _, _), amount in figures(shop_in).items():
        if variable == "sessions" and amount:
            found[day] = found.get(day, 0.0) + amount
    assert found == daily


def test_what_is_unknown_is_empty_and_what_did_not_happen_is_zero(shop_in: Settings) -> None:
    found = figures(shop_in)
    assert found[date(2025, 12, 30), "Direct", "sessions", None, None] is None, "before the first event"
    assert found[date(2026, 1, 5), "Affiliates", "sessions", None, None] == 0
    assert found[date(2026, 1, 5), ALL, "conversions", "payment_completed", "EUR"] == 0
    assert found[date(2026, 2, 5), "Paid Search", "spend", None, "EUR"] is None, "no import tells of that day"
    assert {key[1] for key in found if key[2] == "value"} == {ALL}


def test_files_hold_what_is_printed(
    shop_in: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GTM_STATE_DIR", str(shop_in.state_dir))
    monkeypatch.setenv("GTM_REPORT_TIMEZONE", shop_in.report_timezone)
    monkeypatch.chdir(tmp_path)
    asked = f"report mmm --since {PERIOD.since} --until {PERIOD.until}"
    assert run(shlex.split(f"{asked} --json")) == 0
    rows = json.loads(capsys.readouterr().out)
    for name in ("mmm.csv", "mmm.parquet"):
        assert run(shlex.split(f"{asked} --out {name}")) == 0
    in_csv = list(csv.DictReader(io.StringIO((tmp_path / "mmm.csv").read_text())))
    in_parquet = pq.read_table(tmp_path / "mmm.parquet")
    assert len(in_csv) == in_parquet.num_rows == len(rows)
    assert [row["amount"] for row in rows] == in_parquet["amount"].to_pylist()
    assert [float(row["amount"]) if row["amount"] else None for row in in_csv] == in_parquet["amount"].to_pylist()
    assert in_parquet.schema.field("amount").metadata[b"meaning"] == COLUMNS["amount"].encode()
    capsys.readouterr()
    assert run(shlex.split(f"{asked} --out mmm.xlsx")) == 2
    assert "neither .csv nor .parquet" in capsys.readouterr().err


def test_nothing_gives_a_table_without_rows() -> None:
    assert as_csv([]).decode() == ",".join(COLUMNS) + "\n"
    assert pq.read_table(io.BytesIO(as_parquet([]))).num_rows == 0
