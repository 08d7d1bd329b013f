"""`gtm guard status` names what a person has to look at, and its exit code says whether there is anything."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gtm_dagster.cli import run
from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore import OpsStore, ProducerRow, UnitRow
from gtm_dagster.opsstore.guard_records import STEP_US
from gtm_dagster.rollout.providers.flagd import set_split

KEY = "checkout-v2:payment_completed:production"


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs it in a deployment with one guard: exit code, the document, and what a person is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path))
    (tmp_path / "gtm.toml").write_text('[[guards]]\nflag = "checkout-v2"\nconversion = "payment_completed"\n')

    def call() -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        code = run(["guard", "status", "--json"])
        document = json.loads(capsys.readouterr().out)
        assert run(["guard", "status"]) == code
        return code, document, "".join(capsys.readouterr())

    return call


def arm() -> None:
    assert run(["guard", "rearm", "checkout-v2", "--reason", "rollout begins", "--actor", "ann"]) == 0


def flag(folder: Path, share: float) -> None:
    set_split(folder / "flags.json", "checkout-v2", share)


def test_a_declared_guard_that_nobody_armed_while_its_flag_is_on_is_a_problem(status, tmp_path):
    assert status()[0] == 0, "no flag file: nothing is on"
    flag(tmp_path, 0.5)
    code, document, shown = status()
    assert code == 1 and not document["ok"]
    assert "checkout-v2 is on at flagd" in document["guards"][0]["problem"]
    assert "PROBLEM checkout-v2 is on at flagd" in shown and "gtm guard rearm checkout-v2" in shown


def test_a_store_that_was_lost_is_a_problem_while_the_flag_is_on(status, tmp_path):
    flag(tmp_path, 0.5)
    arm()
    assert status()[1]["guards"][0]["problem"] is None, "armed"
    for part in tmp_path.glob("ops.db*"):
        part.unlink()
    OpsStore(f"sqlite:///{tmp_path / 'ops.db'}").close()
    code, _, shown = status()
    assert code == 1 and "look for another ops.db than this one" in shown


def test_a_flag_that_the_kill_list_holds_off_is_none(status, tmp_path):
    flag(tmp_path, 0.5)
    kill_list.add(tmp_path / "killed.json", "checkout-v2", "by hand", datetime.now(UTC))
    assert status()[0] == 0


@pytest.mark.parametrize(("hours_ago", "code"), [(1, 1), (48, 0)], ids=["within a day", "days ago"])
def test_messages_that_were_given_up_are_listed(status, tmp_path, hours_ago, code):
    at_us = time.time_ns() // 1000 - hours_ago * 3_600_000_000
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store:
        store.enqueue("e1:blind:webhook[0]", "e1", "webhook[0]", "{}", at_us)
        store.failed("e1:blind:webhook[0]", "answered 500", None)
    found, document, shown = status()
    assert found == code
    (line,) = document["messages_given_up"]
    assert line in shown and "webhook[0]: 1 message(s) given up, the last after 1 attempts (answered 500)" in line


def test_records_of_client_keys_that_were_left_out_are_shown(status, tmp_path):
    flag(tmp_path, 0.5)
    arm()
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store, store.transaction() as con:
        store.add_left_out(con, KEY, 1, 1640)
    _, document, shown = status()
    assert document["guards"][0]["client_key_records_left_out"] == 1640
    assert "1,640 records of client keys left out; write_keys names those it believes" in shown


def test_gd_18_an_edited_rule_is_shown_and_waits_for_the_next_arming(status, tmp_path):
    flag(tmp_path, 0.5)
    arm()
    before, document, _ = status()
    assert document["guards"][0]["rule_differs"] == {}
    with (tmp_path / "gtm.toml").open("a") as settings:
        settings.write("threshold = 0.05\nhold_minutes = 1\n")
    code, document, shown = status()
    differs = document["guards"][0]["rule_differs"]
    assert code == before and differs["threshold"] == {"armed": 0.15, "declared": 0.05}
    assert differs["hold_minutes"] == {"armed": 5, "declared": 1}
    (line,) = [line for line in shown.splitlines() if "gtm.toml has another rule since epoch 1 was armed" in line]
    assert "hold_minutes 5 is now 1" in line and "threshold 0.15 is now 0.05" in line
    assert line.endswith("re-arm to take it: `gtm guard rearm checkout-v2 --reason ...`")
    arm()
    assert status()[1]["guards"][0]["rule_differs"] == {}


def test_gd_10_gd_13_gd_14_what_a_guard_does_not_see_is_shown(status, tmp_path):
    now_us = time.time_ns() // 1000
    flag(tmp_path, 0.5)
    arm()
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store, store.transaction() as con:
        began = store.guard(KEY).epoch_since_us
        step = began // STEP_US + 1
        numbers = {"conversions": 720, "matched": 3, "refused conversions/unknown_property": 9, "from/web": 1}
        store.add_records(con, KEY, {(step, name): n for name, n in numbers.items()})
        store.put_units(con, KEY, [UnitRow("ana", 1, "treatment", began + 9, None)])
        store.add_conversions(con, KEY, [("ana", began + 1)])
        store.set_producers(
            con,
            [
                ProducerRow("collector", now_us, now_us),
                ProducerRow("web-1", now_us - 9, now_us - 900_000_000, "web", 90_000_000),
            ],
        )
    _, document, shown = status()
    guard = document["guards"][0]
    assert (guard["conversions_seen"], guard["conversions_of_exposed_units"]) == (720, 3)
    assert guard["conversions_refused"] == {"unknown_property": 9}
    assert guard["converted_before_exposure"] == {"control": 0, "treatment": 1}
    assert [each["producer"] for each in guard["vanished_producers"]] == ["web-1"]
    assert guard["clock_skew_seconds"] == {"web-1": 90.0}
    for words in (
        "9 payment_completed refused (unknown_property 9)",
        "web-1 is silent since",
        "before their exposure: treatment 1",
    ):
        assert words in shown


def test_gd_10_forget_by_command(status, tmp_path, capsys):
    assert run(["guard", "forget", "web-1"]) == 2 and "gtm stream" in capsys.readouterr().err
    flag(tmp_path, 0.5)
    arm()
    now_us = time.time_ns() // 1000
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store, store.transaction() as con:
        store.set_producers(con, [ProducerRow(name, now_us, now_us - 200_000_000) for name in ("web-1", "web-2")])
    assert run(["guard", "forget", "web-3"]) == 2 and "known: web-1, web-2" in capsys.readouterr().err
    assert run(["guard", "forget", "web-1", "--actor", "ann", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["guards"] == [KEY]
    assert status()[1]["guards"][0]["missing_producers"] == ["web-2"]


def test_the_clock_of_each_producer_is_said(status, tmp_path):
    flag(tmp_path, 0.5)
    arm()
    now_us = time.time_ns() // 1000
    skews = {"shop": 3_600_000_000, "app": -45_000_000, "jobs": 300_000, "collector": None}
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store, store.transaction() as con:
        store.set_producers(con, [ProducerRow(name, now_us, now_us, "", skew) for name, skew in skews.items()])
    _, document, shown = status()
    assert "clocks: shop 60 min behind, app 45 s ahead, jobs right to a second" in shown
    assert document["guards"][0]["clock_skew_seconds"] == {"shop": 3600.0, "app": -45.0, "jobs": 0.3}
