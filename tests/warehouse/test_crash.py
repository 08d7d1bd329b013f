"""kill -9 of a refresh at any moment: the next one needs no hand and gives what a rebuild gives."""

import os
import random
import signal
import subprocess
import sys

import pytest
from warehouse_cases import PLAN, land, random_events, refresh, settings_for, with_copies

from gtm_dagster.warehouse.verify import verify
from gtm_dagster.warehouse.writer_lock import WarehouseLock

REFRESH = """
import sys
from pathlib import Path
from warehouse_cases import refresh, settings_for
from gtm_dagster.warehouse.writer_lock import WarehouseLock
settings = settings_for(Path(sys.argv[1]))
with WarehouseLock(settings.state_dir).hold("a refresh to be killed", 5):
    print("started", flush=True)
    refresh(settings)
"""


@pytest.mark.slow
def test_scenario_22_a_killed_refresh_leaves_nothing_to_clean(tmp_path):
    rng = random.Random(11)
    settings = settings_for(tmp_path)
    rows = with_copies(rng, random_events(rng, 400))
    killed = 0
    for part in range(5):
        land(settings, rows[part::5], f"import-{part}")
        child = subprocess.Popen(
            [sys.executable, "-c", REFRESH, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout.readline().strip() == "started"
        try:
            child.wait(timeout=rng.uniform(0.05, 0.6))
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.communicate()
    assert killed >= 2
    with WarehouseLock(settings.state_dir).hold("the next refresh", 5):
        refresh(settings)
        result = verify(settings, PLAN)
    assert result.ok, result.first
