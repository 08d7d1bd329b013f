"""A micro collector that serves from a thread of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gtm_dagster.privacy.consent import REQUIRED, ConsentPolicy
from gtm_dagster.taxonomy import Plan, load_plan

if TYPE_CHECKING:
    from gtm_dagster.micro.micro_app import MicroApp
    from gtm_dagster.tracking import GtmTracker

_READY_SECONDS = 10.0


class RunningMicro:
    """What a test asks: `url` takes events by every protocol of the collector, the methods say what came of them."""

    def __init__(self, url: str, app: MicroApp, plan: Plan) -> None:
        self.url = url
        self._app = app
        self._plan = plan
        self._trackers: list[GtmTracker] = []

    def tracker(self, **options: Any) -> GtmTracker:
        """A tracker that sends here by the plan of this micro; the options are those of `GtmTracker`."""
        from gtm_dagster.tracking import GtmTracker

        options = {"plan": self._plan, "flush_interval": 0.05, "handle_sigterm": False, **options}
        self._trackers.append(GtmTracker(self.url, "micro", **options))
        return self._trackers[-1]

    def counts(self) -> dict[str, int]:
        """Numbers of events: total, accepted, duplicates, quarantined, suppressed; and of refused requests."""
        self._deliver(5.0)
        return self._app.log.counts()

    def good(self, event_name: str | None = None, *, count: int = 0, timeout: float = 5.0) -> list[dict[str, Any]]:
        """The accepted events, those of a name where one is given, in the order of their arrival.

        Waits until there are `count` of them, for at most `timeout` seconds; then gives what there is. What the trackers
        of this micro still have to send is sent first.
        """
        deadline = time.monotonic() + timeout
        self._deliver(timeout)
        while True:
            found = [event for event in self._app.log.good() if event_name in (None, event["event_name"])]
            if len(found) >= count or time.monotonic() >= deadline:
                return found
            time.sleep(0.01)

    def bad(self) -> list[dict[str, Any]]:
        """What was not accepted, with every reason."""
        self._deliver(5.0)
        return self._app.log.bad()

    def _deliver(self, seconds: float) -> None:
        """Sends what the trackers of this micro still have."""
        deadline = time.monotonic() + seconds
        for tracker in self._trackers:
            tracker.flush(max(0.0, deadline - time.monotonic()))

    def reset(self) -> None:
        """Forgets everything, and closes the trackers."""
        for tracker in self._trackers:
            tracker.close(1)
        self._trackers.clear()
        self._app.log.reset()


@contextmanager
def running_micro(plan: Plan | None = None, consent: ConsentPolicy = REQUIRED) -> Iterator[RunningMicro]:
    """A micro collector on a free port of 127.0.0.1; ends with the block.

    `plan`: default the packaged one. Raises ModuleNotFoundError without the extra `collector`, RuntimeError when it does
    not start within 10 s.
    """
    from gtm_dagster.collector.serve import _free
    from gtm_dagster.collector.server_exit import threads_end
    from gtm_dagster.micro.micro_app import MicroApp

    plan = plan or load_plan()
    app, port = MicroApp(plan, consent), _free("127.0.0.1", 0)
    stop = threading.Event()
    serving = threading.Thread(target=lambda: asyncio.run(serve_app(app, "127.0.0.1", port, stop)), daemon=True)
    micro = RunningMicro(f"http://127.0.0.1:{port}", app, plan)
    with threads_end():
        serving.start()
        try:
            _wait_until_ready(port, serving)
            yield micro
        finally:
            micro.reset()
            stop.set()
            serving.join(_READY_SECONDS)


async def serve_app(app: MicroApp, address: str, port: int, stop: threading.Event) -> None:
    """Serves until `stop` is set."""
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    server = Server(
        app, address=address, port=port, interface=Interfaces.ASGI, http=HTTPModes.http1, websockets=False,
        log_enabled=False,
    )  # fmt: skip
    serving = asyncio.create_task(server.serve())
    while not stop.is_set() and not serving.done():
        await asyncio.sleep(0.02)
    server.stop()
    await serving


def _wait_until_ready(port: int, serving: threading.Thread) -> None:
    import socket

    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and serving.is_alive():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"the micro collector did not start on 127.0.0.1:{port}")
