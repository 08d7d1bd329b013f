"""`gtm guard` as a person uses it: arm, look, turn off by hand, replay, arm again; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gtm_dagster.cli import run
from gtm_dagster.rollout.providers.flagd import set_split

GUARDS = '[[guards]]\nflag = "checkout-v2"\nconversion = "payment_completed"\n'


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command beside a gtm.toml with one guard and one bad one: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / ".gtm"))
    (tmp_path / "gtm.toml").write_text(GUARDS + '[[guards]]\nflag = "other"\nconversion = "x"\nthreshold = 7\n')

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return (run(["guard", *arguments]), *capsys.readouterr())

    return call


def test_arm_turn_off_by_hand_replay_and_arm_again(gtm: Any, tmp_path: Path) -> None:
    flags = tmp_path / ".gtm" / "flags.json"
    set_split(flags, "checkout-v2", 0.5)
    assert gtm("rearm", "checkout-v2", "--reason", "rollout begins", "--actor", "ann")[0] == 0
    assert gtm("rollback", "checkout-v2", "--reason", "support is flooded", "--actor", "ann")[0] == 0
    rule = json.loads(flags.read_text())["flags"]["checkout-v2"]
    assert rule["defaultVariant"] == "off" and not rule.get("targeting")
    code, out, _ = gtm("status", "--json")
    (guard,) = json.loads(out)["guards"]
    assert (guard["state"], guard["epoch"]) == ("ROLLED_BACK", 1)
    assert code == 1 and "guards[1].threshold: 7" in out, "the bad guard is named, and the good one is there"
    episode = guard["last_rollback"]["episode"]
    assert gtm("replay", episode)[0] == 0
    set_split(flags, "checkout-v2", 0.1)
    assert gtm("rearm", "checkout-v2", "--reason", "mended", "--actor", "ann")[0] == 0
    (guard,) = json.loads(gtm("status", "--json")[1])["guards"]
    assert guard["epoch"] == 2 and guard["state"] != "ROLLED_BACK"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("rearm", "checkout-v2"), 2, "--reason"),
        (("rearm", "checkout-v2", "--reason", " "), None, "reason"),
        (("rearm", "nothing", "--reason", "r"), None, "there is no such guard; known: checkout-v2"),
        (("rearm", "checkout-v2", "--reason", "r"), 1, "flags.json"),
        (("rollback", "checkout-v2"), 2, "--reason"),
        (("give-up", "checkout-v2"), 2, "--reason"),
        (("give-up", "checkout-v2", "--reason", "r"), 1, "no unfinished rollback to give up; it is DISARMED"),
        (("replay", "0123456789abcdef"), None, "0123456789abcdef"),
        (("simulate", "--visitors-per-minute", "10", "--drop", "1.5"), 2, "1.5"),
        (("simulate", "--visitors-per-minute", "10", "--split", "1"), 2, "split"),
        (("simulate", "--visitors-per-minute", "10", "--ramp", "x"), 2, "x"),
        (("simulate", "--visitors-per-minute", "10", "--margin", "1"), 2, "--margin: 1 is not allowed; give a share of the threshold from 0"),
        (("plan", "--visitors-per-minute", "10", "--base-rate", "0.1", "--slower", "-1"), 2, "--slower"),
        (("backtest", "--flag", "checkout-v2", "--start-risk", "0.3"), 2, "--start-risk: 0.3 is not allowed; give a probability"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line(gtm: Any, arguments: tuple[str, ...], code: int | None, words: str) -> None:
    ended, out, error = gtm(*arguments)
    assert ended in ((code,) if code is not None else (1, 2))
    assert not out and words in error and "Traceback" not in error


def test_a_simulation_says_what_scripts_read(gtm: Any) -> None:
    asked = ("simulate", "--visitors-per-minute", "100", "--drop", "0.9", "--hours", "1", "--runs", "5", "--seed", "7")
    code, out, _ = gtm(*asked, "--json")
    document = json.loads(out)
    assert code == 0 and document["runs"] == 5 and document["rolled_back_share"] == 1.0
    assert 5 <= document["median_minutes"] <= 10 and document["median_visitors"] > 500
    assert json.loads(gtm(*asked, "--json")[1]) == document, "the same seed"
    quiet = json.loads(gtm("simulate", "--visitors-per-minute", "10", "--drop", "0", "--runs", "3", "--json")[1])
    assert quiet["rolled_back_share"] == 0.0 and quiet["median_minutes"] is quiet["median_visitors"] is None


def test_the_curve_has_a_line_for_each_drop_with_its_error(gtm: Any) -> None:
    asked = ("simulate", "--curve", "--visitors-per-minute", "100", "--hours", "6", "--runs", "3")
    code, out, _ = gtm(*asked, "--json")
    document = json.loads(out)
    assert code == 0 and [point["drop"] for point in document["curve"]][::4] == [0.0, 0.14, 0.3]
    first, last = document["curve"][0], document["curve"][-1]
    assert (first["share"], first["median_minutes"]) == (0.0, None) and first["share_error"] > 0
    assert last["share"] == 1.0 and 5 < last["median_minutes"] < 120 and "drop" not in document["scenario"]
    assert gtm(*asked)[1].splitlines()[0].startswith("drop,share,"), "a pipe gets the numbers"
    lines = gtm(*asked, "--format", "table")[1].splitlines()
    assert len(lines) == 2 + len(document["curve"]) and "rolled back in 6 h" in lines[0] and "+-" in lines[-1]


@pytest.mark.parametrize(
    ("option", "sooner", "why"),
    [
        (("--margin", "0"), True, "any harm is evidence"),
        (("--margin", "0.9"), False, "most of the threshold is no harm"),
        (("--slower", "0"), True, "nothing is waited for"),
        (("--start-risk", "0.2"), True, "a start may cost more"),
    ],
)
def test_what_a_plan_tries_in_place_of_the_guards_own(
    gtm: Any, option: tuple[str, str], sooner: bool, why: str
) -> None:
    def start_minutes(*more: str) -> float:
        asked = ("plan", "--visitors-per-minute", "100", "--base-rate", "0.2", "--json", *more)
        return float(json.loads(gtm(*asked)[1])["expectations"][3]["start_minutes"])

    assert (start_minutes(*option) < start_minutes()) == sooner, why


def test_a_rollback_of_a_flag_that_is_not_there_is_refused_and_one_that_fails_is_given_up(
    gtm: Any, tmp_path: Path
) -> None:
    flags = tmp_path / ".gtm" / "flags.json"
    set_split(flags, "checkout-v2", 0.5)
    asked = ("checkout-v2", "--reason", "support is flooded", "--actor", "ann")
    assert gtm("rearm", *asked)[0] == 0
    there = flags.read_text()
    flags.write_text('{"flags": {}}')
    code, _, error = gtm("rollback", *asked)
    assert code == 1 and "no flag to turn off" in error and "gtm flag create checkout-v2" in error
    flags.write_text("{torn")
    code, _, error = gtm("rollback", *asked)
    assert code == 1 and "the kill list holds the old flow" in error
    flags.write_text(there)
    code, out, _ = gtm("give-up", *asked, "--json")
    document = json.loads(out)
    assert (code, document["outcome"], document["actor"]) == (0, "given_up", "ann")
    (guard,) = json.loads(gtm("status", "--json")[1])["guards"]
    assert (guard["state"], guard["last_rollback"]["outcome"]) == ("GIVEN_UP", "given_up")


METRICS = (
    '[[guards.metrics]]\nname = "errors"\nkind = "error"\nevent = "churn_flagged"\n'
    '[[guards.metrics]]\nname = "revenue"\nkind = "value"\nevent = "payment_completed"\nvalue = "amount"\ncap = 200.0\n'
)


def test_a_plan_has_times_for_each_further_metric(gtm: Any, tmp_path: Path) -> None:
    (tmp_path / "gtm.toml").write_text(GUARDS + METRICS)
    asked = ("plan", "--flag", "checkout-v2", "--visitors-per-minute", "100", "--base-rate", "0.2")
    code, out, _ = gtm(*asked, "--metric", "errors=0.02", "--metric", "revenue=0.06", "--json")
    rows = json.loads(out)["metrics"]
    assert code == 0 and [(row["metric"], row["harm"]) for row in rows] == [
        ("errors", 0.5), ("errors", 1.0), ("errors", 3.0), ("errors", 9.0),
        ("revenue", 0.15), ("revenue", 0.3), ("revenue", 0.5), ("revenue", 1.0),
    ]  # fmt: skip
    for metric in ("errors", "revenue"):
        medians = [row["median_minutes"] for row in rows if row["metric"] == metric]
        assert medians == sorted(medians, reverse=True), "more harm is seen sooner"
    assert min(row["median_minutes"] for row in rows if row["metric"] == "revenue") > 60, "a mean waits for the window"
    shown = gtm(*asked, "--metric", "errors=0.02")[1]
    assert "rise of 900%" in shown and "nothing is counted of revenue yet; --metric revenue=BASE" in shown


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("errors", "--metric: 'errors' is not NAME=BASE"),
        ("erors=0.1", "--metric: erors is not a further metric of this guard; did you mean errors?"),
        ("errors=1.5", "--metric: errors=1.5 is not allowed"),
    ],
)
def test_a_metric_that_cannot_be_planned_is_named(gtm: Any, tmp_path: Path, given: str, words: str) -> None:
    (tmp_path / "gtm.toml").write_text(GUARDS + METRICS)
    asked = ("plan", "--flag", "checkout-v2", "--visitors-per-minute", "100", "--base-rate", "0.2", "--metric", given)
    code, out, error = gtm(*asked)
    assert code == 2 and not out and words in error
