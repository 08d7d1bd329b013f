"""Running things: the demo, the collector, and the development set of collector, stream worker and Dagster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gtm_dagster.commands.output import Problem, invocation, note


def demo(
    context: typer.Context,
    events: Annotated[int, typer.Option(min=1000, help="Events to simulate.")] = 60_000,
    days: Annotated[int, typer.Option(min=2, help="Days of history.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same traffic.")] = 7,
) -> int:
    """Planted traffic through the whole pipeline, and a report beside the truth. Exit 1: something did not agree."""
    from gtm_dagster.definitions import build_defs
    from gtm_dagster.demo.run import run_demo
    from gtm_dagster.orchestration.guard_tick import guard_once
    from gtm_dagster.orchestration.refresh_run import run_refresh

    return run_demo(
        invocation(context).settings,
        lambda settings: run_refresh(settings, build_defs),
        lambda settings: guard_once(settings, build_defs),
        events=events,
        days=days,
        seed=seed,
    )


def collect(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: collector.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: collector.port.")] = None,
) -> None:
    """Run the collector: POST /ingest until Ctrl-C."""
    from gtm_dagster.collector.serve import serve

    settings = invocation(context).settings
    serve(settings, host or settings.collector.host, settings.collector.port if port is None else port)


def dev(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address of the web UI; it has no login.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web UI.")] = 3000,
    collector_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: collector.port.")] = None,
) -> int:
    """Collector, stream worker, Dagster's daemon and web UI together; Ctrl-C ends all."""
    import gtm_dagster
    from gtm_dagster.commands.children import Children
    from gtm_dagster.orchestration.dead_runs import fail_dead_runs
    from gtm_dagster.orchestration.refresh_run import instance_of

    here = invocation(context)
    settings = here.settings
    root = Path(gtm_dagster.__file__).parents[1]
    workspace = next((p for p in (Path("workspace.yaml"), root / "workspace.yaml") if p.exists()), None)
    if workspace is None:
        raise Problem("there is no workspace.yaml here; run gtm dev in a checkout of gtm-dagster")
    if collector_port is not None:
        settings = msgspec.structs.replace(
            settings, collector=msgspec.structs.replace(settings.collector, port=collector_port)
        )
    # One process makes the instance's tables: two that do it at once fail on a unique constraint.
    with instance_of(settings) as instance:
        for run_id in fail_dead_runs(instance):
            note(f"run {run_id} was left by a process that is gone; marked as failed")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        "GTM_STATE_DIR": str(settings.state_dir),
        "GTM_COLLECTOR__PORT": str(settings.collector.port),
        # `dg dev`, which the warning recommends, does not read workspace.yaml
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }
    config = here.config or (Path(os.environ["GTM_CONFIG"]) if os.environ.get("GTM_CONFIG") else Path("gtm.toml"))
    if config.exists():
        environment["GTM_CONFIG"] = str(config.absolute())
    with Children(environment) as children:
        children.start("collector", ["-m", "gtm_dagster.cli", "collect"], Path.cwd())
        children.start("stream", ["-m", "gtm_dagster.cli", "stream"], Path.cwd())
        # In its own home: Dagster warns of the dagster.yaml of a folder that is not its home.
        children.start(
            "dagster",
            ["-m", "dagster", "dev", "-w", str(workspace.absolute()), "-h", host, "-p", str(port)],
            settings.dagster_home,
        )
        note(
            f"web UI http://{host}:{port}, collector http://{settings.collector.host}:{settings.collector.port}; Ctrl-C ends all"
        )
        return children.wait()
