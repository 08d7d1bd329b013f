"""GD-07 to GD-09: who has a client key, which ships in every page, neither forces, nor blocks, nor blinds a rollback.

The attack goes the whole way: collector, log, stream worker, sensor, run.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import pytest
from acting_cases import GUARD, MINUTE, settings_for
from collector_harness import Edge
from guard_deployment import Deployment, later, served_new

from gtm_dagster.cli import run
from gtm_dagster.rollout.control.arming import rearm
from gtm_dagster.rollout.control.external_rollback import request_rollback
from gtm_dagster.rollout.control.guard_context import GuardContext
from gtm_dagster.rollout.control.harm_pages import HARM
from gtm_dagster.rollout.providers.flagd import Flagd, set_split
from gtm_dagster.settings import DRILL_FLAG, DRILL_REASON, GuardMetric
from gtm_dagster.stream import GuardReducer, Worker

pytestmark = pytest.mark.slow

UNITS, FORGED = 1600, 600
WATCHED = msgspec.structs.replace(
    GUARD,
    conversion_window_minutes=10,
    metrics=(GuardMetric("errors", "error", "subscription_cancelled"),),
)
_ids = count(1)


class Victim:
    """A deployment in this process whose guard has been armed for an hour, and two keys: a server's and a client's."""

    def __init__(self, folder: Any, instance: Any, store: Any) -> None:
        self.settings, self.store = settings_for(folder, WATCHED), store
        self.edge = Edge(folder)
        self.app = self.edge.app_on(
            self.edge.log,
            ask_rollback=lambda *given: request_rollback(self.settings, *given),
            max_body_bytes=50_000_000,
        )
        self.server = self.edge.keys.add("shop")
        self.client = self.edge.keys.add("web", role="client")
        self.now_us = time.time_ns() // 1000
        self.start_us = self.now_us - 70 * MINUTE
        set_split(self.settings.flags_path, WATCHED.flag, 0.5)
        context = GuardContext(store, self.settings, WATCHED, Flagd(self.settings.flags_path))
        rearm(context, "ana", "release 12", since_us=self.start_us)
        self.worker = Worker(self.edge.log, store, [GuardReducer(store, self.settings.watched)])
        self.dagster = Deployment(self.settings, instance)

    def send(self, key: str, events: list[dict[str, Any]]) -> list[str]:
        """Verdicts, in their order."""
        verdicts = []
        for first in range(0, len(events), 2000):
            body = json.dumps(events[first : first + 2000]).encode()
            answer = self.edge.post(body, headers={"X-Write-Key": key}, app=self.app)
            verdicts += [each["status"] for each in answer.json()["results"]]
        return verdicts

    def post(self, key: str, path: str, body: dict[str, Any]) -> int:
        return self.edge.post(body, path, {"X-Write-Key": key, "Authorization": f"Bearer {key}"}, self.app).status

    def beat(self) -> None:
        """The heartbeats of who serves the guard: the collector's own, and the shop's."""
        assert self.post(self.server, "/heartbeat", {"producer": "shop"}) == 200

        async def once() -> None:
            beating = asyncio.create_task(self.app.keep_beating())
            await asyncio.sleep(0)
            while not any(each.producer == "collector" for each in self.edge.log.heartbeats()):
                await asyncio.sleep(0.001)
            beating.cancel()

        asyncio.run(once())

    def status(self, capsys: Any) -> dict[str, Any]:
        capsys.readouterr()
        run(["guard", "status", "--json"])
        return json.loads(capsys.readouterr().out)["guards"][0]


def event(name: str, at_us: int, unit: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    moment = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
    return {
        "event_id": f"a{next(_ids)}",
        "event_name": name,
        "timestamp": moment,
        "user_id": unit,
        "properties": properties,
    } | more


def shown(at_us: int, unit: str, arm: str, flag: str = WATCHED.flag, **more: Any) -> dict[str, Any]:
    split = {"flag": flag, "variant": arm, "served": arm, "reason": "SPLIT"}
    return event("flag_exposed", at_us, unit, split | more)


def paid(at_us: int, unit: str, **more: Any) -> dict[str, Any]:
    return event("payment_completed", at_us, unit, {"amount": 10, "currency": "EUR"} | more)


def visits(start_us: int, treated_rate: float) -> list[dict[str, Any]]:
    """An hour of visitors in both arms in turn; every third of the control pays, of the treated arm a share of that."""
    events = []
    for n in range(UNITS):
        arm, at_us = ("control", "treatment")[n % 2], start_us + n * 60 * MINUTE // UNITS
        events.append(shown(at_us, f"u{n}", arm))
        if n // 2 % 3 == 0 and (n % 2 == 0 or n // 6 % 10 < 10 * treated_rate):
            events.append(paid(at_us + MINUTE, f"u{n}"))
    return events


def forged(start_us: int) -> list[dict[str, Any]]:
    """What counts, or holds a guard, where it comes from a server."""
    events = []
    for n in range(FORGED):
        at_us = start_us + n * 60 * MINUTE // FORGED
        unit, treated = f"u{n % UNITS}", f"u{n % UNITS | 1}"
        events += [
            shown(at_us, f"x{n}", "treatment"),  # visitors who never pay
            shown(start_us, unit, "treatment"),  # the arm of another's visitor, at an earlier time
            paid(at_us + MINUTE, f"u{n % UNITS & ~1}"),  # the whole control pays
            paid(at_us + MINUTE, treated),  # the loss is hidden
            paid(at_us + MINUTE, f"nobody{n}"),  # conversions that match nobody
            event("subscription_cancelled", at_us + MINUTE, treated, {}),  # harm of another metric
            event("user_identified", at_us, f"y{n}", {}, anonymous_id=treated),  # a link to another's visitor
            paid(at_us + MINUTE, treated, amount="much"),  # refused payments of the treated arm
            shown(at_us, f"z{n}", "treatment", served=7),  # refused exposures of the treated arm
            shown(at_us, f"d{n}", "treatment", flag=DRILL_FLAG, epoch=1),  # the canary
            shown(at_us, f"e{n}", "treatment", reason=DRILL_REASON),
        ]
    return events


@pytest.mark.parametrize(("treated_rate", "state", "acts"), [(1.0, "ARMED", False), (0.1, "BREACH", True)])
def test_a_client_key_moves_no_guard(
    tmp_path, instance, store, monkeypatch, capsys, treated_rate: float, state: str, acts: bool
):
    victim = Victim(tmp_path, instance, store)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path))
    (tmp_path / "gtm.toml").write_text(
        f'[[guards]]\nflag = "{WATCHED.flag}"\nconversion = "payment_completed"\nconversion_window_minutes = 10\n'
        '[[guards.metrics]]\nname = "errors"\nkind = "error"\nevent = "subscription_cancelled"\n'
    )
    assert set(victim.send(victim.server, visits(victim.start_us, treated_rate))) == {"accepted"}
    victim.beat()
    victim.worker.once()
    before = victim.status(capsys)
    assert (before["state"], before["client_key_records_left_out"]) == (state, 0), before["reason"]

    verdicts = victim.send(victim.client, forged(victim.start_us))
    assert set(verdicts) >= {"accepted", "quarantined"} and len(verdicts) == 11 * FORGED
    for producer in (
        "shop",
        "collector",
        "zzz",
        f"drill/{WATCHED.flag}",
        f"drill/{DRILL_FLAG}",
        f"stream/{WATCHED.key}",
    ):
        for at in (0, time.time() + 3000):
            assert victim.post(victim.client, "/heartbeat", {"producer": producer, "ts": at}) == 403
    for path in (f"/guards/{WATCHED.flag}/rollback", f"/guards/{WATCHED.key}/rollback"):
        assert victim.post(victim.client, path, {"reason": "x"}) == 403
        assert victim.edge.post({"reason": "x"}, path, {}, victim.app).status == 401
    victim.worker.once()

    after = victim.status(capsys)
    moved = {name for name in before if before[name] != after[name]}
    assert moved <= {"client_key_records_left_out", "watermark_lag_seconds"}, {name: after[name] for name in moved}
    assert after["client_key_records_left_out"] >= 8 * FORGED, "all of it is counted"
    run(["guard", "status"])
    text = capsys.readouterr().out
    assert f"{after['client_key_records_left_out']:,} records of client keys left out" in text
    later(monkeypatch, 60)
    requests, line = victim.dagster.tick()
    assert [request.job_name for request in requests] == (["rollback_flag"] if acts else []), line
    assert "BLIND" not in line and HARM not in line
    for request in requests:
        assert victim.dagster.run(request).success
    assert (served_new(victim.settings) == 0) is acts
    assert store.check_chain(WATCHED.key) and store.rollback_request(WATCHED.key, 1) is None
    victim.edge.log.close()
