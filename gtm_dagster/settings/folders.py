"""Whether `state_dir` can be a state directory: a folder, or a name for one that the databases in it can open."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from gtm_dagster.settings.secret_text import shown
from gtm_dagster.settings.source import Origin, SettingsError

_NOT_IN_A_PATH = {
    "\0": "a NUL character",
    r"\?": "a question mark, which DuckDB reads as the start of options",
    "%[0-9A-Fa-f]{2}": "a percent sign before two hex digits, which Dagster's run history reads as one character",
}
if os.sep == "/":
    _NOT_IN_A_PATH[r"\\"] = "a backslash, which DuckDB reads as a slash"


def check_state_dir(path: Path, origin: Origin) -> None:
    """SettingsError for a path that is, or lies below, something else than a folder, or that no database can open.

    A folder that is not there yet is made by whoever writes first.
    """
    for pattern, why in _NOT_IN_A_PATH.items():
        if re.search(pattern, str(path)):
            raise SettingsError(
                f"state_dir: {shown(str(path))} has {why}; give another name{origin.place('state_dir')}"
            )
    for folder in (path, *path.parents):
        try:
            is_folder, reason = stat.S_ISDIR(folder.stat().st_mode), "it is not a folder"
        except FileNotFoundError:
            if not folder.is_symlink():
                continue
            is_folder, reason = False, "it is a link to nothing"
        except NotADirectoryError:
            continue
        except OSError as error:
            is_folder, reason = False, str(error.strerror).lower()
        if is_folder:
            return
        reason = reason if folder == path else f"{shown(str(folder))}: {reason}"
        raise SettingsError(
            f"state_dir: {shown(str(path))} cannot be a state directory, {reason}; give a folder, or a name for a new "
            f"one{origin.place('state_dir')}"
        )
