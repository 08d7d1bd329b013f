"""A hook of the build: the wheel carries this repository's deployment files, which `gtm init` copies.

An editable install does not: there they are read where they stand (`gtm_dagster.settings.deployment_folder`).
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("assets", "sensors", "workspace.yaml", "dagster.yaml", "gtm.toml")


class WheelTemplate(BuildHookInterface):
    """Adds FILES below gtm_dagster/template."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the wheel is written; `version` is "editable" where nothing is copied."""
        if version != "editable":
            build_data["force_include"].update({name: f"gtm_dagster/template/{name}" for name in FILES})
