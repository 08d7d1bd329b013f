"""What rollouts leave behind for readers."""

import dagster as dg

from gtm_dagster.orchestration.guard_jobs import ROLLBACKS
from gtm_dagster.orchestration.guard_page import GUARDS
from gtm_dagster.orchestration.metadata import column_schema, description_of
from gtm_dagster.orchestration.ramp_jobs import RAMP_STEPS
from gtm_dagster.orchestration.table_assets import OWNER
from gtm_dagster.warehouse.schema import table_of

_TABLE = table_of("ops.rollbacks")

flag_provider = dg.AssetSpec(
    ["ops", "flag_provider"],
    description="Where the flags live: flagd, Unleash, or what [[providers]] names in gtm.toml. A rollback turns a flag "
    "off there, and proves it there.\n\n`gtm guard status`",
    group_name="rollout",
    owners=[OWNER],
    tags={"layer": "source"},
)

guards = dg.AssetSpec(
    key=GUARDS,
    deps=[flag_provider, dg.AssetKey(["ingestion", "event_log"])],
    description="The guards as they stand before anything fires: state, both arms' conversions, the evidence against its bar, "
    "and when a loss would be known. The newest materialisation is the page.\n\nWritten by the sensor `conversion_guard` at "
    "a change of state, and once an hour while a guard is armed. To the second: `gtm guard status`.",
    group_name="rollout",
    kinds={"sqlalchemy"},
    owners=[OWNER],
    tags={"layer": "ops"},
)

rollbacks = dg.AssetSpec(
    key=ROLLBACKS,
    deps=[guards],
    description=f"{description_of(_TABLE)}\n\nMaterialised by the runs of `rollback_flag` and `manual_rollback`, one for each.",
    group_name="rollout",
    kinds={"sqlalchemy"},
    owners=[OWNER],
    tags={"layer": "ops"},
    # Not as `dagster/column_schema`: the page would show the columns before the evidence, for which people come.
    metadata={"dagster/table_name": _TABLE.name, "columns": column_schema(_TABLE)},
)

ramp_steps = dg.AssetSpec(
    key=RAMP_STEPS,
    deps=[guards],
    description="The steps of ramps as they were taken: from which share to which, who approved it, and the evidence that it "
    "could be taken. The truth is the ops store: `gtm guard ramp`.\n\nMaterialised by the runs of `ramp_flag`, one for each.",
    group_name="rollout",
    kinds={"sqlalchemy"},
    owners=[OWNER],
    tags={"layer": "ops"},
)

ASSETS = (flag_provider, guards, rollbacks, ramp_steps)
