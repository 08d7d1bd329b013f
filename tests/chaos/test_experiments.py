"""The experiments themselves, with few rounds: each one runs, hits something, and finds nothing."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from chaos_cases import outcome_of

from gtm_dagster.chaos.edge_keys import HEARTBEATS, key_placements
from gtm_dagster.chaos.hostile_bodies import hostile_events, large_bodies
from gtm_dagster.chaos.inspect import check_refresh, leftovers
from gtm_dagster.chaos.malformed_http import SMUGGLED, malformed_requests
from gtm_dagster.chaos.outcome import SHOWN, Findings, Rounds
from gtm_dagster.chaos.processes import Child, descendants, until
from gtm_dagster.chaos.running import EXPERIMENTS
from gtm_dagster.chaos.small_disk import namespace_command
from gtm_dagster.chaos.throwaway import CommandResult, throw_away
from gtm_dagster.cli import run
from gtm_dagster.commands.doctor_chaos import run_chaos
from gtm_dagster.commands.output import Problem
from gtm_dagster.settings import Settings


@pytest.mark.slow
def test_readers_never_notice_a_killed_publisher():
    """The smallest experiment; the others take a refresh or more and are `real`."""
    outcome = outcome_of("publisher", rounds=1)
    assert outcome.found == ()
    assert outcome.figures["reader_queries"] > 0


@pytest.mark.real
def test_the_collector_keeps_what_it_answered():
    outcome = outcome_of("collector", rounds=2)
    assert outcome.found == ()
    assert outcome.figures["acked"] > 0
    assert (outcome.figures["missing"], outcome.figures["twice"], outcome.figures["missing_in_tables"]) == (0, 0, 0)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "rounds", "counts"),
    [
        ("refresh", 1, "in_the_run"),
        ("dagster", 2, "kills_of_the_run"),
        ("concurrency", 0, "refresh_ok"),
        ("disk-full", 1, "append_503"),
        ("edge", 1, "good_neighbours_accepted"),
        ("triggers", 3, "messages"),
        ("attacker", 0, "left_out"),
    ],
)
def test_an_experiment_finds_nothing(name: str, rounds: int, counts: str):
    outcome = outcome_of(name, rounds=rounds, minutes={"concurrency": 0.3, "attacker": 0.5}.get(name))
    if outcome.skipped and namespace_command() is None:
        pytest.skip(outcome.skipped)
    assert outcome.found == ()
    assert outcome.skipped is None
    assert outcome.figures[counts] > 0


def test_a_name_that_is_no_drill_is_wrong_usage():
    with pytest.raises(Problem, match=r"earthquake.*publisher") as problem:
        run_chaos(Settings(), ["earthquake"], rounds=1, minutes=1, json=False)
    assert problem.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["collector"], id="a name without --drill"),
        pytest.param(["--rounds", "2"], id="rounds without --drill"),
        pytest.param(["--minutes", "1"], id="minutes without --drill"),
        pytest.param(["--drill", "--verify"], id="this deployment and a throw-away one at once"),
        pytest.param(["--drill", "earthquake"], id="a drill that is not there"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(arguments: list[str], capsys):
    assert run(["doctor", *arguments]) == 2
    assert "drill" in capsys.readouterr().err


def test_a_drill_asked_for_that_cannot_run_is_no_pass(monkeypatch, capsys):
    monkeypatch.setattr("gtm_dagster.chaos.fill_disk.namespace_command", lambda: None)
    assert run_chaos(Settings(), ["disk-full"], rounds=1, minutes=1, json=False) == 1
    assert "SKIPPED disk-full: no small disk can be mounted here" in capsys.readouterr().out


def test_every_experiment_names_its_promise():
    assert all(":" in promise for promise in EXPERIMENTS.values())


def test_the_attack_on_the_edge_is_as_wide_as_it_says():
    url = "http://127.0.0.1:8377"
    malformed, odd, keys = list(malformed_requests(url)), list(hostile_events()), list(key_placements())
    assert len(dict(malformed)) == len(malformed) >= 100
    assert len(dict(odd)) == len(odd) >= 90
    assert len(keys) >= 35
    assert len(HEARTBEATS) >= 20
    assert {opens for _, _, opens in keys} == {True, False}
    assert sum(SMUGGLED.encode() in data for _, data in malformed) >= 10
    assert all(0 < len(body) <= 5_000_000 for _, body in large_bodies(1))


def book(**counts: int) -> dict:
    return {"ingest_date": "2026-01-01", "log_rows": 10, "raw": 10, "clean": 7, "duplicates": 2, "quarantined": 1, "suppressed": 0, **counts}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "books", "found"),
    [
        pytest.param(0, [book()], "", id="balanced"),
        pytest.param(0, [book(clean=6)], "books out of balance on 2026-01-01", id="a row gone from the table"),
        pytest.param(0, [book(log_rows=11)], "books out of balance", id="a row the writer took and nobody read"),
        pytest.param(0, [], "the books show 0 rows, 10 were sent", id="a batch never landed"),
        pytest.param(1, [book()], "`gtm refresh` ended with 1: it broke", id="a refresh that failed"),
    ],
)
def test_checking_a_refresh(code: int, books: list[dict], found: str):
    findings = Findings(lambda _: None)
    result = CommandResult(code, json.dumps({"books": books, "error": "it broke" if code else None}), "", 1.0)
    assert check_refresh(result, 10, findings, "then") is not bool(found)
    assert found in " ".join(findings.lines())
    assert bool(findings.lines()) is bool(found)


@pytest.mark.parametrize(
    ("wanted", "minutes", "numbers"),
    [
        pytest.param(3, None, [1, 2, 3], id="as many as wanted"),
        pytest.param(3, 60.0, [1, 2, 3], id="in time"),
        pytest.param(3, 0.0, [1], id="too late for a second, but one is always done"),
    ],
)
def test_rounds_end_with_their_number_or_their_time(wanted: int, minutes: float | None, numbers: list[int]):
    rounds = Rounds(wanted, minutes)
    assert list(rounds.numbers()) == numbers
    assert rounds.done == len(numbers)


def test_findings_beyond_the_shown_are_counted():
    findings = Findings(lambda _: None)
    for number in range(SHOWN + 3):
        findings.expect(False, f"finding {number}")
    assert len(findings.lines()) == SHOWN + 1
    assert findings.lines()[-1] == "and 3 more"


def test_a_throw_away_deployment_is_apart_from_the_deployment_and_goes_away(monkeypatch):
    monkeypatch.setenv("GTM_STATE_DIR", "/somewhere/else")
    monkeypatch.setenv("GTM_OPS_URL", "postgresql+psycopg://elsewhere")
    with throw_away(None, None) as deployment:
        folder = deployment.folder
        assert deployment.state.parent == folder
        assert not {"GTM_STATE_DIR", "GTM_OPS_URL"} & set(deployment.environment)
        assert deployment.settings.ops_url is None
        for name in (".serving.duckdb.1.part", "dagster_home/x.part"):
            path = deployment.state / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        file = (
            deployment.settings.landing_dir / "ingest_date=2026-01-01" / "log-000000000000001-000000000000002.parquet"
        )
        file.parent.mkdir(parents=True)
        file.touch()
        assert leftovers(deployment) == [".serving.duckdb.1.part", str(file.relative_to(deployment.state))]
    assert not folder.exists()


def test_a_kill_takes_the_children_too(tmp_path: Path):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    with Child(["-c", code], dict(os.environ), tmp_path, tmp_path / "out") as child:
        assert until(lambda: len(descendants(child.pid)) == 1, 20)
        (below,) = descendants(child.pid)
        assert child.kill()
    assert until(lambda: not _alive(below), 20)


def _alive(pid: int) -> bool:
    if sys.platform.startswith("linux"):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_asked_child_ends_by_itself(tmp_path: Path):
    with Child(["-c", "import time; time.sleep(60)"], dict(os.environ), tmp_path, tmp_path / "out") as child:
        assert child.stop(signal.SIGTERM) == -signal.SIGTERM
        assert not child.running()
