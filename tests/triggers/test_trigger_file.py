"""`triggers.db` as a file that several connections of one process use while other processes look at it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from gtm_dagster.triggers.trigger_db import open_trigger_db

LOOK = """
import sys
from pathlib import Path
from gtm_dagster.triggers.trigger_db import reading_trigger_db
with reading_trigger_db(Path(sys.argv[1])) as con:
    print(con.execute("SELECT count(*) FROM links").fetchone()[0])
"""


def look(path: Path) -> int:
    done = subprocess.run([sys.executable, "-c", LOOK, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_second_connection_that_ends_costs_the_first_none_of_its_rows(tmp_path: Path) -> None:
    """As `gtm stream` does: the deliverer opens the file beside the rules, and `gtm trigger status` looks at it meanwhile."""
    path = tmp_path / "triggers.db"
    with closing(open_trigger_db(path)) as first:
        first.execute("INSERT INTO links VALUES ('a', 'u')")
        open_trigger_db(path).close()
        assert look(path) == 1
        first.execute("INSERT INTO links VALUES ('b', 'u')")
        assert look(path) == 2, "the WAL that the first connection writes to was deleted"
