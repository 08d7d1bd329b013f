"""The tracking plan: which events exist, which properties they have, and the verdict on an event or a frame of events.

Belongs here: the plan, its rules and every form of them (validator, Pandera schema, JSON Schema, Markdown). Does not
belong here: who sends events, what is stored of them (admission). Light on import, since the SDK runs it inside a
product's process; `landing_schema` and `conform` need pandas and are imported on their own.
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
