"""A state directory may have any name that the database can open: paths never end the SQL text they stand in."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from warehouse_cases import MINUTE, PLAN, START, event, land, refresh, settings_for

from gtm_dagster.cli import run
from gtm_dagster.warehouse.quarantined import quarantine_now
from gtm_dagster.warehouse.serving import query
from gtm_dagster.warehouse.verify import verify, verify_served

NAME = "o'brien \"x\" ; -- é [1]* $1 'q'"


def _exposures(file: Path) -> Path:
    """A week of exposures and conversions of the flag `odd`, every second unit treated."""
    lines = []
    for unit in range(600):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=5 * unit)
        properties = {
            "flag": "odd",
            "variant": "treatment" if unit % 2 else "control",
            "served": "treatment" if unit % 2 else "control",
        }
        exposed = {"event_name": "flag_exposed", "properties": {**properties, "reason": "SPLIT", "epoch": 1}}
        paid = {"event_name": "payment_completed", "properties": {"amount": 1.0, "currency": "EUR"}}
        for number, sent in enumerate((exposed, paid) if unit % 3 == 0 else (exposed,)):
            sent |= {"event_id": f"odd-{unit}-{number}", "user_id": f"unit{unit}", "context": {"device_type": "api"}}
            lines.append(json.dumps(sent | {"timestamp": (moment + timedelta(minutes=number)).isoformat()}))
    file.write_text("\n".join(lines))
    return file


@pytest.mark.slow
def test_everything_works_in_a_state_directory_of_an_odd_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state = tmp_path / NAME
    monkeypatch.setenv("GTM_STATE_DIR", str(state))
    monkeypatch.delenv("GTM_CONFIG", raising=False)

    def gtm(*arguments: str) -> str:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        assert code == 0, f"{arguments}: {err}{out}"
        return out

    gtm("simulate", "--events", "300", "--days", "3", "--seed", "1", "--out", "traffic's")
    gtm("import", *map(str, Path("traffic's").glob("events*")))
    gtm("import", str(_exposures(tmp_path / "it's exposed.ndjson")))
    spend = tmp_path / "it's spend.csv"
    spend.write_text("day,source,medium,campaign,cost,currency\n2026-01-01,google,cpc,brand,10,USD\n")
    gtm("import", "--as", "spend", str(spend))
    assert json.loads(gtm("refresh", "--json"))["ok"]
    assert "core.sessions" in gtm("tables")
    rows = json.loads(gtm("query", "SELECT count(*) AS n FROM core.sessions", "--json"))
    assert rows[0]["n"] > 0
    assert json.loads(gtm("query", "--work", "SELECT count(*) AS n FROM staging.events", "--json"))[0]["n"] > 0
    gtm("quarantine", "list")
    doctor = json.loads(gtm("doctor", "--verify", "--json"))
    assert doctor["ok"], doctor
    gtm("sql", "--dialect", "duckdb", "--bundle", NAME + "/bundle's")
    gtm("guard", "backtest", "--flag", "odd", "--conversion", "payment_completed")


def test_what_lands_is_built_published_read_and_verified_in_one(tmp_path):
    settings = settings_for(tmp_path / NAME)
    land(settings, [event("e1", START, anonymous_id="a1"), event("e2", START, anonymous_id="a2")], "import-1")
    refresh(settings)
    land(settings, [event("e3", START + MINUTE, anonymous_id="a1", event_name="signup_completed")], "import-2")
    refresh(settings)
    assert query(settings, "SELECT count(*) FROM core.sessions")[1] == [(2,)]
    assert query(settings, "SELECT count(*) FROM staging.events", work=True)[1] == [(3,)]
    with quarantine_now(settings) as con:
        assert con.execute("SELECT count(*) FROM quarantine").fetchall() == [(0,)]
    assert verify(settings, PLAN).ok
    copy = verify_served(settings)
    assert copy is not None and copy.ok


@pytest.mark.parametrize("character", ["?", "\\"])
def test_a_name_that_the_database_cannot_open_is_refused_before_anything_is_made(
    tmp_path, monkeypatch, capsys, character
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", f"a{character}b")
    assert run(["doctor"]) == 2
    assert "state_dir: " in (error := capsys.readouterr().err) and "GTM_STATE_DIR" in error
    assert not list(tmp_path.iterdir())
