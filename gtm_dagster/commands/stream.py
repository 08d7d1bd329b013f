"""`gtm stream`: the stream worker in this process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note, say, say_json
from gtm_dagster.commands.stream_metrics import Counting, stream_metrics
from gtm_dagster.commands.stream_triggers import live_rules, rules_once, warm_us

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.providers import FlagState, FlagWriter
    from gtm_dagster.settings import Guard, Settings
    from gtm_dagster.stream import Worker
    from gtm_dagster.triggers.trigger_delivery import MessageThread

WATCH_SECONDS = 10.0
OUTBOX_SECONDS = 5.0
PRUNE_US = 3_600_000_000


def stream(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Count what the log holds now, then end.")] = False,
    warm: Annotated[
        str | None,
        typer.Option(help="At the first start with rules: fill their state with this past (7d), send nothing."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Count exposures and conversions of the guarded flags from the event log until Ctrl-C, and run behavioural rules.
    Exit 1: a guard is behind."""
    from gtm_dagster.eventlog import log_place, open_log
    from gtm_dagster.opsstore import OpsStore, OpsStoreReplacedError
    from gtm_dagster.stream import GuardReducer, SideTasks, StreamLock, Watcher, Worker
    from gtm_dagster.stream.watchdog import LOOK_SECONDS

    here, past_us, turn = invocation(context), warm_us(warm), threading.Lock()
    settings = here.settings
    for error in settings.guard_errors:
        note(f"left out: {error}")
    with (
        StreamLock(settings.state_dir).hold("gtm stream", 2.0),
        OpsStore.of(settings) as store,
        open_log(settings) as log,
    ):
        worker = Worker(log, store, [GuardReducer(store, settings.watched)])
        watcher = Watcher(store, settings.watched, _watch(settings))
        if once:
            watcher.look()
            worker.once()
            rules_once(here, log, past_us)
        else:
            note(f"stream: {_guards(settings)}, from offset {worker.offset} of {log_place(settings)}")
            with (
                asked_to_stop() as stop,
                live_rules(here, log, past_us, turn) as rules,
                stream_metrics(worker, log, store, settings, rules) as (measuring, count, registry),
            ):
                works = {
                    "flags": (WATCH_SECONDS, watcher.look),
                    "outbox": (OUTBOX_SECONDS, _deliver(store, settings, count)),
                    "watch": (LOOK_SECONDS, _watchdog(worker, store, settings)),
                    **measuring,
                }
                with SideTasks(works), _messages(settings, store, registry, turn) as messages:
                    if rules is not None and messages is not None:
                        rules.on_messages = messages.wake
                    try:
                        worker.run(stop)
                    except OpsStoreReplacedError as error:
                        raise Problem(str(error)) from None
        return _tell(worker, settings, as_json)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _messages(
    settings: Settings, store: OpsStore, registry: CollectorRegistry | None, turn: threading.Lock
) -> AbstractContextManager[MessageThread | None]:
    """The messages of triggers, sent beside the counting where there is a file of rules."""
    if settings.triggers_file is None:
        return nullcontext()
    from gtm_dagster.commands.message_delivery import worker_maker
    from gtm_dagster.triggers.trigger_delivery import MessageThread

    return MessageThread(worker_maker(settings, store, registry, turn))


def _deliver(store: OpsStore, settings: Settings, count: Counting) -> Callable[[], object]:
    """The side task that sends the messages that are due, and deletes old ones; `count` gets the attempts."""
    from gtm_dagster.delivery import Deliverer

    deliverer, pruned_us = Deliverer(store, settings), 0

    def deliver() -> None:
        nonlocal pruned_us
        now_us = time.time_ns() // 1000
        count(deliverer.round(now_us))
        if now_us - pruned_us >= PRUNE_US:
            store.prune_notifications(now_us)
            pruned_us = now_us

    return deliver


def _watchdog(worker: Worker, store: OpsStore, settings: Settings) -> Callable[[], object]:
    """The side task that says this worker lives, as long as it goes on, and watches the collector and the guards' sensor."""
    from gtm_dagster.stream.watchdog import COLLECTOR, SENSOR, STREAM, Watchdog, beat_of_collector

    watchdog = Watchdog(store, settings, (COLLECTOR, SENSOR))
    rounds = -1

    def look() -> None:
        nonlocal rounds
        if worker.rounds != rounds:
            rounds = worker.rounds
            store.beat(STREAM, time.time_ns() // 1000)
        beat_of_collector(store, settings)
        watchdog.look()

    return look


def _watch(settings: Settings) -> Callable[[Guard], FlagState]:
    """The side task's reading of a guard's flag; the client of each provider is created on first use."""
    from gtm_dagster.rollout.providers import writer_for

    writers: dict[str, FlagWriter] = {}

    def watch(guard: Guard) -> FlagState:
        if guard.provider not in writers:
            writers[guard.provider] = writer_for(settings.provider_of(guard), os.environ)
        return writers[guard.provider].read_back(guard.flag, guard.environment)

    return watch


def _guards(settings: Settings) -> str:
    """The declared guards, as `gtm guard status` counts them; the drill's canary is watched besides and none of them."""
    declared = len(settings.guards)
    return f"{declared or 'no'} guard{'' if declared == 1 else 's'} declared"


def _tell(worker: Worker, settings: Settings, as_json: bool) -> int:
    behind = worker.behind()
    document = {
        "offset": worker.offset,
        "changed_units": worker.changed,
        "guards": len(settings.guards),
        "behind": behind,
    }
    if as_json:
        say_json(document)
    else:
        say(f"offset {worker.offset}, {worker.changed} units counted or corrected, {_guards(settings)}")
    for key in behind:
        note(f"behind: {key}; its flag's watermark stands still until it is counted")
    sys.stdout.flush()
    return 1 if behind else 0


COMMANDS = (Command("stream", stream, order=40),)
