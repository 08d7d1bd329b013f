"""`gtm trigger run`: rules in shards over Kafka."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Problem, invocation, note
from gtm_dagster.commands.stream import asked_to_stop
from gtm_dagster.commands.trigger_options import rules_of, rules_path

if TYPE_CHECKING:
    from gtm_dagster.commands.output import Invocation
    from gtm_dagster.triggers.live_figures import LiveFigures
    from gtm_dagster.triggers.sharded.resolver_process import ResolverProcess
    from gtm_dagster.triggers.sharded.shard_topics import ShardTopics

ENGINES = ("kafka", "flink")
PARTS = ("resolver", "worker", "outbox")
RESOLVER_PAUSE = 0.02


def run(
    context: typer.Context,
    part: Annotated[
        list[str] | None,
        typer.Option("--part", help="resolver, worker or outbox; several with several --part. Default: all three."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of this worker, the same at every start. Default: host and process id.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Of the worker: kafka, or flink for all shards as one job of Flink.")
    ] = "kafka",
    flink: Annotated[Path, typer.Option(help="Where scripts/install-flink put PyFlink.")] = Path(".cache/flink"),
    from_start: Annotated[
        bool, typer.Option("--from-start", help="A resolver that never ran begins at the log's start, not at its end.")
    ] = False,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Serve metrics at this port of stream.metrics_host. Default: nowhere.")
    ] = 0,
) -> None:
    """Run the rules in shards over the topics of trigger_shards until Ctrl-C: one resolver, any number of workers, one outbox."""
    from gtm_dagster.eventlog.log import EventLogError
    from gtm_dagster.triggers.live_figures import LiveFigures
    from gtm_dagster.triggers.sharded.flink_worker import FlinkError, FlinkWorker, flink_python
    from gtm_dagster.triggers.sharded.shard_loops import PartThread
    from gtm_dagster.triggers.sharded.shard_topics import ShardError, ShardTopics
    from gtm_dagster.triggers.sharded.shard_worker import ShardWorker

    here = invocation(context)
    settings = here.settings
    parts = tuple(part or PARTS)
    for each in parts:
        if each not in PARTS:
            raise Problem(f"--part {each}: give resolver, worker or outbox", 2)
    if engine not in ENGINES:
        raise Problem(f"--engine {engine}: give kafka or flink", 2)
    if engine == "flink" and "worker" in parts and metrics_port:
        raise Problem(
            "--metrics-port: a job of Flink has no metrics of rules; `gtm trigger status` says how its shards stand. Run the other "
            "parts with metrics in a process of their own: --part resolver --part outbox",
            2,
        )
    if settings.trigger_shards is None:
        raise Problem(
            'trigger_shards is not set: name brokers and a prefix of topics, "kafka://host:9092/gtm"; without Kafka, `gtm stream` '
            "runs the rules",
            2,
        )
    topics = ShardTopics.at(settings.trigger_shards, settings.kafka)
    try:
        if engine == "flink":
            flink_python(topics, flink)
        shards = topics.ensure(settings.kafka.partitions)
    except FlinkError as error:
        raise Problem(str(error), 2) from None
    except (ShardError, EventLogError) as error:
        raise Problem(str(error)) from None
    worker = name or f"{socket.gethostname()}.{os.getpid()}"
    figures = LiveFigures()
    errors = figures.part_errors
    with ExitStack() as running:
        if metrics_port:
            _serve(running, figures, settings.stream.metrics_host, metrics_port)
        if "resolver" in parts:
            rules_of(here, rules_path(here, None))
            make = lambda: _resolver(here, topics, shards, figures, from_start=from_start)  # noqa: E731
            running.enter_context(PartThread("resolver", make, errors, RESOLVER_PAUSE))
        if "worker" in parts and engine == "flink":
            job = lambda: FlinkWorker(topics, shards, flink, settings.state_dir)  # noqa: E731
            running.enter_context(PartThread("job", job, errors))
        elif "worker" in parts:
            running.enter_context(PartThread("worker", lambda: ShardWorker(topics, worker, figures=figures), errors))
        if "outbox" in parts:
            from gtm_dagster.triggers.sharded.outbox_process import OutboxProcess
            from gtm_dagster.triggers.trigger_db import trigger_db_path

            path = trigger_db_path(settings.state_dir)
            running.enter_context(PartThread("outbox", lambda: OutboxProcess(topics, path), errors))
        note(f"trigger run: {', '.join(parts)} over {settings.trigger_shards}, {shards} shards")
        stop = running.enter_context(asked_to_stop())
        stop.wait()


def _serve(running: ExitStack, figures: LiveFigures, host: str, port: int) -> None:
    from gtm_dagster.monitoring import process_registry
    from gtm_dagster.monitoring.metrics_page import metrics_page
    from gtm_dagster.triggers.trigger_metrics import TriggerMetrics

    registry = process_registry("trigger_run")
    registry.register(TriggerMetrics(figures))
    try:
        address = running.enter_context(metrics_page(registry, host, port))
    except OSError as error:
        raise Problem(f"--metrics-port {port}: {host}:{port} cannot be listened on ({error.strerror})") from None
    note(f"trigger run: metrics at {address}")


def _resolver(
    here: Invocation, topics: ShardTopics, shards: int, figures: LiveFigures, *, from_start: bool
) -> ResolverProcess:
    from gtm_dagster.eventlog import open_log
    from gtm_dagster.triggers.rules_watch import RulesWatch
    from gtm_dagster.triggers.sharded.resolver_process import ResolverProcess

    log = open_log(here.settings)
    try:
        watch = RulesWatch(rules_path(here, None), here.plan)
        return ResolverProcess(log, topics, watch, shards, from_start=from_start, figures=figures)
    except BaseException:
        log.close()
        raise


COMMANDS = (Command("trigger run", run, order=35),)
