"""`gtm collect`: the collector alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Problem, invocation

if TYPE_CHECKING:
    from gtm_dagster.collector.alerts import AskRollback, RollbackAnswer
    from gtm_dagster.collector.app import Handler
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
    serve(settings, host or settings.collector.host, port, _ask_rollback(settings), _feed(settings))


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
    return lambda pseudonymize: FeedPages(trigger_db_path(settings.state_dir), key, pseudonymize)


COMMANDS = (Command("collect", collect, order=30),)
