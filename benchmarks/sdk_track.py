"""What a call of `track` costs the caller: CPU time of its thread, ours with validation beside four SDKs without.

`python -m benchmarks.sdk_track`; `scripts/install-sdk-peers` makes the environment of the others. The events wait in
memory meanwhile: snowplow's emitter would send them from the calling thread.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measuring import machine
from benchmarks.sdk_exit import SCRIPT
from benchmarks.sdk_peers import SDKS
from benchmarks.sdk_server import EventCounter, environment_of, python_of

CALLS, ROUNDS = 5_000, 7


def microseconds(sdk: str) -> list[float]:
    """CPU microseconds a call, of each round in a process of its own."""
    found = []
    for _ in range(ROUNDS):
        with EventCounter() as server:
            command = [python_of(sdk), SCRIPT, sdk, str(server.port), "cpu", str(CALLS)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment_of(sdk))
        found.append(float(done.stdout.split()[-1]))
    return found


def main() -> None:
    """The table, the cheapest first."""
    costs = {sdk: microseconds(sdk) for sdk in sys.argv[1:] or SDKS}
    print("| SDK | CPU us a call, median | least | most |\n|---|---:|---:|---:|")
    for sdk, found in sorted(costs.items(), key=lambda item: statistics.median(item[1])):
        print(f"| {sdk} | {statistics.median(found):.1f} | {min(found):.1f} | {max(found):.1f} |")
    print(f"{CALLS:,} calls, {ROUNDS} processes each. {machine(['msgspec'])}")


if __name__ == "__main__":
    main()
