"""Tracks through one SDK in one way of ending; runs in the environment of that SDK, with the standard library alone.

`python sdk_peers.py NAME PORT WAY COUNT`. Ways: exit, sigterm, fork, fork_flush, cpu. With `cpu` the last line is the CPU
time of the calling thread in microseconds a call.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

Track = Callable[[int], object]
Sdk = tuple[Track, Callable[[], object]]
PROPERTIES = {"amount": 49.0, "currency": "EUR", "plan": "team"}


def gtm_dagster(port: int) -> Sdk:
    """Ours, with its validation."""
    from gtm_dagster.tracking import GtmTracker

    tracker = GtmTracker(f"http://127.0.0.1:{port}", "dev")
    return lambda n: tracker.track("payment_completed", user_id=f"u-{n}", properties=PROPERTIES), tracker.flush


def segment(port: int) -> Sdk:
    """segment-analytics-python."""
    import segment.analytics as analytics

    analytics.write_key, analytics.host = "key", f"http://127.0.0.1:{port}"
    return lambda n: analytics.track(f"u-{n}", "payment_completed", PROPERTIES), analytics.flush


def rudderstack(port: int) -> Sdk:
    """rudder-sdk-python."""
    import rudderstack.analytics as analytics

    analytics.write_key, analytics.dataPlaneUrl = "key", f"http://127.0.0.1:{port}"
    return lambda n: analytics.track(f"u-{n}", "payment_completed", PROPERTIES), analytics.flush


def posthog(port: int) -> Sdk:
    """posthog."""
    from posthog import Posthog

    client = Posthog("key", host=f"http://127.0.0.1:{port}")
    return lambda n: client.capture("payment_completed", distinct_id=f"u-{n}", properties=PROPERTIES), client.flush


def snowplow(port: int) -> Sdk:
    """snowplow-tracker with its default emitter; for `cpu` one that sends nothing meanwhile."""
    from snowplow_tracker import Emitter, SelfDescribing, SelfDescribingJson, Tracker

    size = 1_000_000 if sys.argv[3] == "cpu" else 50
    emitter = Emitter("127.0.0.1", protocol="http", port=port, batch_size=size, buffer_capacity=1_000_000)
    tracker = Tracker(namespace="shop", emitters=emitter)
    schema = "iglu:com.shop/payment_completed/jsonschema/1-0-0"

    def track(n: int) -> object:
        return tracker.track(SelfDescribing(SelfDescribingJson(schema, {"user_id": f"u-{n}", **PROPERTIES})))

    return track, tracker.flush


SDKS = {one.__name__: one for one in (gtm_dagster, segment, rudderstack, posthog, snowplow)}


def in_child(track: Track, flush: Callable[[], object], count: int, *, flushes: bool) -> int:
    """The exit code of a forked child: 3 when its flush did not return within 8 s."""
    for n in range(count):
        track(n)
    if not flushes:
        sys.exit(0)
    waiting = threading.Thread(target=flush, daemon=True)
    waiting.start()
    waiting.join(8)
    return 3 if waiting.is_alive() else 0


def main(name: str, port: int, way: str, count: int) -> None:
    """Tracks `count` events and ends in the way that is named; `fork`: one more in the parent before."""
    track, flush = SDKS[name](port)
    if way.startswith("fork"):
        track(0)
        time.sleep(1.5)
        if os.fork() == 0:
            os._exit(in_child(track, flush, count, flushes=way == "fork_flush"))
        _, status = os.wait()
        sys.exit(os.waitstatus_to_exitcode(status))
    track(0)  # what is made at the first call
    began = time.thread_time()
    for n in range(1, count):
        track(n)
    if way == "cpu":
        print(1e6 * (time.thread_time() - began) / (count - 1), flush=True)
        os._exit(0)
    if way == "sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
