"""`gtm sql`: the statements listed and printed; a bundle's export is in test_bundle.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gtm_dagster.cli import run
from gtm_dagster.warehouse import statements

Gtm = Callable[..., tuple[int, str]]


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gtm:
    """`gtm sql ARGUMENTS` of a deployment that has no warehouse yet: the exit code, and stdout or the error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GTM_SESSIONS__TIMEOUT_MINUTES", "7")
    monkeypatch.delenv("GTM_CONFIG", raising=False)

    def call(*arguments: str) -> tuple[int, str]:
        code = run(["sql", *arguments])
        out, err = capsys.readouterr()
        return code, out if code == 0 else err

    return call


def test_listing_names_every_statement_with_its_parameters(gtm: Gtm) -> None:
    code, said = gtm("--json")
    listed = {one["name"]: one["parameters"] for one in json.loads(said)}
    assert code == 0
    assert list(listed) == statements.names()
    assert listed["funnel_step"] == ["stage_no", "after_us"]
    assert all(name in gtm()[1] for name in listed)


@pytest.mark.parametrize(
    ("arguments", "holds"),
    [
        pytest.param(("sessions",), "420000000", id="the settings fill what they decide"),
        pytest.param(("sessions", "--set", "timeout_us=1"), "> 1", id="an option wins"),
        pytest.param(("sessions", "--raw"), ":timeout_us", id="raw leaves the parameter, Spark"),
        pytest.param(("sessions", "--raw", "--dialect", "bigquery"), "@timeout_us", id="raw, BigQuery"),
        pytest.param(("sessions", "--raw", "--dialect", "postgres"), "%(timeout_us)s", id="raw, PostgreSQL"),
        pytest.param(("funnel_step",), ":stage_no", id="what only a step knows stays open"),
    ],
)
def test_printing_a_statement(gtm: Gtm, arguments: tuple[str, ...], holds: str) -> None:
    code, said = gtm(*arguments)
    assert (code, holds in said) == (0, True), said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(
            ("nothing",), "'nothing' is not a statement; known: accounts, campaign_performance", id="statement"
        ),
        pytest.param(("sessions", "--dialect", "oracle"), "'oracle' is not a dialect known here", id="dialect"),
        pytest.param(("sessions", "--set", "timeout_us=soon"), "write PARAMETER=NUMBER", id="value"),
        pytest.param(("credits", "--set", "timeout_us=1"), "credits has no parameters", id="parameter"),
        pytest.param(("sessions", "--bundle", "x"), "leave NAME, --set and --raw out", id="both"),
        pytest.param(("--raw",), "--set and --raw need the name of a statement", id="raw without a name"),
        pytest.param(("--bundle", "x", "--dialect", "snowflake"), "written for duckdb or spark", id="bundle's dialect"),
    ],
)
def test_wrong_usage(gtm: Gtm, arguments: tuple[str, ...], says: str) -> None:
    code, said = gtm(*arguments)
    assert (code, says in said) == (2, True), said


def test_a_bundle_needs_a_warehouse(gtm: Gtm) -> None:
    code, said = gtm("--bundle", "x")
    assert (code, "warehouse.duckdb is not there yet: run `gtm refresh` first" in said) == (1, True)


def test_json_names_what_is_left_open(gtm: Gtm) -> None:
    said = json.loads(gtm("funnel_step", "--set", "stage_no=2", "--json")[1])
    assert (said["name"], said["dialect"], said["open"]) == ("funnel_step", "spark", ["after_us"])
