"""What rollouts leave behind for readers."""

import dagster as dg

from assets.declaring import OWNER
from gtm_dagster.orchestration.guard_jobs import ROLLBACKS
from gtm_dagster.warehouse.rollback_ledger import COLUMNS

rollbacks = dg.AssetSpec(
    key=ROLLBACKS,
    description="Flags turned off by a guard or by hand, with their evidence. The truth is the ops store; publishing "
    "copies it into the serving copy. Materialised by the runs of `rollback_flag` and `manual_rollback`.",
    group_name="rollout",
    kinds={"sqlalchemy"},
    owners=[OWNER],
    tags={"layer": "ops"},
    metadata={
        "dagster/table_name": "ops.rollbacks",
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(name, kind.lower(), description=told) for name, kind, told in COLUMNS]
        ),
    },
)
