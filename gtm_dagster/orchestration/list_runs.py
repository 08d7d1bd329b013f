"""`python -m gtm_dagster.orchestration.list_runs`: every run of the deployment as JSON, for programs without Dagster."""

from __future__ import annotations

import json
import sys
from datetime import UTC

from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.settings import load_settings


def main() -> None:
    """Print [{run_id, status, finished, succeeded, created}], newest first; `created` in seconds UTC."""
    with instance_of(load_settings()) as instance:
        runs = [
            {
                "run_id": record.dagster_run.run_id,
                "status": record.dagster_run.status.value,
                "finished": record.dagster_run.is_finished,
                "succeeded": record.dagster_run.is_success,
                "created": record.create_timestamp.replace(tzinfo=UTC).timestamp(),
            }
            for record in instance.get_run_records()
        ]
    sys.stdout.write(json.dumps(runs) + "\n")


if __name__ == "__main__":
    main()
