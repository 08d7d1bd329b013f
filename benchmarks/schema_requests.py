"""Requests that schemathesis makes up from the collector's OpenAPI document, sent to a real `gtm collect` on loopback.

`python -m benchmarks.schema_requests --seconds 600` (after scripts/install-edge-tools) begins again with another seed until the
seconds are over. What is promised: no 5xx, every status, content type, header and body as the document says, requests that
break it are refused and those that keep it are taken. Exit code 1, with the requests to repeat, when one is broken.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.collector import COLLECT, Subject, cpu_of, serving

_ROOT = Path(__file__).parents[1]
TOOL = _ROOT / ".cache" / "edge-tools" / "bin" / "schemathesis"


def attacked(url: str, seed: int, examples: int) -> tuple[int, int, str]:
    """Exit code, requests made and output of one run against the collector at `url`."""
    command = [
        str(TOOL), "run", f"{url}/openapi.json", "--header", "X-Write-Key: dev", "--max-examples", str(examples),
        "--phases", "coverage,fuzzing", "--seed", str(seed), "--no-color", "--request-timeout", "30",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT / ".cache")
    found = re.search(r"(\d+) generated", done.stdout)
    return done.returncode, int(found[1]) if found else 0, done.stdout


def main() -> int:
    """Attack until the time is over or a promise is broken."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--examples", type=int, default=20, help="requests an operation in each run, at most")
    options.add_argument("--seed", type=int, default=1, help="of the first run")
    given = options.parse_args()
    until, seed, requests = time.monotonic() + given.seconds, given.seed, 0
    with serving(Subject("collector", COLLECT)) as (pid, url):
        while True:
            code, made, output = attacked(url, seed, given.examples)
            requests += made
            if code:
                print(output)
                return 1
            if time.monotonic() > until:
                break
            seed += 1
        memory = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        peak = f"{int(memory[1]) / 1000:.0f} MB at most" if memory else "memory unknown"
        print(
            f"{requests} requests, seeds {given.seed} to {seed}, {cpu_of(pid):.0f} CPU s of the collector, {peak}: held"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
