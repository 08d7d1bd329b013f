"""What 500 events a second cost the process of `gtm stream`, in CPU, on a machine whose wall times say nothing.

`python -m benchmarks.trigger_cost [--rules N] [--ticks N] [--profile]`: one tick is 20 ms of traffic: 10 events are committed
by another process, the rules take them, the deliverer sends what is due to a receiver that is a third process. Ticks come as
fast as they go, with no pause, so a busy machine changes how long they take and not what is done in one: CPU a tick / 20 ms
is the share of a core. What is left out is waiting: the looks at the log while nothing comes (see `--idle`).
"""

from __future__ import annotations

import argparse
import cProfile
import multiprocessing
import os
import pstats
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.delivery import SECRET, destination, receive
from benchmarks.trigger_path import SETTINGS, cpu_of, wait_until_it_follows
from benchmarks.triggers import machine_clock, records, rules_text, say
from gtm_dagster.delivery.message_templates import MessageTemplates
from gtm_dagster.delivery.message_worker import MessageWorker
from gtm_dagster.delivery.worker_wiring import Wiring
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.triggers.consent_at_delivery import refused_meanwhile
from gtm_dagster.triggers.live_runner import LiveRunner
from gtm_dagster.triggers.rules_watch import RulesWatch

EVENTS_A_TICK, TICK_SECONDS = 10, 0.02
WARM_TICKS = 300
"""Until counts and absences lead to messages as they do later."""


def write(pipe: Connection, path: str) -> None:
    """Append a tick's events whenever it is asked to."""
    with SqliteEventLog(Path(path)) as log:
        pipe.send("ready")
        while (number := pipe.recv()) is not None:
            with log.receiving():
                log.append(records(EVENTS_A_TICK, number, machine_clock()))
            pipe.send(number)


def measure(n_rules: int, ticks: int, profile: bool) -> None:
    """One line: CPU of rules, of delivery, and of both together, as a share of a core at 500 events a second."""
    writing, writer_end = multiprocessing.Pipe()
    receiving, receiver_end = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "triggers.yaml").write_text(rules_text(n_rules))
        log_path, path = folder / "events.db", folder / "triggers.db"
        others = [
            multiprocessing.Process(target=write, args=(writer_end, str(log_path)), daemon=True),
            multiprocessing.Process(target=receive, args=(receiver_end,), daemon=True),
        ]
        for other in others:
            other.start()
        port = receiving.recv()
        writing.recv()
        log = SqliteEventLog(log_path)
        turn = threading.Lock()
        runner = LiveRunner(log, log_path, path, RulesWatch(folder / "triggers.yaml", load_plan()), turn=turn)
        runner.drain()
        wiring = Wiring(
            [destination("w", port, in_flight=16)],
            {"S": SECRET},
            MessageTemplates(folder),
            refused_meanwhile,
            turn=turn,
        )
        worker = MessageWorker(path, wiring, woken=True)
        profiler = cProfile.Profile(time.thread_time)
        rules_cpu, used, sent = 0.0, 0.0, 0
        for number in range(WARM_TICKS + ticks):
            if number == WARM_TICKS:
                rules_cpu, used, sent = 0.0, time.process_time(), runner.figures.sent
                if profile:
                    profiler.enable()
            writing.send(number)
            writing.recv()
            began, before = time.thread_time(), runner.figures.sent
            while runner.round():
                pass
            rules_cpu += time.thread_time() - began
            if runner.figures.sent != before:
                worker.round()
        profiler.disable()
        cpu, sent = time.process_time() - used, runner.figures.sent - sent
        while worker.settle():
            pass
        worker.close()
        runner.close()
        log.close()
        writing.send(None)
        receiving.send("end")
        for other in others:
            other.join()
    seconds = ticks * TICK_SECONDS
    say(
        f"{n_rules} rules, {EVENTS_A_TICK / TICK_SECONDS:.0f} events/s: {cpu / seconds:.1%} of a core, of it rules "
        f"{rules_cpu / seconds:.1%} and delivery {(cpu - rules_cpu) / seconds:.1%} of {sent / seconds:.0f} messages/s "
        f"({1e3 * (cpu - rules_cpu) / max(sent, 1):.2f} ms each)"
    )
    if profile:
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(45).print_callers("'execute")


def idle(n_rules: int, seconds: float) -> None:
    """One line: the share of a core of a `gtm stream` to which nothing comes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "triggers.yaml").write_text(rules_text(n_rules))
        (folder / "gtm.toml").write_text(SETTINGS.format(port=9))
        (folder / "state").mkdir()
        environment = {**os.environ, "GTM_CONFIG": str(folder / "gtm.toml"), "BENCH_SECRET": SECRET}
        worker = subprocess.Popen([sys.executable, "-m", "gtm_dagster.cli", "stream"], cwd=folder, env=environment)
        try:
            wait_until_it_follows(folder / "state" / "triggers.db")
            time.sleep(10.0)
            used, began = cpu_of(worker.pid), time.monotonic()
            time.sleep(seconds)
            say(f"idle, {n_rules} rules: {(cpu_of(worker.pid) - used) / (time.monotonic() - began):.2%} of a core")
        finally:
            worker.terminate()
            worker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, nargs="*", default=[20, 100])
    parser.add_argument("--ticks", type=int, default=1500)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="measure an idle process instead")
    given = parser.parse_args()
    for n_rules in given.rules:
        if given.idle:
            idle(n_rules, given.idle)
        else:
            measure(n_rules, given.ticks, given.profile)


if __name__ == "__main__":
    main()
