"""The job that ends old runs, and its schedule."""

import dagster as dg
from pydantic import Field

from gtm_dagster.orchestration.history_pruning import PRUNING, prune
from gtm_dagster.settings import Settings

MOST = 3_000
"""Runs of one pruning: more than a refresh a minute makes in a day. A year of them is gone after some days."""
CRON = "40 3 * * *"


def history_pruning_job(settings: Settings) -> dg.JobDefinition:
    """The job over this deployment's `history.days`."""

    class Pruning(dg.Config):
        """How old, and how many."""

        days: int = Field(default=settings.history.days, ge=1, description="Runs made longer ago than this go.")
        most: int = Field(default=MOST, ge=1, description="At most so many runs; the next pruning goes on.")

    @dg.op(name="prune", out=dg.Out(dg.Nothing))
    def prune_op(context: dg.OpExecutionContext, config: Pruning) -> None:
        """Ends the oldest runs whose outcome the tables hold."""
        pruned = prune(context.instance, config.days, config.most)
        more = "; more are as old, the next pruning goes on" if pruned.more else ""
        context.log.info(
            f"ended {pruned.runs:,} runs and {pruned.events:,} events of none older than {config.days} days{more}"
        )

    @dg.job(
        name=PRUNING,
        description="Ends runs older than `history.days` in this web UI's history. It keeps every rollback, ramp step, "
        "rearming and erasure, and the last run of each asset and check. Tables and landing files are not touched.",
        executor_def=dg.in_process_executor,
        config={"ops": {"prune": {"config": {"days": settings.history.days, "most": MOST}}}},
    )
    def history_pruning() -> None:
        prune_op()

    return history_pruning
