"""Groups of the quarantine, what is suggested for each, and a replay from the wrong event to the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from test_quarantine_now import refused, replay
from warehouse_cases import DAY, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import Plan, load_plan
from gtm_dagster.warehouse.corrections import Corrections
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.quarantine_groups import QuarantineGroup, Selection, group_of, groups, masked_values
from gtm_dagster.warehouse.quarantine_suggestions import replay_command, suggestions
from gtm_dagster.warehouse.quarantined import quarantine_now
from gtm_dagster.warehouse.verify import verify

NOW = START + 60 * DAY


def row(event_id: str, *errors: tuple[str, str], **columns: object) -> dict:
    """A quarantined row with these (code, path) as its reasons."""
    documents = [{"path": path, "code": code, "message": "m"} for code, path in errors]
    codes = ",".join(dict.fromkeys(code for code, _ in errors)) or "unknown_event"
    return {**refused(event_id), "errors": json.dumps(documents), "reason_codes": codes, **columns}


def group(name: str | None, shape: str) -> QuarantineGroup:
    return QuarantineGroup(name, shape, 2, 0, 1, 1, 1, 2, "e", ("w",), ("1-0-0",))


def test_rows_of_one_event_reasons_and_fields_are_a_group(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    amount, currency = ("type", "properties.amount"), ("pattern", "properties.currency")
    land(
        settings,
        [
            row("a", amount, currency, received_us=NOW - 1),
            row("b", currency, amount, received_us=NOW - 7 * DAY),
            row("c", amount, received_us=NOW - 14 * DAY + 1),
            row("d", amount, event_name="signup_completed", received_us=NOW + DAY),
            row("e", errors="not JSON", reason_codes="odd", received_us=NOW),
            event("d", START, user_id="u"),
        ],
        "import-a",
    )
    for staged in (False, True):
        if staged:
            refresh(settings)
        with quarantine_now(settings, accepted=True) as con:
            found = groups(con, NOW)
            some = groups(con, NOW, "pattern")
        figures = [(each.event_name, each.shape, each.rows, each.accepted_since, each.last_7_days, each.week_before, each.example_id) for each in found]  # fmt: skip
        assert figures == [
            ("payment_completed", "pattern properties.currency, type properties.amount", 2, 0, 1, 1, "a"),
            ("payment_completed", "odd", 1, 0, 1, 0, "e"),
            ("payment_completed", "type properties.amount", 1, 0, 0, 1, "c"),
            ("signup_completed", "type properties.amount", 1, 1, 0, 0, "d"),
        ], "the order of the reasons does not matter; what is accepted by now comes last"
        assert [each.id for each in some] == [found[0].id] and len({each.id for each in found}) == 4
    assert replay(settings, selection=Selection(group=found[0].id)).rows == 2
    assert replay(settings, selection=Selection(group=found[2].id, reason="pattern")).rows == 0
    assert replay(settings, selection=Selection(event_name="signup_completed")).rows == 1
    assert replay(settings, selection=Selection(group="00000000")).rows == 0


UNKNOWN = "unknown_event event_name"
NUMBER = "type properties.amount"


@pytest.mark.parametrize(
    ("name", "shape", "values", "kinds", "options"),
    [
        ("payment_complete", UNKNOWN, None, ["alias"], " --alias payment_complete=payment_completed"),
        ("zebra", UNKNOWN, None, ["declare"], ""),
        ("<masked>", UNKNOWN, None, ["declare"], ""),
        (None, UNKNOWN, None, ["declare"], ""),
        ("page_viewed", UNKNOWN, None, ["replay"], ""),
        ("payment_completed", "missing_property properties.amount, unknown_property properties.amonut", None, ["rename"], " --rename amonut=amount"),
        ("payment_completed", "unknown_property properties.zzz", None, ["declare"], ""),
        ("payment_completed", "unknown_property properties.<masked>", None, ["declare"], ""),
        ("payment_completed", "unknown_property properties.amount", None, ["replay"], ""),
        ("payment_completed", NUMBER, ["12.50", "3"], ["cast"], " --cast amount=number"),
        ("payment_completed", NUMBER, ["12.50", "12,50"], ["sender"], ""),
        ("payment_completed", NUMBER, ["<string:4>"], ["sender"], ""),
        ("payment_completed", NUMBER, ["1", "<number>"], ["cast"], " --cast amount=number"),
        ("payment_completed", NUMBER, None, ["sender"], ""),
        ("payment_completed", "type properties.currency", [978, "<integer>"], ["cast"], " --cast currency=string"),
        ("payment_completed", "unknown_field userId", None, ["rename"], " --rename event.userId=event.user_id"),
        ("payment_completed", "unknown_field utm_source", None, ["rename"], " --rename event.utm_source=context.utm_source"),
        ("payment_completed", "unknown_field context.url", None, ["rename"], " --rename context.url=context.page_url"),
        ("payment_completed", "unknown_field qqqqq", None, ["sender"], ""),
        ("payment_completed", "missing_identity user_id, pattern properties.currency", None, ["sender"], ""),
        ("zebra", "invalid_json", None, ["sender"], ""),
    ],
    ids=[
        "a near name", "no near name", "a name that is not kept", "no name", "the plan has the name now",
        "a near property, which is what is missing", "no near property", "a property whose name is not kept",
        "the plan has the property now", "every value parses", "one has a comma", "one is hidden", "a hidden number is one",
        "no value is known", "whole numbers for a text", "another spelling of a field", "a field of the context",
        "another name in the context", "nothing near", "one for all that the sender corrects", "no field",
    ],
)  # fmt: skip
def test_what_is_suggested(name: str | None, shape: str, values: list | None, kinds: list[str], options: str) -> None:
    found = suggestions(PLAN, group(name, shape), lambda _: values)
    assert [each.kind for each in found] == kinds
    assert replay_command(group(name, shape), found) == (
        f"gtm quarantine replay {group(name, shape).id}{options} --dry-run"
    )


def test_the_values_of_a_group_are_those_of_all_its_rows(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    amount = ("type", "properties.amount")
    rows = [row(f"e{n}", amount, raw=json.dumps({"properties": {"amount": str(n % 3)}})) for n in range(9)]
    land(settings, [*rows, row("other", amount, raw='{"properties": {"amount": "x"}}', event_name="other")], "import-a")
    with quarantine_now(settings) as con:
        [found, *_] = groups(con, NOW)
        assert sorted(masked_values(con, found, "properties.amount") or []) == ["0", "1", "2"]
        assert masked_values(con, found, "properties.other") is None


def aliased(folder: Path) -> Plan:
    text = resources.files("gtm_dagster.taxonomy").joinpath("plan.yaml").read_text()
    (folder / "plan.yaml").write_text(text.replace("aliases:\n", "aliases:\n  Order Paid: payment_completed\n", 1))
    return load_plan(folder / "plan.yaml")


def test_a_corrected_replay_lands_once_whatever_the_correction(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    properties = {"amount": "5", "currency": "EUR"}
    nameless, twice = refused(None, properties=properties), refused("t", properties=properties)
    land(settings, [nameless, twice, {**twice, "received_us": START + 29 * DAY}], "import-a")
    assert replay(settings).refused == 3
    cast = Corrections(casts=(("amount", "number"),))
    done = replay(settings, corrections=cast, selection=Selection(reason="unknown_event"))
    assert (done.rows, done.accepted, done.known) == (3, 2, 1), "two copies of one event"
    whole = Corrections(casts=(("amount", "integer"),))
    assert (replay(settings, corrections=whole).known, replay(settings, corrections=whole).name) == (3, "")
    [notes] = [each.notes for each in Landing(settings.landing_dir).imports() if each.name == done.name]
    assert notes and notes.replay and (notes.replay.by, notes.replay.selection, notes.replay.corrections) == (
        "ann", "reason unknown_event", ["cast amount=number"],
    )  # fmt: skip
    refresh(settings)
    amounts = rows_of(
        settings, "SELECT json_extract(properties, '$.amount')::DOUBLE, received_us FROM staging.events ORDER BY 2"
    )
    assert amounts == [(5.0, START + 29 * DAY), (5.0, START + 30 * DAY)], "the copy received first"


_KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from test_quarantine_groups import aliased
from test_quarantine_now import replay
from warehouse_cases import settings_for

source, into = map(Path, sys.argv[1:])
plan = aliased(into)
calls = 0
def counted(change):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*arguments, **options)
    return call

for last in range(1, 1000):
    folder = into / str(last)
    shutil.copytree(source, folder)
    if (child := os.fork()) == 0:
        os.replace, os.fsync = counted(os.replace), counted(os.fsync)
        Path.unlink, Path.replace, Path.rename = counted(Path.unlink), counted(Path.replace), counted(Path.rename)
        replay(settings_for(folder), plan=plan)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(last)
"""


def with_wrong_events(folder: Path) -> Settings:
    """Two events of a name that the plan lacks, one that is wrong by any name, and a good one; staged."""
    settings = settings_for(folder)
    wrong = [
        {**refused(f"w{n}", event_name="Order Paid"), "event_name": "Order Paid", "received_us": START + (20 + n) * DAY}
        for n in range(2)
    ]
    broken = refused("still", event_name="Order Paid", properties={})
    land(settings, [*wrong, broken, event("good", START, user_id="u")], "import-a")
    refresh(settings)
    return settings


def test_wrong_events_an_alias_and_a_replay_give_tables_and_books(tmp_path: Path) -> None:
    settings = with_wrong_events(tmp_path)
    plan = aliased(tmp_path)
    done = replay(settings, plan=plan)
    assert (done.accepted, done.refused, done.reasons) == (2, 1, (("missing_property", 1),))
    with quarantine_now(settings, accepted=True) as con:
        assert sum(each.accepted_since for each in groups(con, NOW)) == 2, "landed, not staged yet"
    for _ in ("first", "again"):
        refresh(settings, plan=plan)  # checks the books of every day
        events = rows_of(settings, "SELECT event_id, event_name, received_us FROM staging.events WHERE event_id <> 'good' ORDER BY 1")  # fmt: skip
        assert events == [(f"w{n}", "payment_completed", START + (20 + n) * DAY) for n in range(2)]
        [books] = rows_of(settings, "SELECT sum(raw), sum(clean), sum(duplicates), sum(quarantined) FROM staging.books")
        assert books == (6, 3, 0, 3)
        assert replay(settings, plan=plan).name == ""
    with quarantine_now(settings, accepted=True) as con:
        assert [(each.rows, each.accepted_since) for each in groups(con, NOW)] == [(1, 0), (2, 2)]
        assert group_of(con, "00000000", NOW) is None


def test_rows_long_before_the_newest_are_not_looked_up_and_come_last(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(
        settings,
        [
            row("late", ("type", "properties.x"), received_us=NOW),
            *(row(f"old{n}", ("type", "properties.y"), received_us=NOW - 91 * DAY) for n in range(3)),
            *(event(each, START, user_id="u", received_us=NOW) for each in ("late", "old0")),
        ],
        "import-a",
    )
    refresh(settings)
    with quarantine_now(settings, accepted=True) as con:
        assert [(each.rows, each.accepted_since) for each in groups(con, NOW)] == [(3, 0), (1, 1)]
        con.execute("DELETE FROM accepted_since")
        assert [each.rows for each in groups(con, NOW)] == [1, 3], "what a replay could still land comes first"


@pytest.mark.slow
def test_a_replay_killed_at_any_step_lands_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with_wrong_events(source)
    plan = aliased(tmp_path)
    (into := tmp_path / "copies").mkdir()
    run = [sys.executable, "-c", _KILLED, str(source), str(into)]
    tests = str(Path(__file__).parent)
    done = subprocess.run(
        run, check=True, capture_output=True, text=True, env={"PYTHONPATH": f"{tests}:{':'.join(sys.path)}"}
    )
    steps = int(done.stdout)
    assert steps > 5
    for folder in (into / str(n) for n in range(1, steps + 1)):
        settings = settings_for(folder)
        replay(settings, plan=plan)
        assert sum(file.footer_rows() for file in Landing(settings.landing_dir).files()) == 6, folder
        again = replay(settings, plan=plan)
        assert (again.accepted, again.known, again.refused) == (0, 2, 1), folder
    refresh(settings, plan=plan)
    assert verify(settings, plan).ok
