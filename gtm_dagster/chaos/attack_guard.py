"""An attacker with a client key, which ships in every page, against the guard of a whole `gtm dev`.

Nothing it sends may turn a flag off, keep it on, or blind the guard; a real loss is still found and rolled back, and what
was sent is counted and shown.
"""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

import requests

from gtm_dagster.chaos.attack_traffic import Attacker, Sender, Shop
from gtm_dagster.chaos.outcome import ChaosError, Findings, Report
from gtm_dagster.chaos.processes import Child, until
from gtm_dagster.chaos.throwaway import ThrowAway
from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.opsstore import OpsStore, RollbackRow
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.guard.decide import ARMED, BLIND, SUSPECT, WARMUP
from gtm_dagster.rollout.providers.flagd import Flagd
from gtm_dagster.settings import Guard

SETTINGS = """[[guards]]
flag = "checkout-v2"
conversion = "payment_completed"
conversion_window_minutes = 5
hold_minutes = 0.5
slower_minutes = 0
"""
"""A short hold and window, so that minutes are enough; all else are the defaults."""
ATTACKERS = 2
READY_SECONDS = 180.0
ARMED_SECONDS = 90.0
ROLLBACK_SECONDS = 600.0
"""Longest from the break to the flag that is proven off; on an idle machine a minute, at a load of 20 a core two."""
CATCH_UP_SECONDS = 180.0
STOP_SECONDS = 120.0
"""Longest that `gtm dev` takes to end its children after Ctrl-C."""
_LOOK_SECONDS = 1.0
_HEALTHY = (ARMED, WARMUP, SUSPECT)


def attack_guard(
    deployment: ThrowAway, minutes: float, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """Healthy traffic under attack for `minutes`, then a loss under attack until it is rolled back."""
    (guard,) = deployment.settings.guards
    for arguments in (
        ("flag", "create", guard.flag, "--split", "0.5"),
        ("guard", "rearm", guard.flag, "--reason", "drill"),
    ):
        result = deployment.run(*arguments)
        if result.code != 0:
            raise ChaosError(f"gtm {' '.join(arguments)} ended with {result.code}: {result.message}")
    keys = KeyStore(deployment.settings.keys_dir)
    server, client = keys.add("shop"), keys.add("web", role="client")
    with _GtmDev(deployment) as dev, OpsStore.of(deployment.settings) as store:
        shop = Shop(dev.url, server, guard, Flagd(deployment.settings.flags_path), seed)
        row = store.guard(guard.key)
        since_us = row.epoch_since_us if row and row.epoch_since_us else 0
        attackers = [
            Attacker(dev.url, client, guard, lambda: list(shop.visitors), since_us, seed + number)
            for number in range(ATTACKERS)
        ]
        watch = _Watch(deployment, store, guard)
        try:
            shop.start()
            if not until(watch.sees_traffic, ARMED_SECONDS, _LOOK_SECONDS):
                raise ChaosError(f"the guard compared nothing within {ARMED_SECONDS:g} s: {watch.reason}")
            report(f"the guard is {watch.state}; {ATTACKERS} attackers begin")
            _attacked_in_health(watch, attackers, minutes, findings)
            report(f"{sum(each.sent for each in attackers):,} forged events so far; the new flow breaks")
            rolled_back, seconds = _attacked_in_loss(watch, shop, attackers, findings)
        finally:
            for sender in (*attackers, shop):
                if sender.is_alive():
                    sender.stop()
        if rolled_back is not None and rolled_back.verified:
            report(f"rolled back and verified off {seconds:.0f} s after the break")
        evidence = sum(each.evidence for each in attackers)
        left_out = _left_out(watch, evidence)
        findings.expect(dev.stop() == 0, "`gtm dev` did not end cleanly")
    findings.expect(
        left_out == evidence, f"{left_out:,} records of client keys are counted as left out, {evidence:,} were sent"
    )
    refused, shown = _refused(attackers), _shown_at_the_door(deployment)
    findings.expect(refused == shown, f"refused at the door: {refused} by the answers, guard status shows {shown}")
    for sender in (shop, *attackers):
        findings.expect(sender.failure is None, f"{sender.name}: {sender.failure}")
    return _figures(shop, attackers, watch, seconds, left_out, refused)


def _attacked_in_health(watch: _Watch, attackers: list[Attacker], minutes: float, findings: Findings) -> None:
    for attacker in attackers:
        attacker.start()
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end and watch.rollback is None:
        time.sleep(_LOOK_SECONDS)
        watch.look()
    watch.forced = watch.rollback is not None
    findings.expect(not watch.forced, "client keys forced a rollback of a flow that loses nothing")
    odd = {state: n for state, n in watch.states.items() if state not in (*_HEALTHY, BLIND)}
    findings.expect(not odd, f"the guard of a flow that loses nothing was {odd} while it was attacked")
    findings.expect(not watch.blind_seconds, f"client keys blinded the guard for {watch.blind_seconds:.0f} s")


def _attacked_in_loss(
    watch: _Watch, shop: Shop, attackers: list[Attacker], findings: Findings
) -> tuple[RollbackRow | None, float]:
    for attacker in attackers:
        attacker.hides = True
    shop.broken, broke = True, time.time()
    if watch.rollback is None:
        until(lambda: watch.look() is not None and watch.verified, ROLLBACK_SECONDS, _LOOK_SECONDS)
    row = watch.rollback
    findings.expect(
        row is not None and row.verified,
        f"client keys blocked the rollback of a dead flow for {ROLLBACK_SECONDS:g} s: {watch.state}, {watch.reason}",
    )
    findings.expect(not watch.blind_seconds, f"client keys blinded the guard for {watch.blind_seconds:.0f} s")
    if row is None or row.effective_us is None:
        return row, 0.0
    before = shop.new_flow
    time.sleep(2 * _LOOK_SECONDS)
    findings.expect(shop.new_flow == before, "visitors get the new flow after it was verified off")
    return row, row.effective_us / 1e6 - broke


def _left_out(watch: _Watch, evidence: int) -> int:
    """Records of client keys that the guard counts as left out, once the worker has caught up."""
    epoch = watch.epoch
    until(lambda: watch.store.left_out(watch.guard.key, epoch) >= evidence, CATCH_UP_SECONDS, _LOOK_SECONDS)
    return watch.store.left_out(watch.guard.key, epoch)


def _refused(attackers: list[Attacker]) -> dict[str, int]:
    """Requests that were refused, by route, as the attackers were answered."""
    found: Counter[str] = Counter()
    for attacker in attackers:
        for (route, status), n in attacker.answers.items():
            if 400 <= status < 500:
                found["heartbeats" if route == "/heartbeat" else "rollbacks" if "/guards/" in route else "events"] += n
    return dict(found)


def _shown_at_the_door(deployment: ThrowAway) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in (deployment.run("guard", "status", "--json").document or {}).get("refused_at_the_door", ()):
        route = row["route"]
        found["heartbeats" if route == "/heartbeat" else "rollbacks" if "/guards/" in route else "events"] += row["n"]
    return dict(found)


def _figures(
    shop: Sender, attackers: list[Attacker], watch: _Watch, seconds: float, left_out: int, refused: dict[str, int]
) -> dict[str, int | float]:  # fmt: skip
    verdicts = sum((each.statuses for each in attackers), Counter())
    return {
        "forged_events": sum(each.sent for each in attackers), "accepted": verdicts["accepted"],
        "quarantined": verdicts["quarantined"], "forged_evidence": sum(each.evidence for each in attackers), "left_out": left_out,
        "heartbeats_refused": refused.get("heartbeats", 0), "rollback_requests_refused": refused.get("rollbacks", 0),
        "honest_events": sum(shop.statuses.values()), "rollbacks_forced": int(watch.forced), "rollbacks_blocked": int(not watch.verified),
        "blind_seconds": round(watch.blind_seconds), "seconds_from_break_to_off": round(seconds, 1),
    }  # fmt: skip


@dataclass
class _Watch:
    """The guard as it stands, looked at every second. `states`: how often each was seen since the first traffic;
    `forced`: the flag was turned off while nothing was lost.
    """

    deployment: ThrowAway
    store: OpsStore
    guard: Guard
    state: str = ""
    reason: str = ""
    states: Counter[str] = field(default_factory=Counter)
    blind_seconds: float = 0.0
    rollback: RollbackRow | None = None
    epoch: int = 0
    forced: bool = False
    _looked: float = 0.0

    @property
    def verified(self) -> bool:
        """Whether its flag was rolled back and proven off."""
        return self.rollback is not None and self.rollback.verified

    def sees_traffic(self) -> bool:
        """Whether both arms are compared; nothing before that is counted."""
        self.look()
        compared = self.state in (ARMED, SUSPECT)
        self.states.clear()
        self.blind_seconds = 0.0
        return compared

    def look(self) -> str:
        """The guard's state; BLIND counts since the look before."""
        now, row = time.monotonic(), self.store.guard(self.guard.key)
        if row is None:
            return self.state
        self.epoch = row.epoch
        self.rollback = self.store.last_rollback(self.guard.key)
        if self.rollback is None:
            decision = evaluate(self.store, self.deployment.settings, self.guard, row, time.time_ns() // 1000).decision
            self.state, self.reason = decision.state, decision.reason
            self.states[self.state] += 1
            if self.state == BLIND:
                self.blind_seconds += now - self._looked
        self._looked = now
        return self.state


class _GtmDev:
    """`gtm dev` on free ports of loopback; the collector at `url` and the web UI answer once the constructor returns."""

    def __init__(self, deployment: ThrowAway) -> None:
        ui, collector, pages = (_free_port() for _ in range(3))
        self.url = f"http://127.0.0.1:{collector}"
        self.child: Child = deployment.start(
            "dev", "--port", str(ui), "--collector-port", str(collector), "--dashboard-port", str(pages)
        )
        places = (f"{self.url}/readyz", f"http://127.0.0.1:{ui}/server_info")
        ready = until(lambda: not self.child.running() or all(map(_answers, places)), READY_SECONDS, 0.5)
        if not ready or not self.child.running():
            self.child.kill()
            raise ChaosError(f"`gtm dev` was not ready within {READY_SECONDS:g} s: {self.child.err.strip()[-500:]}")

    def __enter__(self) -> _GtmDev:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int | None:
        """Ctrl-C; its exit code, None when it had to be killed."""
        return self.child.stop(signal.SIGINT, STOP_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False
