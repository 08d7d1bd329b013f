"""docs/plan.md: its example is a plan, and it names every field."""

import re
from pathlib import Path

import pytest

from gtm_dagster.taxonomy.plan import EventSpec, Plan, PropertySpec, parse_plan
from gtm_dagster.taxonomy.plan_draft import PRODUCT_EVENTS

PAGE = (Path(__file__).parents[2] / "docs" / "plan.md").read_text()


def test_the_example_is_a_plan() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.S)
    assert example is not None
    plan = parse_plan(example[1])
    assert plan.resolve("Order Completed") == "order_completed"
    assert plan.events["order_completed"].required == ("order_id",)


@pytest.mark.parametrize(
    ("heading", "kind", "internal"),
    [("plan", Plan, {"where"}), ("an event", EventSpec, {"name"}), ("a property", PropertySpec, set())],
)
def test_every_field_has_a_row(heading: str, kind: type[Plan | EventSpec | PropertySpec], internal: set[str]) -> None:
    start = PAGE.index(f"| of {heading} |" if heading != "plan" else "| of the plan |")
    table = PAGE[start:].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()[2:])))
    assert set(kind.__struct_fields__) - internal <= named


def test_the_events_of_the_product_are_named() -> None:
    assert all(f"`{name}`" in PAGE for name in PRODUCT_EVENTS)
