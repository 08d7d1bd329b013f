"""`gtm guard backtest` over events that were imported: the same detector, on a past that is known."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gtm_dagster.cli import run
from gtm_dagster.rollout.control.past_counts import read_past_counts
from gtm_dagster.settings import load_settings

BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)
MINUTES, PACE, RATE = 60, 100, 0.3


def visits(path: Path, drop: float, begin: datetime = BEGIN, name: str = "") -> dict[str, int]:
    """An hour of visitors whose ids begin with `name`, half of them treated; returns how many of each arm were exposed and converted."""
    rng = random.Random(7)
    counted = dict.fromkeys(("control_exposed", "control_converted", "treated_exposed", "treated_converted"), 0)
    lines = []
    for number in range(MINUTES * PACE):
        at = begin + timedelta(seconds=number * 60 / PACE)
        treated = rng.random() < 0.5
        arm = "treated" if treated else "control"
        counted[f"{arm}_exposed"] += 1
        shown = {"flag": "checkout-v2", "variant": "treatment" if treated else "control", "reason": "SPLIT"}
        lines.append(event(f"{name}x{number}", "flag_exposed", at, f"{name}u{number}", shown))
        if rng.random() < RATE * (1 - drop if treated else 1):
            counted[f"{arm}_converted"] += 1
            paid = {"amount": 10, "currency": "EUR"}
            lines.append(
                event(f"{name}p{number}", "payment_completed", at + timedelta(seconds=20), f"{name}u{number}", paid)
            )
        if number % 50 == 0:  # served the old flow for a reason of its own: tells nothing about the arms
            failed = {"flag": "checkout-v2", "variant": "control", "reason": "TIMEOUT"}
            lines.append(event(f"{name}t{number}", "flag_exposed", at, f"{name}late{number}", failed))
    path.write_text("\n".join(lines) + "\n")
    return counted


def event(event_id: str, name: str, at: datetime, user: str, properties: dict[str, Any]) -> str:
    document = {"event_id": event_id, "event_name": name, "timestamp": at.isoformat(), "user_id": user}
    return json.dumps({**document, "properties": properties, "context": {"device_type": "api"}})


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command on a state directory of its own: exit code and its JSON document, or the error line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / ".gtm"))

    def run_json(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else err

    return run_json


@pytest.mark.parametrize(("drop", "rolled_back"), [(0.6, True), (1.0, True), (0.0, False)])
def test_a_known_past_is_judged_as_it_was(gtm: Any, tmp_path: Path, drop: float, rolled_back: bool) -> None:
    counted = visits(tmp_path / "past.ndjson", drop)
    assert gtm("import", "past.ndjson", "--json")[0] == 0
    code, result = gtm("guard", "backtest", "--flag", "checkout-v2", "--json")
    assert code == 0 and result["would_roll_back"] is rolled_back
    assert {name: result[name] for name in counted} == counted
    if rolled_back:
        decided = datetime.fromisoformat(result["decided_at"])
        assert BEGIN + timedelta(minutes=5) < decided <= BEGIN + timedelta(minutes=20)
        assert abs(result["estimate"] - drop) <= 0.2 and result["peak_log_e"] > 9
    else:
        assert result["decided_at"] is None and result["peak_log_e"] < 9


@pytest.mark.parametrize("drop", [0.0, 0.6])
def test_gd_04_the_drop_of_a_past_stands_with_its_own_range(
    gtm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], drop: float
) -> None:
    """An unchanged flow was printed as "drop 32%" beside counts of another range."""
    visits(tmp_path / "past.ndjson", drop)
    gtm("import", "past.ndjson", "--json")
    asked = ["guard", "backtest", "--flag", "checkout-v2"]
    _, result = gtm(*asked, "--json")
    treated = result["range_treated_converted"] / result["range_treated"]
    control = result["range_control_converted"] / result["range_control"]
    assert abs(result["estimate"] - (1 - treated / control)) < 0.03
    assert result["low"] <= drop <= result["high"]
    assert run(asked) == 0
    shown = capsys.readouterr().out
    assert f"treated {result['range_treated_converted']:,} of {result['range_treated']:,}" in shown
    assert "of the control's conversion, by visitors exposed since 2026-03-01T09:" in " ".join(shown.split())


def test_importing_it_again_changes_nothing(gtm: Any, tmp_path: Path) -> None:
    visits(tmp_path / "past.ndjson", 0.6)
    gtm("import", "past.ndjson", "--json")
    once = gtm("guard", "backtest", "--flag", "checkout-v2", "--json")
    visits(tmp_path / "again.ndjson", 0.6)
    with (tmp_path / "again.ndjson").open("a") as file:
        file.write(event("other", "page_viewed", BEGIN, "u1", {}) + "\n")
    gtm("import", "again.ndjson", "--json")
    assert gtm("guard", "backtest", "--flag", "checkout-v2", "--json") == once


def test_a_part_of_the_past(gtm: Any, tmp_path: Path) -> None:
    """The broken hour lies before the healthy one: each is judged alone when asked for."""
    visits(tmp_path / "broken.ndjson", 0.6)
    healthy = BEGIN + timedelta(hours=3)
    visits(tmp_path / "healthy.ndjson", 0.0, healthy, "again-")
    for name in ("broken", "healthy"):
        gtm("import", f"{name}.ndjson", "--json")
    asked = ("guard", "backtest", "--flag", "checkout-v2", "--json")
    assert gtm(*asked, "--until", "2026-03-01T11:00:00Z")[1]["would_roll_back"] is True
    assert gtm(*asked, "--since", "2026-03-01T11:00:00Z")[1]["would_roll_back"] is False
    assert gtm(*asked)[1]["would_roll_back"] is True


def test_payments_before_their_exposure_and_under_an_earlier_name_are_seen(gtm: Any, tmp_path: Path, capsys) -> None:
    """Treated whose exposures were reported a minute late looked like a loss of all; a renamed event like none at all."""
    lines = []
    for number in range(200):
        at = BEGIN + timedelta(seconds=number)
        shown = {"flag": "checkout-v2", "variant": ("control", "treatment")[number % 2], "reason": "SPLIT"}
        late = timedelta(minutes=1 if number % 2 else 0)
        lines.append(event(f"x{number}", "flag_exposed", at + late, f"u{number}", shown))
        lines.append(event(f"p{number}", "payment_completed", at, f"u{number}", {"amount": 1, "currency": "EUR"}))
    (tmp_path / "past.ndjson").write_text("\n".join(lines) + "\n")
    gtm("import", "past.ndjson", "--json")
    code, result = gtm("guard", "backtest", "--flag", "checkout-v2", "--json")
    assert (code, result["converted_before_exposure"]) == (0, {"control": 0, "treatment": 100})
    assert run(["guard", "backtest", "--flag", "checkout-v2", "--format", "table"]) == 0
    assert "converted only before their exposure: treatment 100; many in one arm" in capsys.readouterr().out
    past = read_past_counts(load_settings(), "checkout-v2", "paid", 60, aliases={"payment_completed": "paid"})
    assert (past.counts.converted_by_arm(), past.early) == ((100, 0), {"treatment": 100})


def test_the_table_tells_every_moment(gtm: Any, tmp_path: Path) -> None:
    visits(tmp_path / "past.ndjson", 0.6)
    gtm("import", "past.ndjson", "--json")
    result = gtm("guard", "backtest", "--flag", "checkout-v2", "--table", "--json")[1]
    rows = result["ticks"]
    assert len(rows) > 100 and any(row["above"] for row in rows)
    assert max(row["log_e"] for row in rows) == pytest.approx(result["peak_log_e"])


def test_a_flag_nobody_was_exposed_to_is_named(gtm: Any) -> None:
    code, error = gtm("guard", "backtest", "--flag", "nothing", "--json")
    assert code == 1 and "nothing: no exposure by a split has landed" in error


@pytest.mark.parametrize(
    ("identified", "code", "rolled_back"),
    [(False, 1, None), (True, 0, True)],
    ids=["no link", "one event names both ids"],
)
def test_gd_11_payments_by_another_id(
    gtm: Any, tmp_path: Path, identified: bool, code: int, rolled_back: bool | None
) -> None:
    """40 visitors a minute for three hours, exposed by anonymous id, paying by user id: control 20 %, treated never."""
    lines = []
    for number in range(7200):
        at = BEGIN + timedelta(seconds=1.5 * number)
        shown = {"flag": "checkout-v2", "variant": ("control", "treatment")[number % 2], "reason": "SPLIT"}
        ids = [("flag_exposed", f"anon{number}", None, shown)]
        if number % 10 == 0:
            ids += [("user_identified", f"anon{number}", f"user{number}", {})] if identified else []
            ids += [("payment_completed", None, f"user{number}", {"amount": 10, "currency": "EUR"})]
        for name, anonymous, user, properties in ids:
            document = {
                "event_id": f"{name}{number}",
                "event_name": name,
                "timestamp": at.isoformat(),
                "properties": properties,
            }
            named = {key: value for key, value in (("anonymous_id", anonymous), ("user_id", user)) if value}
            lines.append(json.dumps({**document, **named, "context": {"device_type": "api"}}))
    (tmp_path / "past.ndjson").write_text("\n".join(lines) + "\n")
    assert gtm("import", "past.ndjson", "--json")[0] == 0
    found, result = gtm("guard", "backtest", "--flag", "checkout-v2", "--json")
    assert (found, result["would_roll_back"]) == (code, rolled_back), result["reason"]
    if not identified:
        assert (
            "720 payment_completed seen, none carries the id of an exposed visitor"
            in result["reason"]
            == result["blind"]
        )
