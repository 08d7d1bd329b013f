"""What became of an event: said at every stage it can be in, by what lies there, and by `gtm event` and HTTP alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from collector_harness import KEY, Edge
from warehouse_cases import PLAN, event, land, refresh, settings_for

from gtm_dagster.cli import run
from gtm_dagster.reports.event_trace import EventTrace, trace_event
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.landing.from_log import land_log
from gtm_dagster.warehouse.last_refresh import write_last_refresh

PAID = {
    "event_id": "order-1", "event_name": "payment_completed", "user_id": "ann", "anonymous_id": "v1",
    "timestamp": "2026-03-01T10:05:00Z", "properties": {"amount": 10, "currency": "EUR", "payment_id": "p1"},
}  # fmt: skip
VIEWED = {
    "event_id": "view-1", "event_name": "page_viewed", "anonymous_id": "v1", "timestamp": "2026-03-01T10:00:00Z",
    "context": {"page_url": "https://shop.example/?utm_source=news&utm_medium=email"},
}  # fmt: skip
UNKNOWN = {"event_id": "order-2", "event_name": "nope", "user_id": "ann"}


class Deployment:
    """A collector's app on the state directory of a warehouse."""

    def __init__(self, folder: Path) -> None:
        self.settings: Settings = settings_for(folder)
        self.edge = Edge(folder)
        self.app = self.edge.app_on(self.edge.log, trace=self._asked)

    def _asked(self, write_key: str, event_id: str) -> bytes | None:
        found = trace_event(self.settings, [write_key], event_id)
        return None if found is None else msgspec.json.encode(found)

    def trace(self, event_id: str, **options: Any) -> EventTrace | None:
        return trace_event(self.settings, ["dev"], event_id, **options)

    def traced(self, event_id: str, **options: Any) -> EventTrace:
        found = self.trace(event_id, **options)
        assert found is not None
        return found

    def refresh(self) -> None:
        land_log(BuildContext(self.settings, PLAN, False))
        refresh(self.settings)
        with opened(self.settings.warehouse_path, self.settings) as con:
            write_last_refresh(con, self.settings, 1.0)


@pytest.fixture
def deployment(tmp_path: Path):
    made = Deployment(tmp_path)
    yield made
    made.edge.log.close()


def test_an_event_is_followed_from_its_receipt_to_its_credit(deployment: Deployment) -> None:
    answer = deployment.edge.post([VIEWED, PAID, UNKNOWN, PAID], headers={"X-Write-Key": "dev", "User-Agent": "analytics-python/2.4.0"})  # fmt: skip
    receipts = [(each["status"], each["offset"], each["plan_version"]) for each in answer.json()["results"]]
    version = load_plan().version
    assert receipts == [
        ("accepted", "1", version), ("accepted", "2", version), ("quarantined", "3", version), ("duplicate", "2", version),
    ]  # fmt: skip

    taken = deployment.traced("order-1")
    assert (taken.verdict, taken.offset, taken.plan_version, taken.sent_with) == ("accepted", 2, version, "native analytics-python/2.4.0")  # fmt: skip
    assert not taken.staged and "not landed" in str(taken.not_staged) and taken.landed_file is None

    land_log(BuildContext(deployment.settings, PLAN, False))
    landed = deployment.traced("order-1")
    assert landed.landed_file is not None and (deployment.settings.landing_dir / landed.landed_file).is_file()
    assert not landed.staged and "nothing is published" in str(landed.not_staged)

    deployment.refresh()
    paid, viewed, refused = (deployment.traced(name) for name in ("order-1", "view-1", "order-2"))
    assert paid.staged and paid.session is None and "not a visit" in str(paid.no_session)
    assert paid.conversion is not None and (paid.conversion["value"], paid.conversion["currency"]) == (10.0, "EUR")
    assert {row["channel"] for row in paid.credit} == {"Email"}
    assert viewed.session is not None and (viewed.session["source"], viewed.session["channel"]) == ("news", "Email")
    assert {row["session_key"] for row in paid.credit} == {viewed.session["session_key"]}
    assert viewed.conversion is None and viewed.credit == []
    assert (refused.verdict, refused.staged, refused.original_kept) == ("quarantined", False, True)
    assert [error["code"] for error in refused.errors] == ["unknown_event"]

    deployment.edge.post(PAID | {"event_id": "order-3"})
    assert "not landed" in str(deployment.traced("order-3").not_staged)
    land_log(BuildContext(deployment.settings, PLAN, False))
    assert "since the last refresh" in str(deployment.traced("order-3").not_staged)


def test_a_refused_event_that_was_sent_again_is_the_accepted_one_with_the_refused_beside_it(
    deployment: Deployment,
) -> None:
    bad = PAID | {"properties": {"amount": -1, "currency": "EUR"}}
    deployment.edge.post(bad)
    deployment.edge.post([bad, PAID])
    found = deployment.traced("order-1")
    assert (found.verdict, found.offset) == ("accepted", 3)
    assert [(copy["verdict"], copy["offset"]) for copy in found.other_copies] == [
        ("quarantined", 2),
        ("quarantined", 1),
    ]
    assert {error["code"] for copy in found.other_copies for error in copy["errors"]} == {"minimum"}


def test_over_http_a_key_sees_its_own_events_alone(deployment: Deployment) -> None:
    edge, app = deployment.edge, deployment.app
    secrets = {name: edge.keys.add(name, role=role) for name, role in (("shop", "server"), ("app", "server"), ("web", "client"))}  # fmt: skip
    edge.post(PAID, headers={"X-Write-Key": secrets["shop"]})
    edge.post(UNKNOWN, headers={"X-Write-Key": secrets["shop"]})

    def ask(path: str, key: str | None) -> tuple[int, dict[str, Any]]:
        answer = edge.ask("GET", path, [b""], {} if key is None else {"X-Write-Key": secrets[key]}, app)
        return answer.status, answer.json()

    status, found = ask("/events/order-1", "shop")
    assert (status, found["verdict"], found["write_key"]) == (200, "accepted", "shop")
    assert ask("/events/order-2", "shop")[1]["verdict"] == "quarantined"
    for path, key, status, code in (
        ("/events/order-1", "app", 404, "unknown_event"),
        ("/events/order-2", "app", 404, "unknown_event"),
        ("/events/order-9", "shop", 404, "unknown_event"),
        ("/events/" + "x" * 129, "shop", 404, "unknown_event"),
        ("/events/order-1", "web", 403, "client_key"),
        ("/events/order-1", None, 401, "no_key"),
    ):
        answered, body = ask(path, key)
        assert (answered, body["code"]) == (status, code), path
    assert ask("/events/order-1", "app")[1] == ask("/events/order-9", "app")[1], (
        "another key's event looks as an unknown one"
    )
    without = edge.app_on(edge.log)
    assert edge.ask("GET", "/events/order-1", [b""], {"X-Write-Key": secrets["shop"]}, without).status == 501


def test_an_event_without_consent_leaves_nothing_to_find(tmp_path: Path) -> None:
    from gtm_dagster.privacy.consent import REQUIRED

    deployment = Deployment(tmp_path)
    app = deployment.edge.app_on(deployment.edge.log, consent=REQUIRED)
    assert deployment.edge.post(VIEWED, app=app).json()["suppressed"] == 1
    assert deployment.trace("view-1") is None
    deployment.edge.log.close()


def test_the_command_finds_what_left_the_log_and_what_was_imported(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, edge = deployment.settings, deployment.edge
    land(settings, [event("old-1", 1_767_225_600_000_000, write_key="crm", anonymous_id="a" * 32)], "import-old")
    edge.post([VIEWED, PAID | {"event_id": "Ann Lee's order"}])
    deployment.refresh()
    edge.log.commit("loader", edge.log.last_seq())
    assert edge.log.trim("2027-01-01") == 2
    monkeypatch.setenv("GTM_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("GTM_PRIVACY__PSEUDONYM_KEY", KEY.decode())
    monkeypatch.setenv("COLUMNS", "80")

    def gtm(*arguments: str) -> tuple[int, str]:
        code = run(["event", *arguments])
        return code, capsys.readouterr().out

    assert json.loads(gtm("old-1", "--json")[1])["write_key"] == "crm"
    assert json.loads(gtm("view-1", "--json")[1])["offset"] == 1
    found = json.loads(gtm("Ann Lee's order", "--json")[1])
    assert (found["verdict"], found["staged"], found["sent_id"]) == ("accepted", True, "Ann Lee's order")
    assert found["conversion"]["value"] == 10.0
    _, drawn = gtm(found["event_id"])
    assert "published" in drawn and "payment_completed 10.0 EUR" in drawn
    assert max(map(len, drawn.splitlines())) <= 80
    assert gtm("order-9") == (1, "")
    assert gtm("view-1", "--write-key", "crm") == (1, "")
