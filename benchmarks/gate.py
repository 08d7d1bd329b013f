"""What the gate costs a product: with a healthy flag file, a hung provider, an open breaker, and after healing.

`python -m benchmarks.gate --calls 20000`; beside it the provider's own evaluation, so that the gate's share is seen.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from gtm_dagster.gate import kill_list
from gtm_dagster.rollout import RolloutController
from gtm_dagster.tracking import GtmTracker

FLAG = "checkout-v2"
FLAGS = {
    "flags": {
        FLAG: {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {"fractional": [{"var": "targetingKey"}, ["on", 50], ["off", 50]]},
            "metadata": {"epoch": 1},
        }
    }
}


class Forgets:
    def track(self, event_name: str, **fields: Any) -> None:
        pass


class Hangs:
    """A provider whose calls do not come back while it is hung."""

    hung = False

    def resolve_boolean_details(self, flag_key: str, default_value: bool, context: Any = None) -> Any:
        if self.hung:
            threading.Event().wait()
        return FlagResolutionDetails(True, reason=Reason.SPLIT)


def measure(title: str, limit: str, ask: Callable[[str], object], users: Iterable[str]) -> None:
    """Time each call; print median, 99th percentile and maximum in milliseconds."""
    report(title, limit, timed(ask, users))


def timed(ask: Callable[[str], object], users: Iterable[str]) -> list[int]:
    took = []
    for user in users:
        begin = time.perf_counter_ns()
        ask(user)
        took.append(time.perf_counter_ns() - begin)
    return took


def report(title: str, limit: str, took: list[int]) -> None:
    took = sorted(took)
    p50, p99, most = (took[min(len(took) - 1, int(len(took) * part))] / 1e6 for part in (0.5, 0.99, 1.0))
    print(f"| {title:<46} | {len(took):>6} | {p50:>8.3f} | {p99:>8.3f} | {most:>8.3f} | {limit:<14} |", flush=True)


def flag_file(folder: Path, calls: int) -> None:
    """A healthy flagd file, and the answers that ask nobody."""
    path, kills = folder / "flags.json", folder / "killed.json"
    path.write_text(json.dumps(FLAGS))
    known = [f"user-{n % 1000}" for n in range(calls)]
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    with RolloutController(provider, Forgets(), kill_list=kills) as gate:

        def ask(user: str) -> bool:
            return gate.is_feature_enabled(user, FLAG)

        timed(ask, known[:2000])
        measure("flagd file, the provider alone", "", lambda user: provider.resolve_boolean_details(FLAG, False, EvaluationContext(user)), known)  # fmt: skip
        measure("flagd file, a known unit", "p99 < 1", ask, known)
        took: list[list[int]] = []
        threads = [threading.Thread(target=lambda: took.append(timed(ask, known[: calls // 4]))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report("flagd file, 4 threads that only ask", "", [each for part in took for each in part])
        kill_list.add(kills, FLAG, "benchmark", datetime.now(UTC))
        time.sleep(kill_list.CHECK_SECONDS)
        measure("on the kill list", "p99 < 1", ask, known)


def exposures(folder: Path, calls: int) -> None:
    """New units: each one's exposure is judged by the tracking plan and queued."""
    path = folder / "flags.json"
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    tracker = GtmTracker(
        "http://127.0.0.1:9", "dev", retries=0, batch_size=calls + 1, flush_interval=3600, max_queue=calls + 1
    )
    with RolloutController(provider, tracker) as gate:
        measure("flagd file, a new unit, exposure into the SDK", "p99 < 1", lambda user: gate.is_feature_enabled(user, FLAG), (f"new-{n}" for n in range(calls)))  # fmt: skip
        assert gate.stats().emitted == calls
    tracker.close(0)


def failures(calls: int) -> None:
    """Hung, open, healed."""
    provider = Hangs()
    with RolloutController(provider, Forgets()) as gate:

        def ask(user: str) -> bool:
            return gate.is_feature_enabled(user, FLAG)

        healed = []
        late: list[int] = []
        for _ in range(3):
            provider.hung = True
            late += timed(ask, ["u1", "u2", "u3"])
            assert gate.stats().breaker_open
            opened = timed(ask, (f"user-{n % 1000}" for n in range(calls)))
            provider.hung = False
            begin = time.perf_counter()
            while not ask("u1"):
                time.sleep(0.005)
            healed.append(time.perf_counter() - begin)
        report("hung provider, before the breaker opens", "200 + 20", late)
        report("breaker open", "p99 < 1", opened)
        print(
            f"\nrecovered {max(healed):.2f} s after healing at most, with {gate.stats().stuck} calls still hung (limit 5 s)"
        )


def import_cost() -> None:
    """Milliseconds a fresh interpreter needs for the gate."""
    code = "import time; a = time.perf_counter(); import gtm_dagster.gate.controller; print(time.perf_counter() - a)"
    took = sorted(float(subprocess.check_output([sys.executable, "-c", code])) * 1000 for _ in range(7))
    print(f"import of gtm_dagster.gate.controller: median {took[3]:.0f} ms of 7 (limit 100 ms)")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=20_000)
    calls = options.parse_args().calls
    logging.disable(logging.CRITICAL)
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}; milliseconds a call\n"
    )
    print(f"| {'case':<46} | {'calls':>6} | {'p50':>8} | {'p99':>8} | {'max':>8} | {'limit':<14} |")
    print(f"|{'-' * 48}|{'-' * 8}|{'-' * 10}|{'-' * 10}|{'-' * 10}|{'-' * 16}|")
    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as folder:
        flag_file(Path(folder), calls)
        exposures(Path(folder), calls)
    failures(calls)
    import_cost()


if __name__ == "__main__":
    main()
