"""The rules of `properties`, once for the validator of an event and the schema of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from gtm_dagster.settings.nearest import did_you_mean
from gtm_dagster.taxonomy.event import EMAIL, FieldError, shown_name
from gtm_dagster.taxonomy.plan import DEFAULT_MAX_LENGTH, EventSpec, PropertySpec

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_PROPERTIES = 128
MAX_NAME_LENGTH = 128


def check_properties(spec: EventSpec, properties: Mapping[str, Any]) -> list[FieldError]:
    """Every way in which `properties` breaks the rules of `spec`; empty when it breaks none."""
    errors: list[FieldError] = []
    declared = spec.properties
    for name, value in properties.items():
        rule = declared.get(name)
        if rule is not None:
            if value is not None:
                _check_declared(name, value, rule, errors)
        elif spec.additional:
            _check_additional(name, value, errors)
        else:
            path = f"properties.{shown_name(name)}"
            near = did_you_mean(name, declared) if shown_name(name) == name else ""
            message = f"{spec.name} does not declare this property in the plan{near}"
            errors.append(FieldError(path, "unknown_property", message))
    for name in spec.required:
        if properties.get(name) is None:
            errors.append(FieldError(f"properties.{name}", "missing_property", f"{spec.name} requires {name}"))
    if len(properties) > MAX_PROPERTIES:
        errors.append(
            FieldError("properties", "too_many_properties", f"{len(properties)} properties, at most {MAX_PROPERTIES}")
        )
    return errors


def _check_declared(name: str, value: Any, rule: PropertySpec, errors: list[FieldError]) -> None:
    value_type = type(value)
    expected = rule.type
    if expected == "string":
        if value_type is not str:
            errors.append(FieldError(f"properties.{name}", "type", f"expected string, got {json_type(value)}"))
            return
        if len(value) > rule.max_length or "\x00" in value:
            _check_text(f"properties.{name}", value, rule.max_length, errors)
        if rule.regex is not None:
            _check_pattern(f"properties.{name}", value, rule, errors)
    elif expected == "boolean":
        if value_type is not bool:
            errors.append(FieldError(f"properties.{name}", "type", f"expected boolean, got {json_type(value)}"))
            return
    elif value_type is int or (value_type is float and expected == "number"):
        if not _check_number(f"properties.{name}", value, errors):
            return
        if rule.minimum is not None and value < rule.minimum:
            errors.append(FieldError(f"properties.{name}", "minimum", f"{_shown(value)} is below {rule.minimum:g}"))
        if rule.maximum is not None and value > rule.maximum:
            errors.append(FieldError(f"properties.{name}", "maximum", f"{_shown(value)} is above {rule.maximum:g}"))
    else:
        errors.append(FieldError(f"properties.{name}", "type", f"expected {expected}, got {json_type(value)}"))
        return
    if rule.allowed and value not in rule.allowed:
        errors.append(FieldError(f"properties.{name}", "not_allowed", f"allowed: {', '.join(map(str, rule.allowed))}"))


def _check_pattern(path: str, value: str, rule: PropertySpec, errors: list[FieldError]) -> None:
    if rule.regex is None:
        return
    if not rule.regex.match(value):
        errors.append(FieldError(path, "pattern", f"does not match {rule.pattern}"))
    elif "@" in value and EMAIL.search(value):
        errors.append(FieldError(path, "personal_data", "holds an e-mail address; send an identifier instead"))


def _check_additional(name: str, value: Any, errors: list[FieldError]) -> None:
    path = f"properties.{shown_name(name)}"
    if not name or len(name) > MAX_NAME_LENGTH or "\x00" in name:
        errors.append(
            FieldError(path, "property_name", f"a property name has 1 to {MAX_NAME_LENGTH} characters and no NUL")
        )
    value_type = type(value)
    if value is None or value_type is bool:
        return
    if value_type is str:
        _check_text(path, value, DEFAULT_MAX_LENGTH, errors)
    elif value_type is int or value_type is float:
        _check_number(path, value, errors)
    else:
        errors.append(FieldError(path, "type", f"expected string, number, boolean or null, got {json_type(value)}"))


def _check_text(path: str, value: str, max_length: int, errors: list[FieldError]) -> None:
    if len(value) > max_length:
        errors.append(FieldError(path, "too_long", f"{len(value)} characters, at most {max_length}"))
    if "\x00" in value:
        errors.append(FieldError(path, "nul", "holds a NUL character"))


def _check_number(path: str, value: float, errors: list[FieldError]) -> bool:
    if type(value) is int:
        if INT64_MIN <= value <= INT64_MAX:
            return True
        errors.append(FieldError(path, "number_out_of_range", "an integer outside 64 bits"))
    elif isfinite(value):
        return True
    else:
        errors.append(FieldError(path, "not_finite", "JSON has neither NaN nor infinity"))
    return False


def _shown(value: float) -> str:
    """The number where it is too small to be a phone or card number."""
    return str(value) if abs(value) < _LEAST_TELLING and len(str(value)) <= 12 else "the value"


_LEAST_TELLING = 1_000_000
_JSON_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    dict: "object",
    list: "array",
}


def json_type(value: object) -> str:
    """The JSON name of the type of `value`."""
    return _JSON_TYPES.get(type(value), type(value).__name__)
