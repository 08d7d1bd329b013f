"""What SDKs lose when a process ends or forks: events delivered to a server on loopback, ours beside four others.

`python -m benchmarks.sdk_exit`; `scripts/install-sdk-peers` makes the environment of the others.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measuring import machine
from benchmarks.sdk_peers import SDKS
from benchmarks.sdk_server import EventCounter, environment_of, python_of

SCRIPT = "benchmarks/sdk_peers.py"
WAYS = (("exit", 1007), ("sigterm", 1007), ("fork", 20), ("fork_flush", 20))


def outcome(sdk: str, way: str, count: int) -> str:
    """`delivered/tracked`, or that a flush hung; a parent that forks tracks one event itself."""
    with EventCounter() as server:
        command = [python_of(sdk), SCRIPT, sdk, str(server.port), way, str(count)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=environment_of(sdk)
        )
        server.settle()
        delivered = server.events
    if done.returncode == 3 and way == "fork_flush":
        return "flush hangs"
    return f"{delivered}/{count + way.startswith('fork')}"


def main() -> None:
    """The table of every SDK and way."""
    sdks = sys.argv[1:] or list(SDKS)
    print(
        "| SDK | exit without flush | SIGTERM | fork: 1 event in the parent, 20 in the child | with a flush in the child |\n|---|---|---|---|---|"
    )
    for sdk in sdks:
        print(f"| {sdk} | {' | '.join(outcome(sdk, way, count) for way, count in WAYS)} |", flush=True)
    print(machine(["msgspec", "requests"]))


if __name__ == "__main__":
    main()
