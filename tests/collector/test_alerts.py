"""POST /guards/FLAG/rollback: who may ask, what is taken for an alert, and what is answered. Nothing here acts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from collector_harness import Edge, Response

from gtm_dagster.collector.alerts import MAX_BODY_BYTES, REASON_LETTERS
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control.external_rollback import RequestResult, request_rollback
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.settings import Guard, Settings

GUARD = Guard("checkout-v2", "payment_completed")
PRICES = (Guard("pricing", "signup_completed"), Guard("pricing", "payment_completed"))
PATH = "/guards/checkout-v2/rollback"
ALERTMANAGER = {
    "version": "4",
    "status": "firing",
    "receiver": "rollback",
    "commonLabels": {"alertname": "CheckoutErrors", "severity": "page"},
    "commonAnnotations": {"summary": "5xx of checkout\n above 2 %", "runbook": "https://example.org"},
    "alerts": [{"status": "firing", "labels": {}, "annotations": {}}],
}


class Alerted:
    """A collector beside an ops store; `post` asks with the alerting key."""

    def __init__(self, edge: Edge, folder: Path) -> None:
        self.edge = edge
        self.settings = msgspec.structs.replace(Settings(), state_dir=folder, guards=(GUARD, *PRICES))
        self.app = edge.app_on(edge.log, ask_rollback=lambda *given: request_rollback(self.settings, *given))
        self.key = edge.keys.add("alertmanager", role="alerting")

    def post(self, body: Any = None, path: str = PATH, key: str | None = None, **headers: str) -> Response:
        given = {"Authorization": f"Bearer {key or self.key}"} | headers
        return self.edge.post({"reason": "support is flooded"} if body is None else body, path, given, self.app)

    def store(self) -> OpsStore:
        return OpsStore.of(self.settings)


@pytest.fixture
def alerted(edge: Edge, tmp_path: Path) -> Alerted:
    return Alerted(edge, tmp_path / "state")


def test_what_is_asked_is_stored_and_answered_with_its_episode(alerted: Alerted) -> None:
    answer = alerted.post(ALERTMANAGER)
    assert answer.status == 202
    assert answer.json() == {
        "outcome": "asked", "guard": GUARD.key, "episode": episode_id(GUARD.key, 0), "actor": "key alertmanager",
        "reason": "CheckoutErrors: 5xx of checkout above 2 %",
        "message": "the sensor conversion_guard starts its run: `gtm guard status` shows it",
    }  # fmt: skip
    with alerted.store() as store:
        request = store.rollback_request(GUARD.key, 0)
        assert (request.actor, request.reason, request.times) == (
            "key alertmanager", "CheckoutErrors: 5xx of checkout above 2 %", 1,
        )  # fmt: skip
        assert store.guard(GUARD.key).state == "DISARMED", "a run acts, not the collector"


def test_asked_again_it_is_one_request_with_the_first_reason(alerted: Alerted) -> None:
    episodes = {alerted.post({"reason": f"reason {n}"}).json()["episode"] for n in range(3)}
    assert len(episodes) == 1
    with alerted.store() as store:
        request = store.rollback_request(GUARD.key, 0)
    assert (request.reason, request.times) == ("reason 0", 3) and request.last_us >= request.asked_us


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("/guards/checkout-v3/rollback", 404, "unknown_guard", "did you mean checkout-v2?"),
        ("/guards/zzz/rollback", 404, "unknown_guard", "no guard of this flag is declared"),
        ("/guards/pricing/rollback", 400, "ambiguous_guard", "pricing:signup_completed:production, pricing:payment"),
        ("/guards/pricing:signup_completed:production/rollback", 202, None, ""),
        ("/guards/checkout-v2/rollback/", 202, None, ""),
        ("/guards//rollback", 404, "not_found", "/guards/{flag}/rollback"),
        ("/guards/rollback", 404, "not_found", ""),
        ("/guards/checkout-v2", 404, "not_found", ""),
    ],
)
def test_the_path_names_a_declared_guard(
    alerted: Alerted, path: str, status: int, code: str | None, words: str
) -> None:
    answer = alerted.post(path=path)
    assert (answer.status, answer.json().get("code")) == (status, code)
    assert words in answer.json()["message"]


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_write_key_turns_nothing_off(alerted: Alerted, role: str) -> None:
    answer = alerted.post(key=alerted.edge.keys.add("shop", role=role))
    assert (answer.status, answer.json()["code"]) == (403, "not_alerting")
    assert not (alerted.settings.state_dir / "ops.db").exists()


def test_nor_does_the_key_of_a_laptop_or_none(alerted: Alerted) -> None:
    assert alerted.post(key="dev").json()["code"] == "not_alerting"
    assert alerted.post(key="gtm_wrong").status == 401
    assert alerted.edge.post({"reason": "x"}, PATH, {}, alerted.app).status == 401


def test_an_alerting_key_sends_nothing_and_leaves_the_laptop_its_key(alerted: Alerted) -> None:
    key = {"X-Write-Key": alerted.key}
    event = {"event_id": "e1", "event_name": "page_viewed", "anonymous_id": "visitor"}
    for answer in (
        alerted.edge.post(event, headers=key),
        alerted.edge.post({"producer": "shop"}, "/heartbeat", headers=key),
        *(alerted.edge.ask("GET", path, [b""], key) for path in ("/metrics", "/plan")),
    ):
        assert (answer.status, answer.json()["code"]) == (403, "alerting_key")
    assert alerted.edge.records() == []
    assert alerted.edge.post(event).status == 200, "the key dev is good until there is another write key"


@pytest.mark.parametrize(
    ("body", "status", "answer", "why"),
    [
        ({"reason": "x", "status": "resolved"}, 200, "ignored", "Alertmanager says so when it is over"),
        ({"reason": "x", "status": "Recovered"}, 200, "ignored", "Datadog's word"),
        ({"reason": "x", "status": "No Data"}, 200, "ignored", "no data is not zero"),
        ({"reason": "x", "status": "Re-Triggered"}, 202, "asked", "Datadog's word"),
        ({"reason": "x", "status": "alerting"}, 202, "asked", "Grafana's word"),
        ({"reason": "x", "status": "odd"}, 400, "bad_status", "neither on nor over"),
        ({"commonAnnotations": {"description": "slow"}}, 202, "asked", "Grafana says it there"),
        ({"status": "firing"}, 400, "no_reason", "a reason is kept"),
        ({"reason": " \n\t"}, 400, "no_reason", "blanks are none"),
        ({"reason": 7}, 400, "unparseable", "a number is no text"),
        (["reason"], 400, "unparseable", "a list is no alert"),
        (b"", 400, "no_reason", "an empty body"),
        (b'{"reason": "\xff"}', 400, "unparseable", "not UTF-8"),
        (b"[" * 100_000, 400, "unparseable", "nesting without an end"),
        (b'{"reason": "' + b"x" * MAX_BODY_BYTES, 413, "body_too_large", "a body has a bound"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_an_alert_is(alerted: Alerted, body: Any, status: int, answer: str, why: str) -> None:
    given = alerted.post(body)
    assert given.status == status, (why, given.json())
    assert answer in (given.json().get("outcome"), given.json().get("code"))
    assert status == 202 or not (alerted.settings.state_dir / "ops.db").exists()


def test_a_reason_is_one_line_with_an_end(alerted: Alerted) -> None:
    reason = alerted.post({"reason": "a\x1b[31m\nb" + "c" * 2 * REASON_LETTERS}).json()["reason"]
    assert len(reason) == REASON_LETTERS and reason.startswith("a [31m bccc")


@pytest.mark.parametrize(
    ("state", "episode", "status", "code"),
    [
        ("ROLLING_BACK", "abc", 202, "under_way"),
        ("VERIFYING", "abc", 202, "under_way"),
        ("ROLLBACK_FAILED", "abc", 202, "under_way"),
        ("ROLLED_BACK", "abc", 409, "latched_guard"),
        ("GIVEN_UP", "abc", 409, "latched_guard"),
        ("SUPERSEDED", "abc", 409, "latched_guard"),
    ],
)
def test_what_is_under_way_is_not_begun_again_and_what_is_latched_stays(
    alerted: Alerted, state: str, episode: str, status: int, code: str
) -> None:
    with alerted.store() as store:
        store.ensure(GUARD.key, GUARD.flag, GUARD.conversion, GUARD.environment)
        store.move(GUARD.key, 0, state, actor="ana", reason="r", at_us=1, episode=episode)
    answer = alerted.post()
    assert (answer.status, answer.json().get("outcome") or answer.json()["code"]) == (status, code)
    assert episode in json.dumps(answer.json())
    with alerted.store() as store:
        assert store.rollback_request(GUARD.key, 0) is None


def test_a_store_that_is_away_is_asked_again_later(edge: Edge, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ops.db").write_bytes(b"no database" * 1000)
    answer = Alerted(edge, tmp_path / "state").post()
    assert (answer.status, answer.json()["code"]) == (503, "unavailable_guard") and int(answer.headers["retry-after"])


def test_without_an_ops_store_nothing_is_promised(edge: Edge) -> None:
    key = edge.keys.add("alertmanager", role="alerting")
    answer = edge.post({"reason": "x"}, PATH, {"X-Write-Key": key})
    assert (answer.status, answer.json()["code"]) == (501, "no_ops_store")


def test_requests_wait_in_a_bounded_queue(alerted: Alerted) -> None:
    import asyncio
    import threading

    from collector_harness import call

    go = threading.Event()

    def ask(*_: str) -> RequestResult:
        go.wait(10)
        return RequestResult("asked", "", GUARD.key, "e")

    async def many() -> list[Response]:
        app = alerted.edge.app_on(alerted.edge.log, ask_rollback=ask)
        headers = {"X-Write-Key": alerted.key}
        waiting = [asyncio.create_task(call(app, "POST", PATH, [b'{"reason":"x"}'], headers)) for _ in range(12)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result().status for task in done} == {503}
        go.set()
        return await asyncio.gather(*waiting)

    statuses = sorted(answer.status for answer in asyncio.run(many()))
    assert statuses == [202] * 8 + [503] * 4
