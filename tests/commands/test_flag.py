"""GD-20: `gtm flag` makes and splits the flag that the first steps of docs/guard.md need, and reads back what it wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gtm_dagster.cli import run
from gtm_dagster.gate import kill_list
from gtm_dagster.rollout.providers import FlagState
from gtm_dagster.rollout.providers.flagd import Flagd

GUARD = '[[guards]]\nflag = "checkout-v2"\nconversion = "payment_completed"\n'
ELSEWHERE = '[[providers]]\nname = "ff"\nkind = "unleash"\nurl = "http://127.0.0.1:9"\ntoken_env = "FF_TOKEN"\n'
BOTH = {"on": True, "off": False}
STAFF = {"if": [{"in": ["@example.com", {"var": "email"}]}, "on", "off"]}


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in a deployment with one guard: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / ".gtm"))
    monkeypatch.setenv("FF_TOKEN", "t")
    (tmp_path / "gtm.toml").write_text(GUARD + ELSEWHERE)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return (run(list(arguments)), *capsys.readouterr())

    return call


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    return tmp_path / ".gtm" / "flags.json"


def state(flags: Path) -> FlagState:
    return Flagd(flags).read_back("checkout-v2", "")


def test_gd_20_the_first_steps_of_the_guide_work_one_after_the_other(gtm: Any, flags: Path) -> None:
    code, _, error = gtm("guard", "rearm", "checkout-v2", "--reason", "rollout begins")
    assert code == 1 and "gtm flag create" in error, "the way out is named"
    code, out, error = gtm("flag", "create", "checkout-v2")
    assert code == 0 and "checkout-v2 is made at flagd: off, the old flow for all (read back)" in out
    assert "gtm guard rearm checkout-v2" in error
    assert not state(flags).enabled
    assert gtm("guard", "rearm", "checkout-v2", "--reason", "rollout begins", "--actor", "ann")[0] == 0
    code, out, error = gtm("flag", "split", "checkout-v2", "0.5")
    assert (code, out, error) == (
        0,
        "checkout-v2 is set at flagd: 50 % of the units get the new flow (read back)\n",
        "",
    )
    assert state(flags).share == 0.5
    guide = (Path(__file__).parents[2] / "docs" / "guard.md").read_text()
    assert guide.index("gtm flag create checkout-v2") < guide.index("gtm guard rearm checkout-v2"), "and it says so"


def test_a_flag_begins_with_a_share_and_scripts_read_it(gtm: Any, flags: Path) -> None:
    code, out, _ = gtm("flag", "create", "checkout-v2", "--split", "0.0125", "--json")
    document = json.loads(out)
    assert code == 0 and document == {
        "flag": "checkout-v2", "provider": "flagd", "environment": "production", "enabled": True, "share": 0.0125,
        "fingerprint": state(flags).fingerprint, "guards": ["checkout-v2:payment_completed:production"],
    }  # fmt: skip


def test_the_same_units_stay_treated_while_the_share_grows(gtm: Any, flags: Path) -> None:
    gtm("flag", "create", "checkout-v2")
    treated: set[str] = set()
    for share in ("0.01", "0.2", "1"):
        assert gtm("flag", "split", "checkout-v2", share)[0] == 0
        units = [f"u{n}" for n in range(500)]
        now = {unit for unit, on in zip(units, Flagd(flags).evaluate("checkout-v2", "", units), strict=True) if on}
        assert treated <= now
        treated = now
    assert len(treated) == 500
    assert gtm("flag", "split", "checkout-v2", "0")[0] == 0
    rule = json.loads(flags.read_text())["flags"]["checkout-v2"]
    assert rule == {"variants": BOTH, "state": "ENABLED", "defaultVariant": "off"}, "off as turning off leaves it"


REFUSED = [
    ("a flag that is there already", ("create", "there"), 1, "gtm flag split there SHARE"),
    ("a flag that is not there", ("split", "nothing", "0.5"), 1, "gtm flag create nothing"),
    ("a percentage", ("split", "there", "50"), 1, "50 is not a share; give one from 0 to 1"),
    ("no number", ("split", "there", "nan"), 1, "not a share"),
    ("a flag with rules of its own", ("split", "ruled", "0.5"), 1, "would be lost; change it in the file"),
    ("a flag without the old flow", ("split", "one-way", "0.5"), 1, "no variant has the value false; add one"),
    ("a provider nobody declared", ("create", "x", "--provider", "unlaesh"), 1, "there are: ff, flagd"),
    ("a provider whose flags are made there", ("create", "x", "--provider", "ff"), 1, "not at unleash; make it there"),
    ("a provider that does not answer", ("split", "x", "0.5", "--provider", "ff"), 1, "cannot reach http://127.0.0.1:9"),
    ("a name of blanks", ("create", " "), 1, "a flag has a name"),
    ("no share", ("split", "there"), 2, "SHARE"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_is_refused_names_the_way_out_and_writes_nothing(
    gtm: Any, flags: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    flags.parent.mkdir()
    document = {
        "there": {"state": "ENABLED", "variants": BOTH, "defaultVariant": "off"},
        "ruled": {"state": "ENABLED", "variants": BOTH, "defaultVariant": "off", "targeting": STAFF},
        "one-way": {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on"},
    }
    flags.write_text(json.dumps({"flags": document}))
    before = flags.read_bytes()
    ended, out, error = gtm("flag", *arguments)
    assert (ended, out) == (code, "") and words in error and "Traceback" not in error
    assert flags.read_bytes() == before


def test_what_is_read_back_is_what_counts(gtm: Any, flags: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flagd, "read_back", lambda *_: FlagState(True, 0.9, "f", "another hand"))
    code, out, error = gtm("flag", "create", "checkout-v2", "--split", "0.5")
    assert (code, out) == (1, "") and "read back it is 0.9 (another hand); somebody else writes this flag" in error


def test_the_kill_list_is_named_when_it_holds_the_flag_off(gtm: Any, flags: Path) -> None:
    gtm("flag", "create", "checkout-v2")
    kill_list.add(flags.with_name("killed.json"), "checkout-v2", "by hand", datetime.now(UTC))
    assert "the kill list holds checkout-v2 off" in gtm("flag", "split", "checkout-v2", "0.5")[2]


def test_a_flag_without_a_guard_is_written_and_named_as_unwatched(gtm: Any) -> None:
    code, out, error = gtm("flag", "create", "pricing-v2", "--split", "0.1")
    assert code == 0 and "10 % of the units" in out
    assert 'no guard watches it: add [[guards]] with flag = "pricing-v2"' in error


def test_a_flag_with_guards_at_two_places_is_not_guessed(gtm: Any, tmp_path: Path) -> None:
    other = GUARD.replace("payment", "signup") + 'provider = "ff"\n'
    (tmp_path / "gtm.toml").write_text(GUARD + other + ELSEWHERE)
    code, _, error = gtm("flag", "split", "checkout-v2", "0.5")
    assert code == 1 and "guards at several places, ff (production), flagd (production)" in error
    assert gtm("flag", "create", "checkout-v2", "--provider", "flagd")[0] == 0
