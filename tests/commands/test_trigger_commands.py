"""`gtm trigger`: check, test and backtest on files and landed events."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gtm_dagster.cli import run
from gtm_dagster.settings import load_settings
from gtm_dagster.triggers.past_events import events_of, read_past

EXAMPLES = Path(__file__).parents[2] / "examples" / "triggers" / "triggers.yaml"
Gtm = Callable[..., tuple[int, str, str]]
RULES = """
rules:
  nudge:
    on: trial_started
    absent: {event: onboarding_completed, within: 24h}
    purpose: marketing
    cap: {channel: email, n: 1, per: 7d}
    quiet: {from: "21:00", to: "08:00", zone: Europe/Berlin}
    do: {email: nudge.md.j2}
"""


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gtm:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    (tmp_path / "triggers.yaml").write_text(RULES)
    (tmp_path / "gtm.toml").write_text('triggers_file = "triggers.yaml"\n')
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "nudge.md.j2").write_text("Subject: Go on\n\nYour trial waits.\n")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(arguments))
        return (code, *capsys.readouterr())

    return call


def line(name: str, at: datetime, user: str, consent: bool = True, **more: Any) -> str:
    context = {"device_type": "web", "consent": {"analytics": True, "marketing": consent}}
    stamp = at.isoformat()
    event = {"event_id": f"{name}-{user}-{stamp}", "event_name": name, "timestamp": stamp, "user_id": user}
    return json.dumps({**event, "context": context, **more})


BEGIN = datetime(2026, 11, 2, 9, tzinfo=UTC)


def test_check_of_the_examples_and_of_the_setting(gtm: Gtm) -> None:
    code, out, _ = gtm("trigger", "check", str(EXAMPLES))
    *_, fitting, unready = out.splitlines()
    assert code == 0 and fitting.endswith("5 rules, all fit the packaged plan")
    assert unready == "4 of them cannot be sent yet: gtm.toml declares no [[destinations]]"
    code, out, _ = gtm("trigger", "check", "--json")
    assert code == 0 and json.loads(out)["rules"] == [
        {"rule": "nudge", "when": "trial_started, no onboarding_completed within 24h", "do": "email nudge.md.j2", "purpose": "marketing"}
    ]  # fmt: skip


def test_check_says_every_error_and_what_an_edit_does(gtm: Gtm, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(RULES.replace("trial_started", "trial_startd").replace("marketing", "sales"))
    code, _, err = gtm("trigger", "check", "wrong.yaml")
    assert code == 1 and "line 4" in err and "line 6" in err
    code, out, _ = gtm("trigger", "check", "wrong.yaml", "--json")
    assert code == 1 and (json.loads(out)["ok"], len(json.loads(out)["problems"])) == (False, 2)
    wrong.write_text(RULES.replace("24h", "48h"))
    code, out, _ = gtm("trigger", "check", "wrong.yaml", "--before", "triggers.yaml")
    assert (
        code == 0 and "1 condition changed\n  nudge: its condition changed: open starts are due by the new one" in out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "none.yaml"], "triggers_file none.yaml: cannot be read"),
        (["backtest", "nudg"], "nudg: there is no such rule; did you mean nudge?"),
        (["test", "nudge", "--event", "none.ndjson"], "--event none.ndjson: cannot be read"),
        (["test", "nudge", "--event", "triggers.yaml"], "triggers.yaml line 2: not JSON"),
    ],
)
def test_an_error_names_the_thing(gtm: Gtm, arguments: list[str], message: str) -> None:
    code, _, err = gtm("trigger", *arguments)
    assert code in (1, 2) and message in err


def test_test_says_what_is_sent_and_why_not(gtm: Gtm, tmp_path: Path) -> None:
    evening = BEGIN.replace(hour=20)
    lines = [
        line("trial_started", evening, "ann"), line("trial_started", BEGIN, "bob", consent=False),
        line("trial_started", BEGIN, "eve"), line("onboarding_completed", BEGIN + timedelta(hours=1), "eve"),
    ]  # fmt: skip
    (tmp_path / "events.ndjson").write_text("\n".join(lines))
    code, out, _ = gtm("trigger", "test", "nudge", "--event", "events.ndjson", "--json")
    rows = json.loads(out)["outcomes"]
    assert code == 0
    assert [(row["person"], row["outcome"], row["reason"], row["at"]) for row in rows] == [
        ("eve", "not sent", "cancelled", "2026-11-02T10:00:00Z"), ("bob", "not sent", "no_consent", "2026-11-03T09:02:00Z"),
        ("ann", "held", "quiet", "2026-11-03T20:02:00Z"), ("ann", "sent", None, "2026-11-04T07:00:00Z"),
    ]  # fmt: skip
    code, out, _ = gtm("trigger", "test", "nudge", "--event", "events.ndjson", "--format", "table")
    assert code == 0 and "1 sent of 4 events; nothing was delivered" in out
    assert max(map(len, out.splitlines())) <= 80


def test_backtest_counts_what_landed(gtm: Gtm, tmp_path: Path) -> None:
    lines = []
    for day in range(10):
        at = BEGIN + timedelta(days=day)
        lines += [line("trial_started", at, f"u{day}"), line("trial_started", at, f"no{day}", consent=False)]
        lines += [
            line("trial_started", at, f"done{day}"),
            line("onboarding_completed", at + timedelta(hours=2), f"done{day}"),
        ]
    lines += [line("trial_started", BEGIN + timedelta(days=3), "u0")]  # capped
    lines += [line("page_viewed", BEGIN + timedelta(days=11), "last")]
    (tmp_path / "past.ndjson").write_text("\n".join([*lines, lines[0]]))
    assert gtm("trigger", "backtest", "nudge")[0] == 1
    assert gtm("import", "past.ndjson")[0] == 0
    code, out, _ = gtm("trigger", "backtest", "nudge", "--days", "30", "--json")
    found = json.loads(out)
    assert code == 0
    assert {name: found[name] for name in ("events", "matching", "sent", "persons", "held", "open")} == {
        "events": 31, "matching": 31, "sent": 10, "persons": 10, "held": 0, "open": 0,
    }  # fmt: skip
    assert {row["reason"]: row["n"] for row in found["reasons"]} == {"cancelled": 10, "no_consent": 10, "capped": 1}
    assert sum(day["sent"] for day in found["days"]) == 10 and found["days"][-1]["day"] == "2026-11-13"
    code, out, _ = gtm("trigger", "backtest", "nudge", "--days", "5", "--json")
    assert json.loads(out)["sent"] == 5, "what was due before those days is in no figure"
    code, out, _ = gtm("trigger", "backtest", "nudge", "--days", "5", "--format", "csv")
    assert out.splitlines()[0] == "day,sent,persons,held,capped,no_consent,not_sent"
    renamed = read_past(load_settings(), {"began"}, aliases={"trial_started": "began"})
    assert sum(each.name == "began" for each in events_of(renamed)) == 31, "what landed before the plan renamed it"
