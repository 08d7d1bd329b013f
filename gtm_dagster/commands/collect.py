"""`gtm collect`: the collector alone."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import invocation

if TYPE_CHECKING:
    from gtm_dagster.collector.alerts import AskRollback, RollbackAnswer
    from gtm_dagster.collector.serve import TraceEvent
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

    from gtm_dagster.collector.serve import serve
    from gtm_dagster.taxonomy.plan_in_use import record_plan

    here = invocation(context)
    settings = here.settings
    if workers is not None:
        collector = msgspec.structs.replace(settings.collector, workers=workers)
        settings = msgspec.structs.replace(settings, collector=collector)
    record_plan(settings.state_dir, here.plan, "gtm collect")
    port = settings.collector.port if port is None else port
    serve(settings, host or settings.collector.host, port, _ask_rollback(settings), _trace_event(settings))


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


COMMANDS = (Command("collect", collect, order=30),)
