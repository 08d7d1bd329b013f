"""`gtm micro`: a collector in memory for tests."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import invocation, say


def micro(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8381,
) -> None:
    """A collector in memory for tests: /micro/all, /micro/good, /micro/bad, /micro/reset.

    Plan, consent and limits are the deployment's; every write key is good, identifiers stay as sent, nothing is written.
    """
    import asyncio
    import signal
    import threading

    import msgspec

    from gtm_dagster.collector.serve import _free
    from gtm_dagster.micro.micro_app import MicroApp
    from gtm_dagster.micro.running_micro import serve_app
    from gtm_dagster.privacy.consent import consent_policy

    here = invocation(context)
    settings = here.settings
    limits = msgspec.structs.replace(settings.collector, cors_origins=("*",))
    app = MicroApp(here.plan, consent_policy(settings.privacy.consent), limits, settings.privacy.undeclared_text)
    port = _free(host, port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    say(f"micro: listening on http://{host}:{port} for every key; http://{host}:{port}/micro/all")
    asyncio.run(serve_app(app, host, port, stop))


COMMANDS = (Command("micro", micro, order=35),)
