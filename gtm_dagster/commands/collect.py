"""`gtm collect`: the collector alone."""

from __future__ import annotations

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
) -> None:
    """Run the collector: POST /ingest until Ctrl-C."""
    from gtm_dagster.collector.serve import serve
    from gtm_dagster.taxonomy.plan_in_use import record_plan

    here = invocation(context)
    settings = here.settings
    record_plan(settings.state_dir, here.plan, "gtm collect")
    port = settings.collector.port if port is None else port
    serve(settings, host or settings.collector.host, port, _ask_rollback(settings), _trace_event(settings))


def _ask_rollback(settings: Settings) -> AskRollback | None:
    """What stores the requests of alerting systems; None where the ops store's dependencies are not installed."""
    if find_spec("sqlalchemy") is None or find_spec("numpy") is None:
        return None

    def ask(flag: str, caller: str, reason: str) -> RollbackAnswer:
        from gtm_dagster.rollout.control.external_rollback import (
            request_rollback,
        )  # half a second, at the first request

        return request_rollback(settings, flag, caller, reason)

    return ask


def _trace_event(settings: Settings) -> TraceEvent | None:
    """What looks up what became of an event; None where the dependencies of the warehouse are not installed."""
    if find_spec("duckdb") is None or find_spec("pyarrow") is None:
        return None

    def trace(write_key: str, event_id: str) -> bytes | None:
        import msgspec

        from gtm_dagster.reports.event_trace import trace_event

        found = trace_event(settings, [write_key], event_id)
        return None if found is None else msgspec.json.encode(found)

    return trace


COMMANDS = (Command("collect", collect, order=30),)
