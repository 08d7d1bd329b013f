"""What to install when a library is not there: the SDK alone needs none of what the commands need."""

from __future__ import annotations

EXTRA_OF = {
    "granian": "collector", "jsonschema_rs": "collector", "prometheus_client": "collector", "cryptography": "collector",
    "dagster": "pipeline", "dagster_webserver": "pipeline", "dagster_duckdb": "pipeline", "duckdb": "pipeline",
    "pandas": "pipeline", "pandera": "pipeline", "pyarrow": "pipeline", "sqlglot": "pipeline", "sqlalchemy": "pipeline",
    "publicsuffixlist": "pipeline", "numpy": "pipeline", "matplotlib": "pipeline", "rich": "pipeline", "typer": "pipeline",
    "starlette": "pipeline", "jinja2": "pipeline",
    "psycopg": "postgres", "dagster_postgres": "postgres",
    "pyspark": "spark",
}  # fmt: skip
"""The extra of the distribution that brings a module."""


def install_line(missing: ModuleNotFoundError) -> str | None:
    """What to install for a library that is not there; None when no extra brings it.

    The commands come with two extras together, so both are named for either.
    """
    module = (missing.name or "").partition(".")[0]
    extra = EXTRA_OF.get(module)
    if extra is None:
        return None
    wanted = "collector,pipeline" if extra in ("collector", "pipeline") else extra
    return (
        f"{module} is not installed, and this command needs it: pip install 'gtm-dagster[{wanted}]' "
        f"(in a checkout: make setup, or pip install '.[{wanted}]'). The SDK, gtm_dagster.tracking, works without"
    )
