"""`load_settings`: gtm.toml overridden by GTM_* variables, checked as a whole."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import msgspec

from gtm_dagster.settings.destinations import destination_problems
from gtm_dagster.settings.folders import check_state_dir
from gtm_dagster.settings.guard_metrics import problems
from gtm_dagster.settings.model import Guard, Settings
from gtm_dagster.settings.nearest import did_you_mean
from gtm_dagster.settings.ramp import ramp_problems
from gtm_dagster.settings.secret_text import shown
from gtm_dagster.settings.source import NOT_GIVEN, Origin, SettingsError, read_environment, read_toml, to_struct
from gtm_dagster.settings.stage_presets import PRESETS, preset_keys
from gtm_dagster.settings.window_checks import check_windows

_HTTP = re.compile(r"https?://[^\s/]", re.IGNORECASE)
_LEAST_KEY_BYTES = 16
_LOCAL = frozenset({"localtime", "posixrules", "Factory"})
_REGION = re.compile(r"(?:default|EU|EEA|[A-Z]{2}(?:-[A-Z0-9]{1,3})?)\Z")
_NOT_IANA = ("posix/", "right/", "SystemV/")


def load_settings(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read `config` (else the file GTM_CONFIG names, else ./gtm.toml when there is one), then GTM_* variables.

    `environ` defaults to the process's environment. Relative paths of the file are relative to it, those of a variable
    to the working directory. Raises SettingsError naming key, value, what is allowed, and the line or variable.
    """
    return read_settings(config, environ)[0]


def read_settings(config: Path | None = None, environ: Mapping[str, str] | None = None) -> tuple[Settings, Origin]:
    """`load_settings`, and where each setting stands: what compares them with something else can name the line."""
    environ = os.environ if environ is None else environ
    named = config or (Path(environ["GTM_CONFIG"]) if environ.get("GTM_CONFIG") else None)
    path = named or Path("gtm.toml")
    values: dict[str, Any] = {}
    origin = Origin()
    if named or path.exists():
        values, origin = read_toml(path)
    _absolute_paths(values, path.absolute().parent, origin)
    environment = read_environment(environ, Settings)
    _absolute_paths(environment.values, Path.cwd(), Origin(variables=environment.variables))
    _merge(values, environment.values)
    origin.override(environment)
    values = _over_preset(values, origin)
    steps = values.get("funnel", {}).get("steps") if isinstance(values.get("funnel"), dict) else None
    if isinstance(steps, list):
        values["funnel"]["steps"] = [{"stage": s, "events": [s]} if isinstance(s, str) else s for s in steps]
    for key in NOT_GIVEN & values.keys():
        raise SettingsError(f"{key}: there is no such setting{origin.place(key)}")
    guards = values.pop("guards", [])
    _refuse_segment(values, origin)
    settings: Settings = to_struct(values, Settings, origin)
    _check_distinct("providers", [provider.name for provider in settings.providers], origin)
    _check_destinations(settings, origin)
    _check_sinks(settings, origin)
    _check_pseudonym_key(settings, origin)
    settings = _with_guards(settings, guards, origin)
    _check_zone(settings, origin)
    _check_regions(settings, origin)
    _check_own_hosts(settings, origin)
    check_windows(settings.attribution, origin)
    _check_distinct("conversions", [c.event for c in settings.conversions], origin)
    _check_distinct("funnel.steps", [step.stage for step in settings.funnel.steps], origin)
    if not settings.state_dir.is_absolute():
        base = path.absolute().parent if named else Path.cwd()
        settings = msgspec.structs.replace(settings, state_dir=base / settings.state_dir)
    check_state_dir(settings.state_dir, origin)
    return settings, origin


def _check_destinations(settings: Settings, origin: Origin) -> None:
    _check_distinct("destinations", [destination.name for destination in settings.destinations], origin)
    found = [
        f"destinations[{index}].{name}: {words}{origin.place(f'destinations[{index}].{name}') or origin.place(f'destinations[{index}]')}"
        for index, destination in enumerate(settings.destinations)
        for name, words in destination_problems(destination)
    ]
    if found:
        raise SettingsError(*found)


def _check_sinks(settings: Settings, origin: Origin) -> None:
    for index, sink in enumerate(settings.notify):
        key = f"notify[{index}]"
        if not sink.url and not sink.url_env:
            raise SettingsError(
                f"{key}.url: is missing; give url, or url_env, the variable that holds it{origin.place(key)}"
            )
        if sink.url and not _HTTP.match(sink.url):
            raise SettingsError(
                f"{key}.url: {shown(sink.url, key)} is not an http or https address{origin.place(f'{key}.url') or origin.place(key)}"
            )


def _check_pseudonym_key(settings: Settings, origin: Origin) -> None:
    size = len((settings.privacy.pseudonym_key or "").encode(errors="surrogateescape"))
    if 0 < size < _LEAST_KEY_BYTES:
        raise SettingsError(
            f"privacy.pseudonym_key: *** has {size} bytes; give at least {_LEAST_KEY_BYTES}{origin.place('privacy.pseudonym_key')}"
        )


def _over_preset(values: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """The values above those of their stage; the origin notes which are the stage's."""
    stage = values.get("stage")
    preset = PRESETS.get(stage) if isinstance(stage, str) else None  # type: ignore[call-overload]
    if preset is None:
        return values
    below = deepcopy(preset.values)
    origin.stage_keys = frozenset(key for key in preset_keys(below) if not origin.given(key))
    _merge(below, values)
    return below


def _refuse_segment(values: dict[str, Any], origin: Origin) -> None:
    """A definition that was the same as another one, under a second name."""
    sessions = values.get("sessions")
    if isinstance(sessions, dict) and sessions.get("definition") == "segment":
        raise SettingsError(
            "sessions.definition: 'segment' was another name of ga4, which gives the same sessions; "
            f"write ga4{origin.place('sessions.definition')}"
        )


def _with_guards(settings: Settings, entries: Any, origin: Origin) -> Settings:
    """Each guard on its own: a bad one becomes a message, and the others stay."""
    if not isinstance(entries, list):
        raise SettingsError(f"guards: {entries!r} is not a list of guards{origin.place('guards')}")
    good: list[Guard] = []
    errors: list[str] = []
    known = {provider.name for provider in settings.providers} | {"flagd"}
    for index, entry in enumerate(entries):
        key = f"guards[{index}]"
        try:
            guard = to_struct(entry, Guard, origin, key)
        except SettingsError as error:
            errors.append(str(error))
            continue
        place = origin.place(key)
        if guard.provider not in known:
            errors.append(
                f"{key}.provider: {guard.provider!r} is not declared under [[providers]]; known: {', '.join(sorted(known))}{place}"
            )
        elif guard.key in [other.key for other in good]:
            errors.append(f"{key}: {guard.key} is guarded already; name it once{place}")
        elif wrong := problems(guard.conversion_stake, guard.metrics):
            errors += [f"{key}.{name}: {words}{origin.place(f'{key}.{name}')}" for name, words in wrong]
        elif ramped := _ramp_errors(guard, good, key, origin):
            errors += ramped
        else:
            good.append(guard)
            origin.guard_places += (index,)
    return msgspec.structs.replace(settings, guards=tuple(good), guard_errors=tuple(errors))


def _ramp_errors(guard: Guard, others: Sequence[Guard], key: str, origin: Origin) -> list[str]:
    if guard.ramp is None:
        return []
    errors = [
        f"{key}.ramp.{name}: {problem}{origin.place(f'{key}.ramp.{name}')}"
        for name, problem in ramp_problems(guard.ramp, guard.threshold, guard.metrics)
    ]
    place = (guard.flag, guard.environment)
    if rival := next((other for other in others if other.ramp and (other.flag, other.environment) == place), None):
        errors.append(
            f"{key}.ramp: {rival.key} has a ramp of this flag already; declare one{origin.place(f'{key}.ramp')}"
        )
    return errors


def _absolute_paths(values: dict[str, Any], base: Path, origin: Origin) -> None:
    for key in ("state_dir", "plan_file", "triggers_file"):
        if isinstance(values.get(key), str):
            if not values[key].strip() or "\0" in values[key]:
                raise SettingsError(
                    f"{key}: {values[key]!r} is not a path; name a folder or file, or leave it out{origin.place(key)}"
                )
            values[key] = str(base / Path(values[key]).expanduser())
    for provider in values.get("providers", []) if isinstance(values.get("providers"), list) else ():
        if isinstance(provider, dict) and isinstance(provider.get("file"), str):
            provider["file"] = str(base / Path(provider["file"]).expanduser())


def _merge(into: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _check_zone(settings: Settings, origin: Origin) -> None:
    """A name of the IANA list. Other files of a zone folder load too (`localtime`, `posix/Europe/Berlin`), here alone."""
    name = settings.report_timezone
    if name == "UTC":
        return
    known = {zone for zone in available_timezones() - _LOCAL if not zone.startswith(_NOT_IANA)}
    if name not in known:
        near = did_you_mean(name, known)
        raise SettingsError(
            f"report_timezone: {name!r} is not a time zone; "
            f"give an IANA name such as Europe/Berlin or UTC{near}{origin.place('report_timezone')}"
        )


def _check_regions(settings: Settings, origin: Origin) -> None:
    consent = settings.privacy.consent
    for region in consent if isinstance(consent, dict) else ():
        if not _REGION.match(region):
            raise SettingsError(
                f"privacy.consent.{region}: {region!r} is not a region; give default, EU, a country such as US, or a part of "
                f"one such as US-CA{origin.place(f'privacy.consent.{region}')}"
            )


def _check_own_hosts(settings: Settings, origin: Origin) -> None:
    """A host counts with everything below it: below `co.uk` lies half a country."""
    if not settings.own_hosts:
        return
    try:
        from publicsuffixlist import PublicSuffixList  # its list takes a while to load
    except ImportError:  # comes with the pipeline, which alone looks at this setting
        return
    suffixes = PublicSuffixList(only_icann=True, accept_unknown=False)
    for index, host in enumerate(settings.own_hosts):
        if suffixes.publicsuffix(host.lower()) == host.lower():
            raise SettingsError(
                f"own_hosts[{index}]: {host!r} is a public suffix, below which anybody registers a domain; "
                f"give your own domain, such as acme.{host}{origin.place(f'own_hosts[{index}]')}"
            )


def _check_distinct(key: str, names: Sequence[Any], origin: Origin) -> None:
    """An entry given twice would be counted twice."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SettingsError(
                f"{key}[{index}]: {name!r} is already entry {names.index(name)}; name it once{origin.place(f'{key}[{index}]')}"
            )
