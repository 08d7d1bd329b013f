"""A log that does not continue what has landed: the sensor says so in its skip reason, and goes on when it is accepted."""

from __future__ import annotations

import dagster as dg
from eventlog_cases import record

from gtm_dagster.eventlog import open_log
from gtm_dagster.settings import load_settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log, landed_positions
from sensors.event_log import event_log_sensor


def test_a_lost_log_is_named_with_the_way_out(tmp_path):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})
    sensor = event_log_sensor(settings)

    def tick(instance: dg.DagsterInstance) -> object:
        result = sensor(dg.build_sensor_context(instance=instance))
        return getattr(result, "skip_message", None) or result

    with dg.DagsterInstance.ephemeral() as instance:
        with open_log(settings) as log:
            log.append([record("a"), record("b")])
        land_log(BuildContext(settings, plan=None))
        for path in tmp_path.glob("events.db*"):
            path.unlink()
        gone = tick(instance)
        assert "there is no event log, but offsets up to 2 of one have landed" in gone
        with open_log(settings) as log:
            log.append([record("c"), record("d"), record("e")])
            other = tick(instance)
            assert "another log took its place" in other and "gtm log accept --reason" in other
            positions = landed_positions(Landing(settings.landing_dir), log)
            assert log.accept([(position, True) for position in positions], reason="the disk died", actor="ada")
        request = tick(instance)
        assert isinstance(request, dg.RunRequest) and request.run_key == f"log-{log.log_id}-3"
