"""What rollouts leave behind for readers."""

import dagster as dg

from gtm_dagster.orchestration.guard_jobs import ROLLBACKS
from gtm_dagster.orchestration.metadata import column_schema
from gtm_dagster.orchestration.ramp_jobs import RAMP_STEPS
from gtm_dagster.orchestration.table_assets import OWNER
from gtm_dagster.warehouse.schema import table_of

_TABLE = table_of("ops.rollbacks")

rollbacks = dg.AssetSpec(
    key=ROLLBACKS,
    description=f"{_TABLE.meaning} Materialised by the runs of `rollback_flag` and `manual_rollback`.",
    group_name="rollout",
    kinds={"sqlalchemy"},
    owners=[OWNER],
    tags={"layer": "ops"},
    metadata={"dagster/table_name": _TABLE.name, "dagster/column_schema": column_schema(_TABLE)},
)

ramp_steps = dg.AssetSpec(
    key=RAMP_STEPS,
    description="The steps of ramps as they were taken: from which share to which, who approved it, and the evidence that it "
    "could be taken. The truth is the ops store. Materialised by the runs of `ramp_flag`.",
    group_name="rollout",
    kinds={"sqlalchemy"},
    owners=[OWNER],
    tags={"layer": "ops"},
)
