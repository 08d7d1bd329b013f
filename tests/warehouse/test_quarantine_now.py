"""The quarantine as it is now, and its replay."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import msgspec
import pytest
from warehouse_cases import DAY, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.admission.single_event import Judge
from gtm_dagster.importing import Mapping, import_file
from gtm_dagster.importing.mapping import TimeColumn
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import Plan, load_plan
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.quarantine_groups import Selection
from gtm_dagster.warehouse.quarantine_replay import ReplayResult, replay_quarantine
from gtm_dagster.warehouse.quarantined import quarantine_now
from gtm_dagster.warehouse.serving import QueryError
from gtm_dagster.warehouse.verify import verify
from gtm_dagster.warehouse.writer_lock import WarehouseLock

SEALER = Sealer(b"k" * 32)
RECEIVED = START + 30 * DAY


def refused(event_id: str | None, **sent: object) -> dict:
    """A quarantined row whose sealed original is an event as it was sent."""
    original = {"event_id": event_id, "event_name": "payment_completed", "timestamp": "2026-01-05T10:00:00Z", "user_id": "u",
                "properties": {"amount": 5, "currency": "EUR"}, **sent}  # fmt: skip
    columns = {"verdict": "quarantined", "reason_codes": "unknown_event", "errors": "[]", "raw": "{}", "event_us": None}
    sealed = SEALER.seal(msgspec.json.encode({name: value for name, value in original.items() if value is not None}))
    row = event(event_id or "", START, user_id=None, event_name="payment_completed")
    return {**row, **columns, "event_id": event_id, "sealed": sealed, "properties": None}


def replay(settings: Settings, plan: Plan = PLAN, **options: object) -> ReplayResult:
    judge = Judge(plan, Pseudonymizer(b"k" * 32), SEALER, 65_536, OFF)
    return replay_quarantine(settings, judge, SEALER, by="ann", **options)  # type: ignore[arg-type]


def ids(settings: Settings) -> list[str]:
    with quarantine_now(settings) as con:
        return [row[0] for row in con.execute("SELECT event_id FROM quarantine ORDER BY 1").fetchall()]


def test_it_has_staged_landed_and_no_withdrawn_rows(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with pytest.raises(QueryError, match="nothing has landed"), quarantine_now(settings):
        pass
    land(settings, [refused("a")], "import-a")
    assert ids(settings) == ["a"], "before the first refresh"
    refresh(settings)
    land(settings, [refused("b")], "import-b")
    assert ids(settings) == ["a", "b"]
    with WarehouseLock(settings.state_dir).hold("a run", 1):
        assert ids(settings) == ["a", "b"], "while a run writes"
    Landing(settings.landing_dir).withdraw("import-a", by="me", reason="wrong")
    assert ids(settings) == ["b"]
    refresh(settings)
    assert ids(settings) == ["b"]


def test_a_replay_lands_what_is_accepted_now_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    still, nameless = refused("c", event_name="nope"), refused(None)
    foreign = {**refused("e"), "sealed": Sealer(b"x" * 32).seal(b"{}")}
    land(settings, [refused("a"), still, nameless, {**refused("d"), "sealed": None}, foreign], "import-a")
    land(
        settings, [refused("b"), event("b", START, user_id="u")], "log-" + "a" * 16 + "-000000000000001-000000000000002"
    )
    refresh(settings)
    tried = replay(settings, dry_run=True)
    assert (tried.rows, tried.accepted, tried.known, tried.refused, tried.ended, tried.unopened) == (6, 2, 1, 1, 1, 1)
    assert tried.reasons == (("unknown_event", 1),)
    assert not Landing(settings.landing_dir).has(tried.name)
    assert replay(settings) == tried
    refresh(settings)
    found = rows_of(
        settings,
        "SELECT event_id, write_key, received_us FROM staging.events ORDER BY event_id <> 'a', event_id <> 'b'",
    )
    assert found[:2] == [("a", "w", RECEIVED), ("b", "w", RECEIVED)] and len(found) == 3
    again = replay(settings)
    assert (again.accepted, again.known, again.name) == (0, 3, "")
    assert verify(settings, PLAN).ok


@pytest.mark.parametrize(
    ("selection", "rows"),
    [(Selection(event_id="a"), 1), (Selection(reason="unknown_event"), 2), (Selection(reason="type"), 0)],
    ids=["one id", "one reason", "a reason that no row has"],
)
def test_a_replay_of_some_rows(tmp_path: Path, selection: Selection, rows: int) -> None:
    settings = settings_for(tmp_path)
    land(settings, [refused("a"), refused("b")], "import-a")
    assert replay(settings, selection=selection).rows == rows


def test_a_row_of_a_mapping_is_replayed_with_the_time_it_was_read_as(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    (tmp_path / "orders.csv").write_text("id,at,who\n1,05.01.2026 10:00,k\n")
    mapping = Mapping(
        columns={"event_id": "id", "user_id": "who"}, constants={"event_name": "Joined", "device_type": "api"},
        timestamp=TimeColumn("at", "%d.%m.%Y %H:%M", "Europe/Berlin"),
    )  # fmt: skip
    result = import_file(
        tmp_path / "orders.csv", landing=Landing(settings.landing_dir), plan=PLAN, pseudonymize=Pseudonymizer(b"k" * 32), sealer=SEALER,
        write_key="import", mapping=mapping, consent=OFF,
    )  # fmt: skip
    assert (result.quarantined, replay(settings, dry_run=True).accepted) == (1, 0)
    plan = tmp_path / "plan.yaml"
    packaged = resources.files("gtm_dagster.taxonomy").joinpath("plan.yaml").read_text()
    plan.write_text(packaged.replace("aliases:\n", "aliases:\n  Joined: signup_completed\n", 1))
    assert replay(settings, plan=load_plan(plan)).accepted == 1
    refresh(settings)
    assert rows_of(settings, "SELECT event_name, CAST(event_time AS VARCHAR) FROM staging.events") == [
        ("signup_completed", "2026-01-05 09:00:00")
    ]
