"""The declared tables as a page for people: `python -m gtm_dagster.warehouse.schema.documents` writes docs/tables.md."""

from __future__ import annotations

import sys

from gtm_dagster.warehouse.schema import tables
from gtm_dagster.warehouse.schema.table import Table

_HEAD = """# Tables

What `gtm query` and every other reader finds. Made from the declarations in `gtm_dagster/warehouse/schema/` by `make docs`;
a test holds it to them. `*_start`, `*_end`, `*_time`, `*_at` are TIMESTAMP in UTC, columns ending in `_us` microseconds
UTC, `day` and `cohort` dates in the report time zone. `staging.events` is in the working file alone (`gtm query --work`).
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *(_section(table) for table in tables() if table.schema != "meta")])


def _section(table: Table) -> str:
    lines = [f"## {table.name}", "", table.meaning, ""]
    if table.reads:
        lines += [f"Made from {', '.join(f'`{name}`' for name in table.reads)}.", ""]
    lines += ["| column | type | meaning |", "|---|---|---|"]
    lines += [
        f"| `{column.name}` | {column.type} | {column.meaning}{'' if column.served else ' (not in the serving copy)'} |"
        for column in table.columns
    ]
    if table.checks:
        lines += ["", "Checked in every refresh:", ""]
        lines += [
            f"- `{check.name}`: {check.description}{'' if check.severity == 'ERROR' else ' A warning.'}"
            for check in table.checks
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(page())
