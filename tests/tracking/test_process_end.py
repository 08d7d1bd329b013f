"""However a process of a product ends, what it tracked arrives: real processes, and a real collector."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from collector_server import Server
from lateness import Lateness

from gtm_dagster.eventlog.sqlite import SqliteEventLog

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

START = """
import os, signal, sys, threading, time
from gtm_dagster.tracking import GtmTracker, process_end
process_end.EXIT_TIMEOUT = 20.0
url, spool = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
def track(start, count):
    for n in range(start, start + count):
        tracker.track("page_viewed", anonymous_id="a", event_id=f"event-{n}")
"""
"""What every program of a product begins with. It has more than the five seconds of an exit: in those a busy machine
delivered 450 of 1,007 events, and what is tested is that a process delivers all it has time for."""
TRACKER = "tracker = GtmTracker(url, 'dev', flush_interval=60, spool=spool)\n"
LATER = "threading.Event().wait(60); os._exit(9)\n"


class Deployment:
    """A collector, and programs that track against it."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.server = Server(state_dir)

    def run(self, script: str, *arguments: str, url: str | None = None) -> int:
        """The exit code of a program of a product."""
        command = [sys.executable, "-c", START + script, url or self.server.url, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    def delivered(self) -> int:
        """How many events are stored, each once; ends the collector."""
        assert self.server.stop(signal.SIGTERM) == 0
        with SqliteEventLog(self.state_dir / "events.db") as log:
            ids = Counter(log.read_arrow(0)[0].column("event_id").to_pylist()) if log.last_seq() else Counter()
        assert set(ids.values()) <= {1}
        assert set(ids) == {f"event-{n}" for n in range(len(ids))}
        return len(ids)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path / "state")
    yield deployment
    if deployment.server.process.poll() is None:
        deployment.server.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    ("script", "code", "events"),
    [
        pytest.param(TRACKER + "track(0, 1007)", 0, 1007, id="exit without flush"),
        pytest.param(TRACKER + "track(0, 1007); sys.exit(3)", 3, 1007, id="sys.exit"),
        pytest.param(
            TRACKER + "track(0, 1007); os.kill(os.getpid(), signal.SIGTERM); " + LATER, -signal.SIGTERM, 1007,
            id="SIGTERM: the process ends with the signal when all is sent",
        ),
        pytest.param(
            TRACKER + "track(0, 1007); os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, 1007,
            id="SIGTERM just before the end",
        ),
        pytest.param(
            "def end(*_): sys.exit(5)\nsignal.signal(signal.SIGTERM, end)\n" + TRACKER
            + "track(0, 1007); os.kill(os.getpid(), signal.SIGTERM); " + LATER, 5, 1007,
            id="SIGTERM: the application's handler is called",
        ),
        pytest.param(
            TRACKER + "def end(*_): track(1000, 7); sys.exit(5)\nsignal.signal(signal.SIGTERM, end)\n"
            "track(0, 1000); os.kill(os.getpid(), signal.SIGTERM); " + LATER, 5, 1007,
            id="a handler that came later, and tracks",
        ),
        pytest.param(
            TRACKER + "before = signal.getsignal(signal.SIGTERM)\ndef end(*args): track(1000, 7); before(*args)\n"
            "signal.signal(signal.SIGTERM, end)\nother = GtmTracker(url, 'dev')\n"
            "track(0, 1000); os.kill(os.getpid(), signal.SIGTERM); " + LATER, -signal.SIGTERM, 1007,
            id="a later handler that calls the one before it, and one more tracker",
        ),
        pytest.param(
            TRACKER + "track(0, 900)\nif os.fork() == 0:\n    track(900, 107); os.kill(os.getpid(), signal.SIGTERM); "
            + LATER + "_, status = os.wait(); sys.exit(os.waitstatus_to_exitcode(status) + 20)", 5, 1007,
            id="SIGTERM of a forked child",
        ),
    ],
)  # fmt: skip
def test_scenario_14_everything_arrives(deployment: Deployment, script: str, code: int, events: int) -> None:
    assert deployment.run(script) == code
    assert deployment.delivered() == events


FORK = """
track(0, 1)
assert tracker.flush(30)
if os.fork() == 0:
    track(1, 20)
    CHILD
track(21, 20)
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""
WORK = "import multiprocessing\n" + TRACKER + "context = multiprocessing.get_context('fork')\n"


CELERY = """
import types
class Signal:
    receivers = {}
    def connect(self, receiver, *, weak, dispatch_uid): self.receivers[dispatch_uid] = receiver
signals = types.ModuleType("celery.signals")
signals.worker_process_shutdown = Signal()
sys.modules["celery.signals"] = signals
"""
"""What a worker of Celery has: its signals, and an end by os._exit."""
SHUTDOWN = "[receiver(sender=None, pid=1, exitcode=0) for receiver in Signal.receivers.values()]; os._exit(0)"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(TRACKER + FORK.replace("CHILD", "sys.exit(0)"), id="os.fork, as gunicorn's workers"),
        pytest.param(CELERY + TRACKER + FORK.replace("CHILD", SHUTDOWN), id="a worker of Celery"),
        pytest.param(
            TRACKER + FORK.replace("CHILD", "os._exit(0 if tracker.flush(10) else 4)"), id="a flush in the child"
        ),
        pytest.param(TRACKER + FORK.replace("CHILD", "tracker.close(); os._exit(0)"), id="os._exit after a close"),
        pytest.param(
            WORK + "track(0, 21)\nchild = context.Process(target=track, args=(21, 20)); child.start(); child.join()\n"
            "sys.exit(child.exitcode)", id="multiprocessing, where no hook of atexit runs",
        ),
        pytest.param(
            WORK + "def work():\n    global tracker\n    tracker = GtmTracker(url, 'dev', flush_interval=60); track(0, 41)\n"
            "tracker.close(); child = context.Process(target=work); child.start(); child.join(); sys.exit(child.exitcode)",
            id="a tracker made in a process of multiprocessing",
        ),
        pytest.param(
            WORK + "def work():\n    track(0, 41); os.kill(os.getppid(), 0); time.sleep(30)\n"
            "child = context.Process(target=work); child.start()\nwhile not child.join(0.5) and child.is_alive(): child.terminate()\n"
            "sys.exit(child.exitcode + 15)", id="terminate() of a process of multiprocessing",
        ),
    ],
)  # fmt: skip
def test_scenario_14_a_parent_and_its_child_each_deliver_their_own(deployment: Deployment, script: str) -> None:
    assert deployment.run(script) == 0
    assert deployment.delivered() == 41


@pytest.mark.parametrize(
    "ended",
    [
        pytest.param("track(0, 1007); os.kill(os.getpid(), signal.SIGKILL)", id="kill -9"),
        pytest.param(
            "track(0, 900)\nif os.fork() == 0:\n    track(900, 107); os.kill(os.getpid(), signal.SIGKILL)\n"
            "os.wait(); os.kill(os.getpid(), signal.SIGKILL)", id="kill -9 of a parent and its forked child",
        ),
        pytest.param(
            "track(0, 900)\nif os.fork() == 0:\n    track(900, 107); os._exit(0)\nos.wait(); os._exit(0)",
            id="os._exit of both",
        ),
    ],
)  # fmt: skip
def test_scenario_14_what_a_kill_left_is_delivered_by_the_next_process(
    deployment: Deployment, tmp_path: Path, ended: str
) -> None:
    spool = tmp_path / "spool.jsonl"
    assert deployment.run(TRACKER + ended, str(spool)) in (-signal.SIGKILL, 0)
    assert deployment.run(TRACKER, str(spool)) == 0
    assert deployment.delivered() == 1007
    assert sorted(path.name for path in tmp_path.glob("spool*")) == ["spool.jsonl", "spool.jsonl.lock"]
    assert spool.read_bytes() == b""


def test_the_spool_of_a_parent_stays_locked_when_it_forks(deployment: Deployment, tmp_path: Path) -> None:
    script = TRACKER + (
        "if os.fork() == 0: os._exit(0)\nos.wait()\n"
        "try: GtmTracker(url, 'dev', spool=spool)\nexcept ValueError as error: sys.exit('in use' not in str(error))\nsys.exit(7)"
    )
    assert deployment.run(script, str(tmp_path / "spool")) == 0


def test_scenario_14_a_collector_that_is_away_costs_nothing_but_time(tmp_path: Path) -> None:
    """The process outlives the outage: nothing is lost, and `track` and `flush` go on meanwhile."""
    keeper = socket.socket()  # that nobody else listens there meanwhile; one that only is bound gets no connection
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    port = keeper.getsockname()[1]
    script = (
        "tracker = GtmTracker(url, 'dev', flush_interval=0.2, retries=1)\ntrack(0, 1000)\n"
        "began = time.monotonic(); assert not tracker.flush(1); assert time.monotonic() - began < 5\ntrack(1000, 7)\n"
        "print('tracked', flush=True); sys.stdin.readline()\n"
        "while tracker.stats().waiting: tracker.flush(5)\n"
        "assert tracker.stats().dropped == 0"
    )
    command = [sys.executable, "-c", START + script, f"http://127.0.0.1:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as product:
        assert product.stdout is not None and product.stdin is not None
        assert product.stdout.readline() == "tracked\n"
        deployment = Deployment.__new__(Deployment)
        deployment.state_dir = tmp_path / "state"
        deployment.server = Server(deployment.state_dir, port)
        product.stdin.write("\n")
        product.stdin.flush()
        assert product.wait(90) == 0
    keeper.close()
    assert deployment.delivered() == 1007


def test_an_exit_waits_five_seconds_at_most_for_a_collector_that_is_silent() -> None:
    """As it is shipped: a product that ends is not kept by its tracking."""
    shipped = START.replace("process_end.EXIT_TIMEOUT = 20.0\n", "assert process_end.EXIT_TIMEOUT == 5.0\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-c", shipped + TRACKER + "track(0, 3); print('tracked', flush=True)", url]
        with Lateness() as late, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as product:
            assert product.stdout is not None and product.stdout.readline() == "tracked\n"
            began = time.monotonic()
            assert product.wait(60) == 0
            took = time.monotonic() - began
    assert 3 < took < 7 + late.lost


def test_the_signal_is_left_alone_where_it_cannot_or_shall_not_be_hooked() -> None:
    script = (
        "before = signal.getsignal(signal.SIGTERM)\n"
        "def make(**options): made.append(GtmTracker('http://127.0.0.1:1', 'k', **options))\nmade = []\n"
        "make(handle_sigterm=False); assert signal.getsignal(signal.SIGTERM) is before\n"
        "thread = threading.Thread(target=make); thread.start(); thread.join(); assert len(made) == 2\n"
        "assert signal.getsignal(signal.SIGTERM) is before\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); make(); assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN\n"
        "signal.signal(signal.SIGTERM, before); make(); assert signal.getsignal(signal.SIGTERM) is not before\n"
    )
    done = subprocess.run([sys.executable, "-c", START + script, "-"], capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stderr) == (0, "")
