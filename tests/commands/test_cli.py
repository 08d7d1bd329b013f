"""The command line: exit codes, one-line errors, JSON documents, on a real state directory."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gtm_dagster.cli import run
from gtm_dagster.commands.table_output import records
from gtm_dagster.orchestration.refresh_run import RefreshResult
from gtm_dagster.reports.plain_values import json_text, plain
from gtm_dagster.warehouse.staging.books import BookRow


class Answer(NamedTuple):
    """Exit code, stdout and stderr of one command line."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Gtm = Callable[..., Answer]


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gtm:
    """Runs `gtm ARGS` in an empty folder with its own state directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("GTM_CONFIG", raising=False)

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        code = run(list(arguments))
        return Answer(code, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'. (see `gtm --help`)"),
        (["refresh", "--nope"], "No such option: --nope (see `gtm refresh --help`)"),
        (["query"], "Missing argument"),
        (["query", " "], "the query is empty"),
        (["simulate", "--events", "0"], "Invalid value for '--events'"),
        (["simulate", "--events", "10", "--format", "xml"], "form: 'xml' is not known; choose parquet or ndjson"),
        (
            ["plan", "export", "--format", "xml"],
            "--format: 'xml' is not known; choose jsonschema, markdown, typescript, python",
        ),
        (["attribute", "nope.csv", "--model", "best"], "'best' is not an attribution model; choose one of"),
        (
            ["attribute", "nope.csv", "--model", "lineer"],
            "not an attribution model, did you mean linear; choose one of",
        ),
        (["guard", "rearm", "chekout", "--reason", "x"], "no such guard; known: none is declared; add [[guards]]"),
        (["guard", "drill", "--nope"], "(see `gtm guard drill --help`)"),
        (["sql", "sesions"], "'sesions' is not a statement; did you mean sessions"),
        (
            ["sql", "sessions", "--dialect", "snowflak"],
            "'snowflak' is not a dialect known here; did you mean snowflake?",
        ),
        (["doctor", "--drill", "collectr"], "there is no such drill; did you mean collector?"),
        (["tables", "marts.chanel_attribution"], "is not a table; the nearest are marts.channel_attribution"),
        (["query", "SELECT 1", "--json", "--format", "md"], "--json and --format md ask for two things"),
        (["attribute", "nope.csv", "--model", "time_decay"], "time_decay needs to know how old each touch is"),
        (["attribute", "nope.csv", "--model", "linear", "--separator", ""], "separator: an empty text"),
        (["attribute", "nope.csv", "--model", "linear", "--transform", "sort"], "'sort' is not a transform of paths"),
        (["attribute", "nope.csv", "--model", "linear", "--channel-hours", "a"], "'a' is not CHANNEL=HOURS"),
        (["attribute", "nope.csv", "--model", "position_based", "--weights", "1,x,1"], "weights: '1,x,1'"),
        (
            ["guard", "backtest", "--flag", "a", "--conversion", "payment_complete"],
            "--conversion: 'payment_complete' is not an event of plan 1-0-2 (the packaged plan); did you mean payment_completed",
        ),
        (["privacy", "pseudonym", ""], "an empty value has no pseudonym"),
        (["--config", "missing.toml", "doctor"], "missing.toml: there is no such settings file"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line(gtm: Gtm, arguments: list[str], message: str) -> None:
    answer = gtm(*arguments)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "SELECT 1"], "serving.duckdb is not there yet: run `gtm refresh` first"),
        (["quarantine", "list"], "run `gtm refresh` first"),
        (["attribute", "nope.csv", "--model", "linear"], "nope.csv: no such file"),
        (["plan", "check", "nope.yaml"], "nope.yaml"),
        (["import", "nope.csv"], "nope.csv"),
        (["doctor", "--verify"], None),
    ],
)
def test_a_problem_is_exit_code_1_and_one_line(gtm: Gtm, arguments: list[str], message: str | None) -> None:
    answer = gtm(*arguments)
    assert answer.code == 1
    assert "Traceback" not in answer.err
    if message:
        assert message in answer.err
        assert answer.err.count("\n") == 1


def test_a_bad_setting_is_wrong_usage_and_names_its_line(gtm: Gtm, tmp_path: Path) -> None:
    (tmp_path / "gtm.toml").write_text("[sessions]\ntimeout_minutes = 0\n")
    answer = gtm("doctor")
    assert (answer.code, answer.err) == (
        2,
        "gtm: sessions.timeout_minutes: 0 is not a number above 0 (gtm.toml line 2)\n",
    )


def test_help_and_version_are_exit_code_0(gtm: Gtm) -> None:
    assert gtm("--version").out.strip() == "0.1.0"
    answer = gtm("--help")
    assert answer.code == 0
    for command in (
        "demo",
        "dev",
        "collect",
        "simulate",
        "import",
        "refresh",
        "query",
        "attribute",
        "doctor",
        "quarantine",
        "keys",
        "privacy",
        "plan",
    ):
        assert f"\n  {command} " in answer.out, command


def test_a_refresh_that_did_nothing_shows_no_books_of_the_run_before(gtm: Gtm, monkeypatch: pytest.MonkeyPatch) -> None:
    before = BookRow(date(2026, 1, 1), 5, 5, 5, 0, 0, 0)
    result = RefreshResult("r", False, [before], error="plan.yaml line 3: no")
    monkeypatch.setattr("gtm_dagster.orchestration.refresh_run.run_refresh", lambda *_, **__: result)
    assert gtm("refresh") == (1, "", "gtm: plan.yaml line 3: no\n")


def test_attribute_reads_paths_by_the_names_everybody_has(gtm: Gtm, tmp_path: Path) -> None:
    (tmp_path / "paths.csv").write_text("path,total_conversions,total_null\na > b,2,5\nb,1,0\n")
    answer = gtm("attribute", "paths.csv", "--model", "linear", "--json")
    assert answer.code == 0
    assert answer.document == [
        {"channel": "a", "conversions": 1.0, "value": None},
        {"channel": "b", "conversions": 2.0, "value": None},
    ]
    both = gtm("attribute", "paths.csv", "--model", "first_touch", "--model", "last_touch", "--json").document
    assert [(row["model"], row["channel"], row["conversions"]) for row in both] == [
        ("first_touch", "a", 2.0), ("first_touch", "b", 1.0), ("last_touch", "a", 0.0), ("last_touch", "b", 3.0),
    ]  # fmt: skip


def test_attribute_takes_filters_and_options(gtm: Gtm, tmp_path: Path) -> None:
    (tmp_path / "paths.csv").write_text(
        "path,ages,total_conversions\na > b > Direct,90 > 20 > 1,4\nb,3,1\n > ,1 > 1,9\n"
    )
    options = ("--ages-column", "ages", "--lookback-hours", "50", "--channel-hours", "a=100", "--transform", "exposure")
    answer = gtm("attribute", "paths.csv", "--model", "position_based", "--weights", "1,1,0", "--without", "Direct",
                 "--skip-bad-rows", "--json", *options)  # fmt: skip
    assert [(row["channel"], row["conversions"]) for row in answer.document] == [("a", 4.0), ("b", 1.0)]
    assert "1 rows skipped" in answer.err
    assert "no path has" not in answer.err
    unknown = gtm("attribute", "paths.csv", "--model", "linear", "--without", "Dirct", "--skip-bad-rows").err
    assert "no path has the channel 'Dirct'; did you mean Direct?" in unknown


def test_a_pseudonym_is_stable_and_not_the_value(gtm: Gtm) -> None:
    first = gtm("privacy", "pseudonym", "someone@example.org").out.strip()
    assert first == gtm("privacy", "pseudonym", "someone@example.org").out.strip()
    assert len(first) == 32
    assert first != gtm("privacy", "pseudonym", "someone.else@example.org").out.strip()


def test_a_key_is_added_listed_and_revoked(gtm: Gtm) -> None:
    added = gtm("keys", "add", "web", "--role", "client", "--json").document
    assert added["name"] == "web" and len(added["secret"]) > 20
    assert [(key["name"], key["role"]) for key in gtm("keys", "list", "--json").document] == [("web", "client")]
    assert gtm("keys", "add", "odd", "--role", "admin").code != 0
    assert added["secret"] not in gtm("keys", "list").out
    assert gtm("keys", "add", "web").code == 1
    assert gtm("keys", "revoke", "web").code == 0
    assert gtm("keys", "list", "--json").document == []
    assert gtm("keys", "revoke", "web").code == 1
    shown = gtm("keys", "add", "page", "--role", "client")
    tag = f'<script async src="http://127.0.0.1:8377/gtm.js" data-key="{shown.out.strip()}"></script>'
    assert tag in shown.err.splitlines() and "cors_origins" in shown.err
    assert "<script" not in gtm("keys", "add", "backend").err


def test_plan_export_and_check(gtm: Gtm) -> None:
    assert "payment_completed" in gtm("plan", "export", "--format", "markdown").out
    assert "payment_completed" in json.dumps(gtm("plan", "export").document)
    answer = gtm("plan", "check", "--json")
    assert answer.code == 0
    assert (answer.document["level"], answer.document["stored_events"], answer.document["rejected_share"]) == (
        "NONE",
        0,
        None,
    )


def test_simulate_import_refresh_query(gtm: Gtm, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = [{"model": "last_touch", "lookback_hours": 24}, {"model": "linear", "lookback_hours": 168}]
    monkeypatch.setenv("GTM_ATTRIBUTION__WINDOWS", json.dumps(windows))
    simulated = gtm("simulate", "--events", "2000", "--days", "10", "--out", "traffic", "--json").document
    assert simulated["events"] == 2000
    imported = gtm("import", simulated["files"][0], "--json")
    assert imported.code == 0, imported.err
    books = imported.document
    assert books["read"] == 2000 == sum(books[name] for name in ("accepted", "duplicates", "quarantined", "suppressed"))

    refreshed = gtm("refresh", "--json")
    assert refreshed.code == 0, refreshed.err
    result = refreshed.document
    assert result["ok"] and result["run_id"] and result["checks"]
    assert {"asset", "check", "passed", "severity", "description"} == set(result["checks"][0])
    assert sum(day["raw"] for day in result["books"]) == 2000 == result["totals"]["raw"]

    rows = gtm("query", "SELECT min(session_start) AS first_start, count(*) AS n FROM core.sessions", "--json").document
    assert rows[0]["n"] > 100
    assert rows[0]["first_start"].endswith("Z")
    assert gtm("query", "SELECT count(*) AS n FROM staging.events", "--work", "--json").document[0]["n"] > 1900
    refused = gtm("query", "SELECT count(*) FROM staging.events")
    assert (refused.code, "--work" in refused.err) == (1, True)
    assert gtm("query", "DELETE FROM core.sessions").code == 1

    absent = gtm("query", "SELECT * FROM marts.channel_attribution WHERE model = 'linear'", "--json")
    assert (absent.code, absent.document) == (0, [])
    assert "these models are not computed, see marts.attribution_status\n  linear 168 h: " in absent.err
    assert gtm("query", "SELECT * FROM marts.funnel WHERE stage = 'none'").err == ""

    rejected = gtm("quarantine", "list", "--limit", "3", "--json").document
    assert 0 < len(rejected) <= 3 and rejected[0]["reasons"][0]["code"] and rejected[0]["suggestions"]
    [shown, *_] = gtm("quarantine", "show", rejected[0]["example_id"], "--json").document
    assert shown["errors"][0]["code"] in shown["reason_codes"].split(",")

    judged = gtm("plan", "check", "--json")
    assert (judged.code, judged.document["stored_events"] > 1900, judged.document["rejected"]) == (0, True, 0)
    assert judged.document["compared_with"].endswith("(gtm refresh)")
    health = gtm("doctor", "--verify", "--json")
    assert health.code == 0, health.out


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("2.50"), 2.5),
        (Decimal(3), 3),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05Z"),  # noqa: DTZ001 - DuckDB's TIMESTAMP is naive UTC
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T22:00:00Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (b"\x01\xff", "01ff"),
        ({"a": (1, True, None)}, {"a": [1, True, None]}),
    ],
)
def test_values_as_json_takes_them(value: object, expected: object) -> None:
    assert plain(value) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(Decimal("12345678901234567.89"), "12345678901234567.89", id="more digits than a float has"),
        pytest.param(Decimal("-0.10"), "-0.1", id="no zeros behind the last digit"),
        pytest.param(Decimal("1E+2"), "100", id="a whole number"),
        pytest.param(Decimal("1E-10"), "0.0000000001", id="no exponent"),
        pytest.param(Decimal("NaN"), "null", id="no number"),
        pytest.param([{"a": Decimal("0.3"), "b": "0:1"}], '[{"a": 0.3, "b": "0:1"}]', id="beside a text"),
    ],
)
def test_a_decimal_is_written_with_all_of_its_digits(value: object, text: str) -> None:
    assert json_text(value) == text


def test_columns_of_one_name_get_a_number() -> None:
    assert records(["n", "n", "n_2"], [(1, 2, 3)]) == [{"n": 1, "n_2": 2, "n_2_2": 3}]
