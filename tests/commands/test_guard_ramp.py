"""`gtm guard ramp`: where a ramp stands and what it waits for, approved by a person with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ramp_cases import RAMP, RampWorld

from gtm_dagster.cli import run
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.providers.flagd import Flagd
from gtm_dagster.settings import load_settings

GUARD = (
    '[[guards]]\nflag = "checkout-v2"\nconversion = "payment_completed"\n[guards.ramp]\nloss = 0.3\nmin_hours = 0.1\n'
)


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in a deployment with one guard: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / ".gtm"))
    (tmp_path / "gtm.toml").write_text(GUARD)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return (run(list(arguments)), *capsys.readouterr())

    return call


@pytest.fixture
def world(gtm: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    assert gtm("flag", "create", "checkout-v2")[0] == 0
    settings = load_settings()
    with OpsStore.of(settings) as store:
        world = RampWorld(monkeypatch, settings, store, Flagd(settings.flags_path), settings.guards[0])
        assert world.context.guard.ramp == RAMP
        world.arm()
        world.go(2)
        yield world


def test_it_says_what_to_do_before_anything_is_armed(gtm: Any, tmp_path: Path) -> None:
    code, _, error = gtm("guard", "ramp", "checkout-v2")
    assert code == 1 and "never armed; `gtm guard rearm checkout-v2" in error
    (tmp_path / "gtm.toml").write_text(GUARD.partition("[guards.ramp]")[0])
    gtm("flag", "create", "checkout-v2")
    gtm("guard", "rearm", "checkout-v2", "--reason", "rollout begins")
    code, _, error = gtm("guard", "ramp", "checkout-v2")
    assert code == 1 and "declares no ramp: add [guards.ramp]" in error


def test_arming_names_the_ramp(gtm: Any) -> None:
    gtm("flag", "create", "checkout-v2")
    code, out, _ = gtm("guard", "rearm", "checkout-v2", "--reason", "rollout begins")
    assert code == 0 and "its ramp begins at what the flag serves now: `gtm guard ramp checkout-v2" in out


def test_a_ramp_from_the_first_approval_to_the_second_step(gtm: Any, world: RampWorld) -> None:
    code, out, _ = gtm("guard", "ramp", "checkout-v2")
    assert code == 0 and out.startswith("checkout-v2: 0 % at flagd, the guard is ARMED; steps 1, 5, 25, 50, 100 %\n")
    assert "  next 1 % waits:\n  - a person approves it: `gtm guard ramp checkout-v2 --approve" in out
    code, out, _ = gtm("guard", "ramp", "checkout-v2", "--approve", "--by", "ann", "--reason", "release 12")
    assert code == 0 and "step 1 to 1 % is approved, by ann: release 12" in out and "taken by the sensor" in out
    assert world.take(step=world.standing.id).outcome == "taken"
    world.go(20)
    code, out, _ = gtm("guard", "ramp", "checkout-v2")
    assert (
        code == 0 and "would have been seen by now: a loss of" in out and "would not have been seen at 1 % yet" in out
    )
    assert "at this traffic, from 20" in out and "ann: release 12" in out
    document = json.loads(gtm("guard", "ramp", "checkout-v2", "--json")[1])
    assert (document["share"], document["next_share"], document["ready"]) == (0.01, 0.05, False)
    assert [wait["kind"] for wait in document["waits"]] == ["power", "approval"] and document["ready_at"] is not None
    assert 0.3 < document["visible_loss"] < 1
    assert [(step["to"], step["approved_by"], step["state"]) for step in document["taken"]] == [(0.01, "ann", "taken")]


def test_what_holds_it_up_is_exit_code_1(gtm: Any, world: RampWorld) -> None:
    world.take()
    world.context.writer.set_share("checkout-v2", "production", 0.3)
    code, out, _ = gtm("guard", "ramp", "checkout-v2")
    assert code == 1 and "flagd serves 30 %, the ramp wrote 1 %: somebody changed the flag" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--approve",), "--reason: say why"),
        (("--approve", "--by", " ", "--reason", "x"), "say who asks"),
        (("--reason", "x"), "--by and --reason belong to --approve"),
    ],
)
def test_wrong_usage(gtm: Any, world: RampWorld, arguments: tuple[str, ...], words: str) -> None:
    code, _, error = gtm("guard", "ramp", "checkout-v2", *arguments)
    assert code == 2 and words in error


def test_guard_status_shows_the_ramp_and_what_it_waits_for(gtm: Any, world: RampWorld) -> None:
    shown = " ".join(gtm("guard", "status")[1].split())
    assert "ramp: 0 %; next 1 % waits for approval - a person approves it" in shown
    world.take()
    world.go(3)
    shown = " ".join(gtm("guard", "status")[1].split())
    assert "ramp: step 1 of 5, 1 % since 20" in shown and "next 5 % waits for time, power, approval" in shown
    (guard,) = json.loads(gtm("guard", "status", "--json")[1])["guards"]
    assert [wait["kind"] for wait in guard["ramp"]["waits"]] == ["time", "power", "approval"]
    assert (guard["ramp"]["share"], guard["ramp"]["next_share"]) == (0.01, 0.05)
