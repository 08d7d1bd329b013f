"""`gtm quarantine` as its users see it: groups, suggestions, a replay with corrections, and originals that are gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_cli import Gtm, gtm  # noqa: F401 - a fixture

from gtm_dagster.settings import load_settings

ID = "8f14e45f-ceea-467f-a8b2-0f8a2b1c0d0{n}"


@pytest.fixture
def rejected(gtm: Gtm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gtm:  # noqa: F811
    """Two payments of another name, one with a text for its amount; imported."""
    monkeypatch.setenv("GTM_PRIVACY__CONSENT", "off")
    events = [
        {"event_name": "Order Paid", "properties": {"amount": 10, "currency": "EUR"}},
        {"event_name": "Order Paid", "properties": {"amount": 12, "currency": "EUR"}},
        {"event_name": "payment_completed", "properties": {"amount": "12.50", "currency": "EUR"}},
    ]
    lines = [{"event_id": ID.format(n=n), "timestamp": "2026-03-02T10:00:00Z", "user_id": "u", **each} for n, each in enumerate(events)]  # fmt: skip
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert gtm("import", "events.ndjson").code == 0
    return gtm


def test_groups_are_listed_shown_and_replayed_as_suggested(rejected: Gtm, tmp_path: Path) -> None:
    paid, typed = rejected("quarantine", "list", "--json").document
    assert (paid["rows"], paid["last_7_days"], paid["week_before"], paid["reasons"]) == (
        2, 2, 0, [{"code": "unknown_event", "path": "event_name"}],
    )  # fmt: skip
    assert typed["replay"] == f"gtm quarantine replay {typed['group']} --cast amount=number --dry-run"
    listed = rejected("quarantine", "list", "--format", "table").out
    assert "2 rows" in listed and f"  {paid['replay']}\n" in listed
    assert "groups not shown: 1, rows in them: 1" in rejected("quarantine", "list", "--limit", "1").err
    shown = rejected("quarantine", "show", paid["group"], "--json").document
    assert (shown["originals"], [row["event_id"] for row in shown["newest"]]) == (2, [ID.format(n=0), ID.format(n=1)])
    assert "originals that can be replayed: 2 of 2" in rejected("quarantine", "show", paid["group"]).out

    options = (paid["group"], "--alias", "Order Paid=payment_completed", "--actor", "ann")
    tried = rejected("quarantine", "replay", *options, "--dry-run")
    assert "2 accepted: by the present plan" in tried.out and "nothing was written" in tried.out
    done = rejected("quarantine", "replay", *options, "--json").document
    assert (done["rows"], done["accepted"], done["by"]) == (2, 2, "ann")
    assert "2 known" in rejected("quarantine", "replay", *options).out
    batch, _ = rejected("imports", "list", "--json").document
    assert batch["replay"] == {
        "by": "ann", "selection": f"group {paid['group']}", "corrections": ["alias Order Paid=payment_completed"],
        "plan_version": shown["plan_versions"][0],
    }  # fmt: skip
    assert "Order Paid: 2 rows, 2 accepted since" in rejected("quarantine", "list", "--format", "table").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "nope"], 1, "nope: no group and no rejected event of this id"),
        (["replay", "nope"], 1, "nope: no group of this id; see `gtm quarantine list`"),
        (["replay", "--reason", "typ"], 0, "no rejected row has the reason typ; did you mean type?"),
        (["replay", "--event", "nope"], 0, "no rejected row: event name nope"),
        (["replay", "--cast", "amount=float"], 2, "float is not a type"),
        (["replay", "--alias", "a=nope"], 2, "nope is not an event of plan"),
        (["replay", "--actor", " "], 2, "--actor: say who asks"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said(rejected: Gtm, arguments: list[str], code: int, words: str) -> None:
    answer = rejected("quarantine", *arguments)
    assert (answer.code, words in answer.err) == (code, True), answer.err


def test_originals_that_are_gone_or_cannot_be_opened_are_explained(rejected: Gtm, tmp_path: Path) -> None:
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path / "state")})
    keys = settings.keys_dir
    keys.rename(tmp_path / "saved")
    missing = rejected("quarantine", "replay", "--dry-run")
    assert missing.code == 1 and "the key of this deployment is not there" in missing.err and not keys.exists()
    (tmp_path / "saved").rename(keys)
    for path in keys.glob("pseudonym*"):
        path.write_text("ab" * 32 + "\n")
    other = rejected("quarantine", "replay")
    assert "3 unopened: sealed under another key" in other.out and "nothing lands" in other.out
    shutil.rmtree(settings.landing_dir / "sealed")
    assert "3 unsealed: no original was kept" in rejected("quarantine", "replay").out
