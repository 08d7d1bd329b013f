"""`python -m gtm_dagster.orchestration.web_ui`: Dagster's web UI, which listens to its own pages and to programs alone."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_MAX_OVERFLOW, DEFAULT_POOL_RECYCLE
from dagster_webserver.version import __version__

from gtm_dagster.orchestration.code_locations import wait_for_code
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.orchestration.own_requests import OwnRequests
from gtm_dagster.settings import load_settings

GRACE_SECONDS = 5
_POLL_MILLISECONDS = 2000


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m gtm_dagster.orchestration.web_ui", description=__doc__)
    options.add_argument("-w", "--workspace", type=Path, default=Path("workspace.yaml"))
    options.add_argument("--host", default="127.0.0.1", help="address to listen on, and a name to be asked by")
    options.add_argument("--port", type=int, default=3000)
    options.add_argument(
        "--name", action="append", default=[], help="a further name to be asked by, as behind a reverse proxy"
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Reads the deployment's settings for the place of the run history."""
    given = parser().parse_args(arguments)
    os.environ.setdefault("DAGSTER_IS_DEV_CLI", "1")  # short messages where code cannot be loaded
    configure_loggers(log_level="INFO")
    setup_interrupt_handlers()
    with instance_of(load_settings()) as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        wait_for_code(given.workspace)
        with WorkspaceProcessContext(
            instance, WorkspaceFileTarget([str(given.workspace)]), version=__version__, code_server_log_level="warning"
        ) as workspace:
            app = create_app_from_workspace_process_context(workspace, "", _POLL_MILLISECONDS)
            uvicorn.run(
                OwnRequests(app, [given.host, *given.name]),
                host=given.host,
                port=given.port,
                log_level="warning",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )


if __name__ == "__main__":
    main()
