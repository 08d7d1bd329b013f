"""The settings of a loaded code location: read once, and the same in the processes it starts for its runs.

Dagster starts a process for each run, which loads the definitions again. It takes the settings from its parent: an edit of
gtm.toml, also one that breaks it, does not come between a guard's decision and its rollback. Reloading the code location
reads them anew.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import msgspec

from gtm_dagster.settings import Origin, Settings, read_settings

VARIABLE = "LOADED_GTM_SETTINGS"


class _Loaded(msgspec.Struct, frozen=True):
    """What a process hands to its children; `pid` is its own."""

    pid: int
    settings: Settings
    origin: Origin


def loaded_settings() -> tuple[Settings, Origin]:
    """The settings of this process's code location, and where each stands. Raises SettingsError.

    They are handed on in the environment, which Dagster does not store. A child that is not Dagster's (a command, a
    collector) finds another process's number there and reads its own.
    """
    parent = multiprocessing.parent_process()
    handed = os.environ.get(VARIABLE)
    if parent is not None and handed is not None:
        loaded = msgspec.json.decode(handed, type=_Loaded, dec_hook=_path)
        if loaded.pid == parent.pid:
            return loaded.settings, loaded.origin
    settings, origin = read_settings()
    os.environ[VARIABLE] = msgspec.json.encode(_Loaded(os.getpid(), settings, origin), enc_hook=str).decode()
    return settings, origin


def _path(kind: type, value: Any) -> Any:
    return kind(value)
