"""`gtm guard replay`: a rollback's decision, recomputed from its evidence."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json


def replay(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(help="A bundle's file, or the episode of a rollback in the ops store.")],
    json: Json = False,
) -> int:
    """Recompute a rollback's decision from its evidence. Exit 1: it comes out differently."""
    from gtm_dagster.rollout.control import evidence as bundles
    from gtm_dagster.rollout.control.replay import compare

    path = Path(bundle)
    text, intact = (path.read_text(encoding="utf-8"), None) if path.is_file() else _stored_bundle(context, bundle)
    recorded = bundles.from_json(text)
    result, metric = compare(recorded, intact), recorded.verdict.metric
    document = {**asdict(result), "sha256": bundles.digest(text), **({"metric": metric} if metric else {})}
    if json:
        say_json(document)
    else:
        say(
            f"{result.guard} episode {result.episode}{f', by {metric}' if metric else ''}: recorded log e {result.recorded_log_e:.9f}, recomputed {result.log_e:.9f}"
        )
        say("the same decision" if result.same else f"NOT the same: {result.difference}")
    return 0 if result.same else 1


def _stored_bundle(context: typer.Context, episode: str) -> tuple[str, bool | None]:
    """The text of an episode's bundle, and whether its digest is in the guard's intact history; None without a digest."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.evaluation import store_exists
    from gtm_dagster.rollout.control.evidence import digest

    settings = invocation(context).settings
    if store_exists(settings):
        with OpsStore.of(settings) as store:
            row = store.rollback(episode)
            if row is not None and row.bundle:
                sums = [(move.detail or {}).get("bundle_sha256") for move in store.history(row.guard)]
                recorded = [each for each in sums if each]
                return row.bundle, digest(row.bundle) in recorded and store.check_chain(row.guard) if recorded else None
    raise Problem(f"{episode}: neither a file nor an episode with a bundle; `gtm guard status` names the last one")


COMMANDS = (Command("guard replay", replay, order=80),)
