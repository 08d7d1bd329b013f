"""`gtm dev`: collector, stream worker, dashboard and Dagster as one development set.

Dagster is started in parts, not by `dagster dev`: its web UI takes requests of any site that is open in a browser here.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Problem, invocation, note

OF_THE_DEMO = "it is the demo's: events sent here stay among planted ones; for your own leave out --demo"
OF_AN_EARLIER_DEMO = "it holds the demo of an earlier version among all else; to start clean move that folder away"


START_SECONDS = "120"
"""How long a run may take to start, as run_monitoring allows (dagster.yaml). By default it is a minute: on a machine so busy
that it takes longer, a rollback was failed while its process began, and again the next time."""


@dataclass(frozen=True)
class Place:
    """A service of `gtm dev`: the address to open, and the path that answers once it can be used."""

    name: str
    address: str
    ready: str

    def answers(self) -> bool:
        """Whether it can be used now."""
        import requests

        try:
            return requests.get(self.address + self.ready, timeout=5).ok
        except requests.RequestException:
            return False


def dev(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address of the web UI; it has no login.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web UI.")] = 3000,
    collector_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: collector.port.")] = None,
    dashboard_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: dashboard.port.")] = None,
) -> int:
    """Collector, stream worker, dashboard, Dagster's daemon and web UI together; what ends is started again, Ctrl-C ends all."""
    import msgspec

    from gtm_dagster.commands.children import Children
    from gtm_dagster.orchestration.code_locations import code_servers
    from gtm_dagster.orchestration.dead_runs import fail_dead_runs
    from gtm_dagster.orchestration.instance import instance_of
    from gtm_dagster.settings import Dashboard
    from gtm_dagster.settings.demo_folder import has_demo, is_demo
    from gtm_dagster.settings.deployment_folder import deployment_folder

    here = invocation(context)
    settings = here.settings
    deployment = deployment_folder()
    if collector_port is not None:
        settings = msgspec.structs.replace(
            settings, collector=msgspec.structs.replace(settings.collector, port=collector_port)
        )
    dashboard = settings.dashboard
    shown = dashboard_port or dashboard.port
    _must_be_free(host, port, "--port")
    _must_be_free(dashboard.host, shown, "--dashboard-port")
    _must_be_free(settings.collector.host, settings.collector.port, "--collector-port")
    # One process makes the instance's tables: two that do it at once fail on a unique constraint.
    with instance_of(settings) as instance:
        for run_id in fail_dead_runs(instance):
            note(f"run {run_id} was left by a process that is gone; marked as failed")
    environment = {
        "DAGSTER_GRPC_TIMEOUT_SECONDS": START_SECONDS,
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        "GTM_DEPLOYMENT": str(deployment),
        "GTM_STATE_DIR": str(settings.state_dir),
        "GTM_COLLECTOR__PORT": str(settings.collector.port),
        "GTM_DASHBOARD__PORT": str(shown),
    }
    if dashboard.dagster_url == Dashboard().dagster_url:
        environment["GTM_DASHBOARD__DAGSTER_URL"] = f"http://{host}:{port}"
    config = here.config or (Path(os.environ["GTM_CONFIG"]) if os.environ.get("GTM_CONFIG") else Path("gtm.toml"))
    if config.exists():
        environment["GTM_CONFIG"] = str(config.absolute())
    with tempfile.TemporaryDirectory(prefix="gtm-") as folder, Children(environment) as children:
        servers, served = code_servers(deployment / "workspace.yaml", Path(folder))
        # In Dagster's home: it warns of the dagster.yaml of a folder that is not its home.
        home = settings.dagster_home
        for server in servers:
            children.start(f"code location {server.name}", server.arguments, home)
        dagster, place = "gtm_dagster.orchestration", ["-w", str(served)]
        children.start("web UI", ["-m", f"{dagster}.web_ui", *place, "--host", host, "--port", str(port)], home)
        children.start("daemon", ["-m", f"{dagster}.daemon", *place], home)
        children.start("collector", ["-m", "gtm_dagster.cli", "collect"], Path.cwd())
        children.start("stream", ["-m", "gtm_dagster.cli", "stream"], Path.cwd())
        children.start("dashboard", ["-m", "gtm_dagster.cli", "dash"], Path.cwd())
        note(f"state directory {settings.state_dir}; starting, Ctrl-C ends all")
        if has_demo(settings.state_dir):
            note(OF_THE_DEMO if is_demo(settings.state_dir) else OF_AN_EARLIER_DEMO)
        places = [
            Place("web UI", f"http://{host}:{port}", "/server_info"),
            Place("dashboard", f"http://{dashboard.host}:{shown}", "/livez"),
            Place("collector", f"http://{settings.collector.host}:{settings.collector.port}", "/readyz"),
        ]
        threading.Thread(target=_say_when_ready, args=(places, settings.state_dir), daemon=True).start()
        return children.wait()


def _must_be_free(host: str, port: int, option: str) -> None:
    """A Problem when something listens there already: found here, it does not take several starts to see."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Problem(
                f"{host}:{port}: cannot listen there ({error.strerror}); stop what uses it, or choose another by {option}"
            ) from None


def _say_when_ready(places: Sequence[Place], state_dir: Path) -> None:
    """Where everything is, once each address answers: Dagster takes half a minute to load, on a busy machine longer."""
    began = time.monotonic()
    for place in places:
        while not place.answers():
            time.sleep(0.5)
    note(f"ready after {time.monotonic() - began:.0f} s; Ctrl-C ends all, and from here on only problems are shown")
    for name, where in [*((place.name, place.address) for place in places), ("state directory", str(state_dir))]:
        note(f"  {name:<16} {where}")


COMMANDS = (Command("dev", dev, order=20),)
