"""`python -m gtm_dagster.orchestration.daemon`: Dagster's daemon, which evaluates sensors and schedules and starts runs."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

from gtm_dagster.orchestration.code_locations import wait_for_code
from gtm_dagster.orchestration.guard_watch import GuardWatch
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.settings import load_settings
from gtm_dagster.stream import SideTasks
from gtm_dagster.stream.watchdog import LOOK_SECONDS


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m gtm_dagster.orchestration.daemon", description=__doc__)
    options.add_argument("-w", "--workspace", type=Path, default=Path("workspace.yaml"))
    options.add_argument(
        "--log-level", default="warning", help="info also tells of each tick of a sensor, which the web UI shows"
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Work until SIGINT or SIGTERM. Reads the deployment's settings for the place of the run history."""
    given = parser().parse_args(arguments)
    os.environ.setdefault("DAGSTER_IS_DEV_CLI", "1")  # short messages where code cannot be loaded
    setup_interrupt_handlers()
    try:
        settings = load_settings()
        with capture_interrupts(), instance_of(settings) as instance:
            wait_for_code(given.workspace)
            target = WorkspaceFileTarget([str(given.workspace)])
            with (
                daemon_controller_from_instance(
                    instance, target, code_server_log_level="warning", log_level=given.log_level
                ) as controller,
                SideTasks({"watch": (LOOK_SECONDS, GuardWatch(instance, settings).look)}),
            ):
                # It warns of a run history that is new.
                logging.getLogger("dagster.daemon.EventLogConsumerDaemon").setLevel(logging.ERROR)
                controller.check_daemon_loop()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
