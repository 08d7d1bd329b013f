"""kill -9 of runs of `dagster dev`, and of all of it: no run stays in the queue, and the next one succeeds."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from typing import Any

import requests

from gtm_dagster.chaos.inspect import (
    check_leftovers,
    check_rebuild,
    check_refresh,
    run_states,
    succeeded_since,
    unfinished_runs,
)
from gtm_dagster.chaos.outcome import ChaosError, Findings, Report, Rounds
from gtm_dagster.chaos.processes import Child, descendants, until
from gtm_dagster.chaos.supply import Supply
from gtm_dagster.chaos.throwaway import ThrowAway

BASE_ROWS = 2_000
ROUND_ROWS = 200
READY_SECONDS = 120.0
IDLE_SECONDS = 400.0
"""Longest until every run is over; a run whose start was cut off is given up by Dagster after its own timeout."""
ALL_EVERY = 5
"""Every fifth round, and the last, kills all of `dagster dev`, as a machine that loses power does."""
LAST_LOOKS = 3
MISSES = 2
"""Runs for each round that may end before their kill; they do not count."""
_SELECTOR = {"repositoryLocationName": "gtm_dagster", "repositoryName": "__repository__", "jobName": "refresh"}
_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_STATUS = "query($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"
_OVER = ("SUCCESS", "FAILURE", "CANCELED")


class DagsterDev:
    """`dagster dev` on a free port of loopback; it answers once the constructor returns."""

    def __init__(self, deployment: ThrowAway) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}/graphql"
        home = str(deployment.settings.dagster_home)
        workspace = str(deployment.checkout / "workspace.yaml")
        self.child: Child = deployment.start(
            "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port),
            module="dagster", DAGSTER_HOME=home, PYTHONWARNINGS="ignore:Function `dev_command` is superseded",
        )  # fmt: skip
        if not until(lambda: self.loaded() or not self.child.running(), READY_SECONDS, 0.2) or not self.child.running():
            self.child.kill()
            raise ChaosError(f"dagster dev was not ready within {READY_SECONDS:g} s: {self.child.err.strip()[-500:]}")

    def __enter__(self) -> DagsterDev:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()

    def _query(self, text: str, **variables: Any) -> dict[str, Any]:
        answer = requests.post(self._url, json={"query": text, "variables": variables}, timeout=60)
        answer.raise_for_status()
        document = answer.json()
        if "errors" in document:
            raise ChaosError(f"Dagster answered: {document['errors'][0].get('message')}")
        return dict(document["data"])

    def loaded(self) -> bool:
        """Whether the web server has loaded the code location."""
        try:
            data = self._query("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
        except (requests.RequestException, ChaosError, ValueError):
            return False
        return bool(data["repositoriesOrError"].get("nodes"))

    def launch(self) -> str:
        """Launch the job `refresh` as the button in the web UI does; returns the run's id."""
        launched = self._query(_LAUNCH, params={"selector": _SELECTOR, "runConfigData": {}, "mode": "default"})[
            "launchRun"
        ]
        if launched["__typename"] != "LaunchRunSuccess":
            raise ChaosError(f"the run could not be launched: {launched.get('message', launched['__typename'])}")
        return str(launched["run"]["runId"])

    def status(self, run_id: str) -> str:
        """The run's status as Dagster knows it."""
        return str(self._query(_STATUS, id=run_id)["runOrError"].get("status", "UNKNOWN"))

    def workers(self) -> set[int]:
        """Processes that carry out runs: Dagster's code server starts one for each."""
        return {pid for pid, line in descendants(self.child.pid).items() if "spawn_main" in line}


def kill_dagster_runs(
    deployment: ThrowAway, rounds: Rounds, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """Launch a run and kill it at a random moment, all of Dagster every fifth time; then no run may stay under way."""
    rng = random.Random(seed)  # noqa: S311 - moments to kill at, not a secret
    supply = Supply(deployment, BASE_ROWS + ((1 + MISSES) * rounds.wanted + 2) * ROUND_ROWS, seed)
    supply.land(BASE_ROWS // 2)
    supply.log(BASE_ROWS // 2)
    check_refresh(deployment.run("refresh", "--json"), supply.expected, findings, "before the first round")
    dev = DagsterDev(deployment)
    kills = {"of_the_run": 0, "of_all": 0}
    ended_first = 0
    slowest = 0.0
    try:
        took = _undisturbed(dev, findings)
        report(f"an undisturbed run takes {took:.1f} s from the button to its end")
        while rounds.more():
            supply.land(ROUND_ROWS // 2)
            supply.log(ROUND_ROWS // 2)
            everything = (rounds.done + 1) % ALL_EVERY == 0 or rounds.done + 1 == rounds.wanted
            hit = _round(dev, rng, took, everything)
            if not hit:
                ended_first += 1
                if ended_first > MISSES * rounds.wanted:
                    raise ChaosError(f"{ended_first} runs ended before they were killed")
                continue
            rounds.done += 1
            kills["of_all" if everything else "of_the_run"] += 1
            killed = time.time()
            if everything:
                dev.child.kill()
                dev = DagsterDev(deployment)
            seconds = _wait_until_idle(deployment, dev, findings, f"round {rounds.done}", killed)
            slowest = max(slowest, seconds)
            report(
                f"round {rounds.done} of {rounds.wanted}: {'all' if everything else 'the run'} killed, settled after {seconds:.0f} s"
            )
    finally:
        dev.child.kill()
    stuck = _runs_of_the_next_start(deployment)
    findings.expect(not stuck, f"at the end: still under way: {', '.join(stuck)}")
    check_refresh(deployment.run("refresh", "--json"), supply.expected, findings, "at the end")
    check_rebuild(deployment, findings, "at the end")
    left = check_leftovers(deployment, findings)
    states = run_states(deployment)
    return {
        **{f"kills_{key}": value for key, value in kills.items()}, "ended_before_the_kill": ended_first,
        "runs_succeeded": states["SUCCESS"], "runs_failed": states["FAILURE"], "stuck": len(stuck),
        "rows": supply.expected, "left_lying": left, "slowest_to_settle_seconds": round(slowest, 1),
    }  # fmt: skip


def _runs_of_the_next_start(deployment: ThrowAway) -> list[str]:
    """Runs still under way after the next `dagster dev` had its time; each kill of it may leave one just created."""
    for _ in range(LAST_LOOKS):
        with DagsterDev(deployment):
            until(lambda: not unfinished_runs(deployment), IDLE_SECONDS, 0.5)
        if not unfinished_runs(deployment):
            break
    return unfinished_runs(deployment)


def _undisturbed(dev: DagsterDev, findings: Findings) -> float:
    began = time.monotonic()
    run_id = dev.launch()
    until(lambda: dev.status(run_id) in _OVER, IDLE_SECONDS, 0.2)
    findings.expect(dev.status(run_id) == "SUCCESS", f"an undisturbed run ended as {dev.status(run_id)}")
    return time.monotonic() - began


def _round(dev: DagsterDev, rng: random.Random, took: float, everything: bool) -> bool:
    """Launch and kill; whether something was there to be killed."""
    run_id = dev.launch()
    end = time.monotonic() + rng.uniform(0.0, took)
    if everything:
        time.sleep(max(end - time.monotonic(), 0.0))
        return dev.status(run_id) not in _OVER
    # The process appears a moment after the button; kill not before it is there.
    if not until(lambda: bool(dev.workers()) or dev.status(run_id) in _OVER, READY_SECONDS, 0.05):
        return False
    end = time.monotonic() + rng.uniform(0.0, max(took * 0.7, 0.5))
    # Its process outlives the run by a moment: killing that hits nothing.
    if until(lambda: dev.status(run_id) in _OVER, max(end - time.monotonic(), 0.0), 0.1):
        return False
    hit = False
    for pid in dev.workers():
        try:
            os.kill(pid, signal.SIGKILL)
            hit = True
        except ProcessLookupError:
            continue
    return hit


def _wait_until_idle(deployment: ThrowAway, dev: DagsterDev, findings: Findings, when: str, killed: float) -> float:
    """Wait until no run is under way; one created since, by Dagster's own retry or else by us, has to succeed.

    `killed` is in seconds UTC; returns seconds from then until nothing was under way.
    """
    if not until(lambda: not unfinished_runs(deployment), IDLE_SECONDS, 0.5):
        findings.add(f"{when}: still under way after {IDLE_SECONDS:g} s: {', '.join(unfinished_runs(deployment))}")
        return time.time() - killed
    seconds = time.time() - killed
    if succeeded_since(deployment, killed):
        return seconds
    run_id = dev.launch()
    over = until(lambda: dev.status(run_id) in _OVER, IDLE_SECONDS, 0.2)
    status = dev.status(run_id)
    findings.expect(over and status == "SUCCESS", f"{when}: the next run, {run_id[:8]}, is {status}")
    return seconds
