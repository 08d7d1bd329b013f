"""Seconds from the guard's decision to a flag that is verified off, over drills in a running `gtm dev` under load.

`python -m benchmarks.drills --drills 20 --events 200000`: a throw-away state directory, full rebuilds of the warehouse
in a loop beside the drills, and the percentiles as a table. The decision is the first moment at which the guard's own
rule says so; the wait for the sensor's tick (5 s), the queue and the start of the run's process are inside.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parents[1]
_LAUNCH = (
    'mutation { launchRun(executionParams: {selector: {repositoryLocationName: "gtm_dagster", repositoryName: "__repository__", '
    'jobName: "refresh"}, runConfigData: "{resources: {warehouse: {config: {full: true, allow_rebuild: true}}}}"}) '
    "{ ... on LaunchRunSuccess { run { runId } } } }"
)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _gtm(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "gtm_dagster.cli", *arguments]
    told = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"gtm {' '.join(arguments)}: {told.stderr}")
    return told.stdout


def _ask(ui: str, query: str) -> dict:
    return requests.post(f"{ui}/graphql", json={"query": query}, timeout=60).json()["data"]


def _rebuild_in_a_loop(ui: str, stop: threading.Event, done: list[str]) -> None:
    while not stop.is_set():
        run = _ask(ui, _LAUNCH)["launchRun"]["run"]["runId"]
        while not stop.is_set():
            status = _ask(ui, f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}')["runOrError"]["status"]
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                done.append(status)
                break
            stop.wait(1.0)


def main() -> None:
    """Run the drills and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--drills", type=int, default=20)
    options.add_argument("--events", type=int, default=200_000, help="history that is rebuilt beside the drills")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="gtm-drills-") as folder:
        ui_port, collector = _free_port(), _free_port()
        environment = {
            **os.environ,
            "GTM_STATE_DIR": f"{folder}/state",
            "GTM_COLLECTOR__PORT": str(collector),
            "PYTHONPATH": str(ROOT),
        }
        simulated = json.loads(_gtm(environment, "simulate", "--events", str(chosen.events), "--out", folder, "--json"))
        _gtm(environment, "import", simulated["files"][0])
        ui = f"http://127.0.0.1:{ui_port}"
        with Path(folder, "dev.log").open("wb") as log:
            dev = subprocess.Popen(
                [sys.executable, "-m", "gtm_dagster.cli", "dev", "--port", str(ui_port)],
                env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        stop, rebuilds = threading.Event(), []
        try:
            _wait(ui, f"http://127.0.0.1:{collector}")
            load = threading.Thread(target=_rebuild_in_a_loop, args=(ui, stop, rebuilds), daemon=True)
            load.start()
            told = []
            for number in range(chosen.drills):
                one = json.loads(_gtm(environment, "guard", "drill", "--seed", str(number), "--json"))
                told.append(one)
                sys.stderr.write(
                    f"drill {number + 1}: run after {one['requested_seconds']:.1f} s, off {one['off_seconds']:.1f} s, verified {one['verified_seconds']:.1f} s\n"
                )
        finally:
            stop.set()
            dev.send_signal(signal.SIGINT)
            dev.wait(90)
    print(
        f"{len(told)} drills, {len(rebuilds)} full rebuilds of {chosen.events:,} events beside them ({rebuilds.count('SUCCESS')} succeeded)"
    )
    print("| stage | median | p95 | max |\n|---|---|---|---|")
    for name, key in (("decision -> run begins", "requested_seconds"), ("decision -> flag off", "off_seconds"), ("decision -> verified off", "verified_seconds")):  # fmt: skip
        values = sorted(one[key] for one in told)
        p95 = values[min(round(0.95 * len(values)), len(values) - 1)]
        print(f"| {name} | {statistics.median(values):.1f} s | {p95:.1f} s | {values[-1]:.1f} s |")
    minutes = statistics.median(one["detected_after_minutes"] for one in told)
    print(
        f"break -> the rule says so: median {minutes:.1f} min by the events' times; still served the new flow after: {sum(one['served_new_after'] for one in told)}"
    )


def _wait(ui: str, collector: str) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{ui}/server_info", timeout=2).ok and requests.get(f"{collector}/readyz", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise SystemExit("gtm dev did not answer within three minutes")


if __name__ == "__main__":
    main()
