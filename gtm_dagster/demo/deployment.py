"""The demo's deployment: the settings of this one over a state directory of its own, so that planted rows and real ones
never lie in one warehouse."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gtm_dagster.demo.planted_rules import FILE
from gtm_dagster.settings import Attribution, Settings, Window
from gtm_dagster.settings.demo_folder import SUFFIX, demo_dir, has_demo

WINDOWS = (
    Window("first_touch", 72.0),
    Window("last_touch", 24.0),
    Window("linear", 168.0),
    Window("position_based", 168.0),
    Window("time_decay", 168.0),
)
"""The windows of the report, unless the deployment has its own."""
_FILES_OF_A_DEPLOYMENT = (
    "events.db",
    "landing",
    "warehouse.duckdb",
    "serving.duckdb",
    "ops.db",
    "keys",
    "dagster_home",
)


class DemoError(Exception):
    """The demo cannot go on; the message says what happened and what to do."""


class OtherDataError(DemoError):
    """The state directory of the demo holds something else: other data, or a demo of other arguments."""


def demo_variables(settings: Settings) -> dict[str, str]:
    """GTM_* variables that make the demo's settings of these, for this process and those it starts.

    Another state directory; nothing that is shared with real data or real people (ops store, guards, providers,
    notifications, rules and their destinations); the demo's own rules once it has some; the packaged tracking plan, whose events are simulated, and with another plan the usual conversions,
    funnel and retention, since the deployment's name events of that plan.
    """
    usual = Settings()
    rules = demo_dir(settings.state_dir) / FILE
    variables = {
        "GTM_STATE_DIR": str(demo_dir(settings.state_dir)),
        "GTM_TRIGGERS_FILE": str(rules) if rules.exists() else "",
        "GTM_DESTINATIONS": "[]",
        "GTM_PLAN_FILE": "",
        "GTM_OPS_URL": "",
        "GTM_GUARDS": "[]",
        "GTM_PROVIDERS": "[]",
        "GTM_NOTIFY": "[]",
    }
    if settings.plan_file is not None:
        variables["GTM_CONVERSIONS"] = _json(usual.conversions)
        variables["GTM_FUNNEL__STEPS"] = _json(usual.funnel.steps)
        variables["GTM_RETENTION__ACTIVITY"] = _json(usual.retention.activity)
    if settings.attribution.windows == Attribution().windows:
        variables["GTM_ATTRIBUTION__WINDOWS"] = _json(WINDOWS)
    return variables


def refuse_other_data(state_dir: Path) -> None:
    """Raises OtherDataError for a directory that is not named as a demo's, or holds a deployment that is not the demo's."""
    if demo_dir(state_dir) != state_dir:
        raise OtherDataError(
            f"{state_dir} is not a demo's state directory, whose name ends with {SUFFIX}; planted rows never join other data"
        )
    if has_demo(state_dir):
        return
    found = [name for name in _FILES_OF_A_DEPLOYMENT if (state_dir / name).exists()]
    if found:
        raise OtherDataError(
            f"{state_dir} holds data that is not the demo's ({', '.join(found)}); planted rows never join it. "
            "Move that folder away, or name another one by GTM_STATE_DIR"
        )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
