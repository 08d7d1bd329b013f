"""What sending trigger messages costs, and how long a message takes while another destination is dead.

`python -m benchmarks.delivery [--messages N]`: a receiver in a process of its own on loopback, a worker, and who adds
messages, each over its own connection to one file. Prints CPU seconds of the deliverer beside wall times, and the load.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Any

from gtm_dagster.delivery.message_outbox import Message, add_messages
from gtm_dagster.delivery.message_store import open_database
from gtm_dagster.delivery.message_templates import MessageTemplates
from gtm_dagster.delivery.message_worker import MessageWorker
from gtm_dagster.delivery.worker_wiring import Wiring
from gtm_dagster.settings.destinations import Destination

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WAIT_SECONDS = 120.0


def receive(pipe: Connection) -> None:
    """A receiver that notes when each webhook-id came; sends its port, and the times when it is asked."""
    came: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open, as with most receivers
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            came.setdefault(self.headers["webhook-id"], time.monotonic_ns())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *values: Any) -> None:
            """Not a line a request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket.listen(1024)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_port)
    while pipe.recv() != "end":
        pipe.send(dict(came))


def message(action_id: str, target: str) -> Message:
    """A message that is due now."""
    now = time.time_ns() // 1000
    payload = {
        "key": None,
        "event": {"id": action_id, "name": "checkout_started", "properties": {"plan": "pro", "amount": 49.0}},
    }
    return Message(
        action_id=action_id, rule="r", person="0" * 32, purpose="service", channel="webhook", target=target,
        payload=payload, expires_us=now + 10**10, received_us=now, decided_us=now,
    )  # fmt: skip


def destination(name: str, port: int, in_flight: int = 4) -> Destination:
    """A destination on loopback whose rate is no limit."""
    return Destination(
        name=name, url=f"http://127.0.0.1:{port}/hook", secret_env="S", allow=("127.0.0.0/8",), per_second=10_000.0,
        in_flight=in_flight, timeout_seconds=10.0,
    )  # fmt: skip


def add(con: sqlite3.Connection, *messages: Message) -> None:
    """As a runner does: in one durable transaction."""
    con.execute("BEGIN IMMEDIATE")
    add_messages(con, messages)
    con.execute("COMMIT")


class Bench:
    """One receiver, and a worker a measurement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pipe, other = multiprocessing.Pipe()
        self.receiver = multiprocessing.Process(target=receive, args=(other,), daemon=True)
        self.receiver.start()
        self.port = int(self.pipe.recv())

    def came(self) -> dict[str, int]:
        """When each message came (monotonic nanoseconds)."""
        self.pipe.send("came")
        return dict(self.pipe.recv())

    def run(
        self, title: str, *, at_once: int = 0, paced: int = 0, dead_port: int | None = None, wake: bool = False
    ) -> None:
        """Send `at_once` messages that lie there, then `paced` ones 20 ms apart; 500 more wait for a destination that is dead."""
        path = self.folder / f"{title}.db"
        destinations = [destination("good", self.port)]
        with closing(open_database(path)) as con:
            if dead_port is not None:
                destinations.append(destination("dead", dead_port))
                add(con, *(message(f"{title}-dead-{n}", "dead") for n in range(500)))
            add(con, *(message(f"{title}-{n}", "good") for n in range(at_once)))
            wiring = Wiring(destinations, {"S": SECRET}, MessageTemplates(self.folder), lambda con, message: None)
            worker, stop = MessageWorker(path, wiring), threading.Event()
            thread = threading.Thread(target=worker.run, args=(stop,))
            wall, cpu = time.perf_counter(), time.process_time()
            thread.start()
            added: dict[str, int] = {}
            for n in range(paced):
                time.sleep(0.02)
                begun = time.monotonic_ns()
                add(con, message(f"{title}-{n}", "good"))
                added[f"{title}-{n}"] = begun
                if wake:
                    worker.wake()
            expected = at_once + paced
            while (
                sum(each.startswith(title) for each in self.came()) < expected
                and time.perf_counter() < wall + WAIT_SECONDS
            ):
                time.sleep(0.05)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            stop.set()
            thread.join()
            worker.close()
            came = {name: at for name, at in self.came().items() if name.startswith(title)}
        report(title, len(came), expected, wall, cpu, [came[name] - at for name, at in added.items() if name in came])


def report(title: str, sent: int, expected: int, wall: float, cpu: float, took_ns: list[int]) -> None:
    """One line."""
    line = f"{title:<24} {sent:>5} of {expected:>5} delivered   wall {wall:6.2f} s   CPU {cpu:6.2f} s   {1e3 * cpu / max(sent, 1):5.2f} ms CPU each"
    if len(took_ns) > 1:
        cuts = quantiles([each / 1e6 for each in took_ns], n=100)
        line += f"   added -> received p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f}, p99 {cuts[98]:.0f}"
    print(f"{line}   load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000)
    number = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=64) as hung:
        bench = Bench(Path(folder))
        bench.run("backlog", at_once=number)
        bench.run("paced", paced=number // 4)
        bench.run("paced, woken", paced=number // 4, wake=True)
        bench.run("beside one that hangs", paced=number // 4, dead_port=hung.getsockname()[1])
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        bench.run("beside one that is gone", paced=number // 4, dead_port=port)
        bench.pipe.send("end")
        bench.receiver.join()


if __name__ == "__main__":
    main()
