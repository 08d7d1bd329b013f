"""Where a deployment's own files stand: workspace.yaml, dagster.yaml, assets/ and sensors/ beside gtm.toml.

A wheel brings the files of a fresh deployment with it (`gtm init` copies them); in a checkout those are the checkout's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from gtm_dagster.settings.source import SettingsError

VARIABLE = "GTM_DEPLOYMENT"
"""Names the folder for processes that work elsewhere, as those of `gtm dev` do in Dagster's home."""


def template_folder() -> Path:
    """The folder with the files of a fresh deployment: in the wheel, else the checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "template"
    return packaged if packaged.is_dir() else package.parent


def named_deployment(environ: Mapping[str, str] | None = None) -> Path | None:
    """The deployment that GTM_DEPLOYMENT, the settings file or the working directory names; None when none does.

    Raises SettingsError where the variable names a folder that is none.
    """
    environ = os.environ if environ is None else environ
    if environ.get(VARIABLE):
        named = Path(environ[VARIABLE])
        if not (is_deployment(named) or named == template_folder()):
            raise SettingsError(
                f"{VARIABLE}: {named} has no workspace.yaml, assets/ and sensors/; name another folder, or write them: `gtm init`"
            )
        return named
    config = environ.get("GTM_CONFIG")
    places = [*([Path(config).absolute().parent] if config else []), Path.cwd()]
    return next((place for place in places if is_deployment(place)), None)


def is_deployment(folder: Path) -> bool:
    """Whether the folder has what Dagster loads."""
    return (folder / "workspace.yaml").is_file() and (folder / "assets").is_dir() and (folder / "sensors").is_dir()


def template_modules(package: str) -> frozenset[str]:
    """The names of the modules that the template has in `assets` or `sensors`."""
    return frozenset(path.stem for path in (template_folder() / package).glob("*.py"))


def deployment_folder() -> Path:
    """The named deployment; without one the files of a fresh one, so that `gtm demo` needs no folder."""
    return named_deployment() or template_folder()


def find_own_code() -> None:
    """Make the deployment's `assets` and `sensors` the packages of these names in this process."""
    folder = str(deployment_folder())
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
