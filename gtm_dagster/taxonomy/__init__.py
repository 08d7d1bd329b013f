"""The tracking plan: which events exist, what they may carry, and who judges it.

Light on import (msgspec, PyYAML, standard library): the SDK runs it inside a product's process.
The pandas side lives in `taxonomy.frames` and is imported on its own.
"""

from gtm_dagster.taxonomy.event import Event, FieldError
from gtm_dagster.taxonomy.plan import EventSpec, Plan, PlanError, PropertySpec, load_plan
from gtm_dagster.taxonomy.validator import Accepted, EventValidator, Rejected

__all__ = [
    "Accepted",
    "Event",
    "EventSpec",
    "EventValidator",
    "FieldError",
    "Plan",
    "PlanError",
    "PropertySpec",
    "Rejected",
    "load_plan",
]
