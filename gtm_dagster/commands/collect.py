"""`gtm collect`: the collector alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Problem, invocation

if TYPE_CHECKING:
    from gtm_dagster.collector.alerts import AskRollback, RollbackAnswer
    from gtm_dagster.collector.app import Handler
    from gtm_dagster.collector.server_process import TraceEvent
    from gtm_dagster.settings import Settings


def collect(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: collector.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: collector.port.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that serve the port; default: collector.workers.")
    ] = None,
) -> None:
    """Run the collector: POST /ingest until Ctrl-C."""
    import msgspec

    from gtm_dagster.collector.serve import Services, serve
    from gtm_dagster.taxonomy.plan_in_use import record_plan

    here = invocation(context)
    settings = here.settings
    if workers is not None:
        collector = msgspec.structs.replace(settings.collector, workers=workers)
        settings = msgspec.structs.replace(settings, collector=collector)
    record_plan(settings.state_dir, here.plan, "gtm collect")
    port = settings.collector.port if port is None else port
    services = Services(_ask_rollback(settings), _trace_event(settings), _feed(settings))
    serve(settings, host or settings.collector.host, port, services)


def _ask_rollback(settings: Settings) -> AskRollback | None:
    """What stores the requests of alerting systems; None where the ops store's dependencies are not installed."""
    return partial(_ask, settings) if find_spec("sqlalchemy") and find_spec("numpy") else None


def _ask(settings: Settings, flag: str, caller: str, reason: str) -> RollbackAnswer:
    from gtm_dagster.rollout.control.external_rollback import request_rollback  # half a second, at the first request

    return request_rollback(settings, flag, caller, reason)


def _trace_event(settings: Settings) -> TraceEvent | None:
    """What looks up what became of an event; None where the dependencies of the warehouse are not installed."""
    return partial(_trace, settings) if find_spec("duckdb") and find_spec("pyarrow") else None


def _trace(settings: Settings, write_key: str, event_id: str) -> bytes | None:
    import msgspec

    from gtm_dagster.reports.event_trace import trace_event

    found = trace_event(settings, [write_key], event_id)
    return None if found is None else msgspec.json.encode(found)


def _feed(settings: Settings) -> Callable[[Callable[[str], str]], Handler] | None:
    """What serves the feeds of persons; None where there are no rules that could fill one."""
    if settings.triggers_file is None:
        return None
    from gtm_dagster.delivery.feed_key import FeedKeyError, feed_key
    from gtm_dagster.delivery.feed_pages import FeedPages
    from gtm_dagster.triggers.trigger_db import trigger_db_path

    try:
        key = feed_key(settings, os.environ)
    except FeedKeyError as error:
        raise Problem(str(error), 2) from None
    return partial(FeedPages, trigger_db_path(settings.state_dir), key)


COMMANDS = (Command("collect", collect, order=30),)
