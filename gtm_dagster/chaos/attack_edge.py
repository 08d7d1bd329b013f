"""A collector under attack: malformed HTTP, hostile JSON, large bodies, foreign keys, slow clients, crowds, a locked log.

Nothing it is sent may stop it, make it answer for a fault of its own, or keep other senders waiting; whatever it answered
with 200 is stored once.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gtm_dagster.chaos.edge_keys import HEARTBEATS, key_placements
from gtm_dagster.chaos.edge_load import OrdinarySender, bad_requests, crowd, more_connections, resident_mb, slow_clients
from gtm_dagster.chaos.hostile_bodies import hostile_events, large_bodies
from gtm_dagster.chaos.kill_collector import CollectorProcess, LoadGenerator, StoredIds
from gtm_dagster.chaos.malformed_http import event, malformed_requests, smuggled_ids
from gtm_dagster.chaos.outcome import Findings, Report, Rounds
from gtm_dagster.chaos.raw_http import ANSWER_SECONDS, Answer, exchange, request
from gtm_dagster.chaos.throwaway import ThrowAway

BAD_REQUESTS = 10_000
CROWD = 500
IDLE = 1_500
PRODUCERS = 1_100
"""Invented names of producers; the collector remembers 1,000."""
MUTATIONS = 500
LOCKED_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 1.0
"""How long an ordinary event may wait while large bodies arrive, beyond what it waits without; on an idle machine a quarter."""
MORE_MB = 100.0
DRAIN_SECONDS = 22.0
Figures = dict[str, int | float]


@dataclass
class Attack:
    """One collector, what it answered, and the broken promises."""

    collector: CollectorProcess
    findings: Findings
    report: Report
    rng: random.Random
    figures: Counter[str] = field(default_factory=Counter)
    acked: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self.collector.url

    def note(self, what: str, name: str, answer: Answer) -> None:
        """Count an answer of the phase `what`; a fault of the server is a finding."""
        self.figures[what] += 1
        if answer.failed:
            self.findings.add(f"{what}, {name}: answered {answer.statuses[-1]}: {answer.text[-200:]!r}")

    def alive(self, after: str) -> None:
        """The collector lives and is ready."""
        self.findings.expect(
            self.collector.child.running() and self.collector.ready(), f"{after}: the collector is not ready any more"
        )


def attack_edges(
    deployment: ThrowAway, rounds: Rounds, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """Every attack in the first round; hostile events, mutations, a locked log and SIGTERM in each further one."""
    more_connections()
    figures: Counter[str] = Counter()
    seconds: Figures = {"longest_wait_ms": 0, "memory_more_mb": 0, "slowest_stop_seconds": 0.0}
    acked: set[str] = set()
    for number in rounds.numbers():
        with CollectorProcess(deployment) as collector:
            rng = random.Random(seed + number)  # noqa: S311 - mutations, not a secret
            attack = Attack(collector, findings, report, rng)
            if number == 1:
                _malformed(attack)
                _keys(attack)
                _heartbeats(attack)
                _slow(attack)
                _crowds(attack)
                _bad(attack)
                _large(attack, seconds)
            _hostile(attack, f"h{number}")
            _mutations(attack, f"m{number}")
            _locked(attack, deployment, f"l{number}")
            _stop(attack, f"t{number}", seed + number, seconds)
            figures += attack.figures
            acked |= attack.acked
        report(f"round {number} of {rounds.wanted}: {len(acked)} events answered so far")
    stored = StoredIds(deployment).look()
    smuggled = [each for each in map(deployment.landed_id, smuggled_ids()) if stored[each]]
    kept = {deployment.landed_id(each) for each in acked}
    missing = sum(1 for each in kept if not stored[each])
    twice = [each for each in kept if stored[each] > 1]
    findings.expect(not smuggled, f"events hidden in other requests were stored: {smuggled[:3]}")
    findings.expect(not missing, f"{missing} answered events are not in the log")
    findings.expect(not twice, f"{len(twice)} answered events are in the log more than once: {twice[:3]}")
    return {
        **figures,
        "acked": len(acked),
        "missing": missing,
        "twice": len(twice),
        "smuggled": len(smuggled),
        **seconds,
    }


def _malformed(attack: Attack) -> None:
    cases = list(malformed_requests(attack.url))
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda case: exchange(attack.url, case[1]), cases)
        for (name, _), answer in zip(cases, answers, strict=True):
            attack.note("malformed_requests", name, answer)
            attack.findings.expect(answer.ended != "silent", f"malformed, {name}: the connection stays open")
    attack.alive("malformed HTTP")
    attack.report(f"{len(cases)} malformed requests")


def _hostile(attack: Attack, name: str) -> None:
    neighbours = 0
    for number, (case, odd) in enumerate(hostile_events()):
        good = event(f"{name}-{number}")
        answer = exchange(attack.url, request(attack.url, b"[" + odd + b"," + json.dumps(good).encode() + b"]"))
        attack.note("hostile_events", case, answer)
        if answer.statuses != (200,):
            clear = {"code", "message"} <= set(answer.document)
            attack.findings.expect(clear, f"hostile event, {case}: answered {answer.statuses} without code and message")
            continue
        last = answer.document["results"][-1]
        if attack.findings.expect(last["status"] == "accepted", f"hostile event, {case}: its neighbour is {last}"):
            attack.acked.add(str(good["event_id"]))
            neighbours += 1
    attack.figures["good_neighbours_accepted"] += neighbours
    attack.alive("hostile events")
    attack.report(f"{attack.figures['hostile_events']} hostile events, {neighbours} good neighbours accepted")


def _mutations(attack: Attack, name: str) -> None:
    """Lists of good events with bytes changed, taken out, doubled or put in at random places."""
    for number in range(MUTATIONS):
        body = bytearray(json.dumps([event(f"{name}-{number}-{n}") for n in range(3)]).encode())
        for _ in range(attack.rng.randint(1, 4)):
            at = attack.rng.randrange(len(body))
            what = attack.rng.randrange(4)
            if what == 0:
                body[at] = attack.rng.randrange(256)
            elif what == 1:
                del body[at : at + attack.rng.randint(1, 20)]
            elif what == 2:
                body[at:at] = body[at : at + attack.rng.randint(1, 50)]
            else:
                body[at:at] = attack.rng.choice(
                    (b'"', b"\\", b"[", b"]", b"{", b"}", b",", b"\x00", b"\xff", b"1e999", b"\\ud800")
                )
            if not body:
                break
        answer = exchange(attack.url, request(attack.url, bytes(body)))
        attack.note("mutated_bodies", body[:80].decode(errors="replace"), answer)
        for result in answer.document.get("results", ()) if answer.statuses == (200,) else ():
            if result["status"] == "accepted":
                attack.acked.add(result["event_id"])
    attack.alive("mutated bodies")


def _keys(attack: Attack) -> None:
    body = json.dumps(event("keys")).encode()
    cases = list(key_placements())
    for headers, path, opens in cases:
        answer = exchange(attack.url, request(attack.url, body, headers=headers, path=path))
        attack.note("keys_tried", str(headers)[:60], answer)
        attack.findings.expect(
            (answer.statuses == (200,)) is opens, f"key, {str(headers)[:80]} {path}: answered {answer.statuses}"
        )
    attack.report(f"{len(cases)} places for a key")


def _heartbeats(attack: Attack) -> None:
    for shape in HEARTBEATS:
        answer = exchange(attack.url, request(attack.url, json.dumps(shape).encode(), path="/heartbeat"))
        attack.note("heartbeats", str(shape)[:60], answer)
    taken = 0
    for number in range(PRODUCERS):
        beat = json.dumps({"producer": f"invented-{number}"}).encode()
        answer = exchange(attack.url, request(attack.url, beat, path="/heartbeat"))
        attack.note("heartbeats", f"invented-{number}", answer)
        taken += answer.statuses == (200,)
    attack.figures["producers_taken"] = taken
    attack.findings.expect(taken <= 1_000, f"{taken} invented producers are remembered; the limit is 1,000")
    attack.alive("heartbeats")


def _slow(attack: Attack) -> None:
    for name, seconds in slow_clients(attack.url).items():
        attack.figures["slow_clients"] += 1
        attack.findings.expect(seconds < ANSWER_SECONDS, f"slow client, {name}: still connected after {seconds:.0f} s")
    attack.alive("slow clients")


def _crowds(attack: Attack) -> None:
    for name, clients, idle in (("c1", CROWD, 0), ("c2", CROWD, 0), ("c3", 20, IDLE)):
        answers = crowd(attack.url, name, clients, idle)
        attack.figures["in_crowds"] += clients
        if attack.findings.expect(answers[200] == clients, f"crowd of {clients} beside {idle} idle: {dict(answers)}"):
            attack.acked |= {f"{name}-{number}" for number in range(clients)}
    attack.report(f"{attack.figures['in_crowds']} senders in crowds")


def _bad(attack: Attack) -> None:
    before = resident_mb(attack.collector.child)
    answers = bad_requests(attack.url, BAD_REQUESTS)
    after = resident_mb(attack.collector.child)
    attack.figures["bad_requests"] = sum(answers.values())
    wrong = {status: n for status, n in answers.items() if status >= 500 or status in (0, 200)}
    attack.findings.expect(not wrong, f"bad requests: answered {wrong}")
    if before is not None and after is not None:
        attack.findings.expect(
            after - before < MORE_MB, f"bad requests: memory grew from {before:.0f} to {after:.0f} MB"
        )
    attack.alive("bad requests")
    attack.report(f"{BAD_REQUESTS:,} bad requests")


def _large(attack: Attack, seconds: Figures) -> None:
    """Each large body beside an ordinary sender, then three at once."""
    with OrdinarySender(attack.url, "usual") as usual:
        time.sleep(2.0)
    most = before = resident_mb(attack.collector.child) or 0.0
    bodies = list(large_bodies(attack.rng.randrange(10**6)))
    with OrdinarySender(attack.url, "beside") as sender, ThreadPoolExecutor(3) as pool:
        for name, body in bodies:
            answer = exchange(attack.url, request(attack.url, body))
            attack.note("large_bodies", name, answer)
            most = max(most, resident_mb(attack.collector.child) or 0.0)
        for (name, _), answer in zip(
            bodies[:6],
            pool.map(lambda case: exchange(attack.url, request(attack.url, case[1])), bodies[:6]),
            strict=True,
        ):
            attack.note("large_bodies", name, answer)
            most = max(most, resident_mb(attack.collector.child) or 0.0)
    attack.acked |= {*usual.acked, *sender.acked}
    seconds["longest_wait_ms"] = round(sender.longest * 1000)
    seconds["memory_more_mb"] = round(most - before)
    lost = {status: n for status, n in sender.answers.items() if status not in (200, 503)}
    attack.findings.expect(not lost, f"large bodies: an ordinary sender was answered {lost}")
    attack.findings.expect(
        sender.longest < usual.longest + LONGEST_WAIT_SECONDS,
        f"large bodies: an ordinary event waited {sender.longest:.2f} s",
    )
    attack.findings.expect(most - before < MORE_MB, f"large bodies: memory grew from {before:.0f} to {most:.0f} MB")
    attack.alive("large bodies")
    attack.report(
        f"{attack.figures['large_bodies']} large bodies; an ordinary event waited {sender.longest * 1000:.0f} ms at most"
    )


def _locked(attack: Attack, deployment: ThrowAway, name: str) -> None:
    """Another program keeps the log's write lock for a while: senders wait or get 503, nothing is lost."""
    con = sqlite3.connect(deployment.settings.state_dir / "events.db", isolation_level=None)
    try:
        load = LoadGenerator(attack.url, name, [], attack.rng.randrange(10**6))
        con.execute("BEGIN IMMEDIATE")
        time.sleep(LOCKED_SECONDS)
        con.execute("ROLLBACK")
        until = len(load.acked)
        time.sleep(1.0)
        load.stop()
    finally:
        con.close()
    attack.findings.expect(len(load.acked) > until, "locked log: no event was taken after the lock was gone")
    for wrong in load.wrong[:3]:
        attack.findings.add(f"locked log: {wrong}")
    attack.figures["refused_while_locked"] += load.answers[503]
    attack.acked |= set(load.acked)
    attack.alive("locked log")


def _stop(attack: Attack, name: str, seed: int, seconds: Figures) -> None:
    """SIGTERM under load: what was answered is stored, and it is down in time."""
    load = LoadGenerator(attack.url, name, [], seed)
    time.sleep(attack.rng.uniform(0.5, 1.5))
    began = time.monotonic()
    code = attack.collector.child.stop(signal.SIGTERM)
    took = time.monotonic() - began
    load.stop()
    attack.findings.expect(
        code == 0 and took < DRAIN_SECONDS, f"SIGTERM under load: ended with {code} after {took:.1f} s"
    )
    seconds["slowest_stop_seconds"] = max(float(seconds["slowest_stop_seconds"]), round(took, 1))
    attack.acked |= set(load.acked)
