"""`gtm plan publish`: what a registry gets, once, all of it or nothing; and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from registry_server import RegistryServer, serving_registry

from gtm_dagster.cli import run
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.json_schema import event_schemas

PLAN = """\
version: 1-0-0
aliases: {Order Completed: bought}
events:
  visited:
  bought:
    properties:
      total: {type: number}
      coupon: {type: string, allowed: [spring]}
"""
REQUIRED = PLAN.replace("type: number", "type: number, required: true")
WITHOUT_COUPON = PLAN.replace("      coupon: {type: string, allowed: [spring]}\n", "")


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with serving_registry() as running:
        yield running


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    (tmp_path / "gtm.toml").write_text('plan_file = "plan.yaml"\nstate_dir = "state"\nconversions = []\n')
    (tmp_path / "plan.yaml").write_text(PLAN)
    return tmp_path / "plan.yaml"


def publish(
    registry: RegistryServer, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["plan", "publish", "--json", "--registry", registry.url, *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_each_event_is_a_subject_and_publishing_again_changes_nothing(registry, plan, capsys) -> None:
    code, found = publish(registry, capsys, "--dry-run")
    assert (code, registry.subjects, found["registered"]) == (0, {}, {"gtm.visited": 0, "gtm.bought": 0})
    code, found = publish(registry, capsys)
    assert (code, found["registered"], found["unchanged"]) == (0, {"gtm.visited": 1, "gtm.bought": 1}, {})
    code, found = publish(registry, capsys)
    assert (code, found["registered"], found["unchanged"]) == (0, {}, {"gtm.visited": 1, "gtm.bought": 1})
    plan.write_text(PLAN.replace("version: 1-0-0", "version: 1-1-0"))
    assert publish(registry, capsys)[1]["registered"] == {}, "a version of the plan is no change of an event"
    plan.write_text(PLAN + "      currency: {type: string}\n")
    code, found = publish(registry, capsys)
    assert (code, found["registered"], found["unchanged"]) == (0, {"gtm.bought": 2}, {"gtm.visited": 1})
    plan.write_text("version: 2-0-0\nevents:\n  visited:\n")
    assert publish(registry, capsys)[1]["left"] == ["gtm.bought"]
    assert registry.writes == ["gtm.visited", "gtm.bought", "gtm.bought"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param(REQUIRED, "REQUIRED_ATTRIBUTE_ADDED total", id="a property becomes required"),
        pytest.param(WITHOUT_COUPON, "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL coupon", id="a property goes"),
    ],
)  # fmt: skip
def test_what_is_incompatible_is_named_and_nothing_is_registered_until_a_person_says_so(registry, plan, capsys, changed, reason) -> None:  # fmt: skip
    publish(registry, capsys)
    plan.write_text(changed + "  refunded:\n")
    code, found = publish(registry, capsys)
    assert (code, found["ok"], found["registered"]) == (1, False, {})
    assert found["incompatible"] == [{"subject": "gtm.bought", "reasons": [reason]}]
    assert "gtm.refunded" not in registry.subjects
    assert run(["plan", "publish", "--registry", registry.url]) == 1
    shown = capsys.readouterr().out
    assert "gtm.bought: incompatible" in shown and reason in shown and "--compatibility NONE" in shown
    code, found = publish(registry, capsys, "--compatibility", "none")
    assert (code, found["registered"]) == (0, {"gtm.bought": 2, "gtm.refunded": 1})
    assert registry.levels == dict.fromkeys(("gtm.visited", "gtm.bought", "gtm.refunded"), "NONE")
    plan.write_text(PLAN)
    assert publish(registry, capsys, "--prefix", "shop-")[1]["registered"] == {"shop-visited": 1, "shop-bought": 1}


def test_credentials_come_by_a_variable_and_stand_in_no_message(registry, plan, capsys, monkeypatch) -> None:
    for value, sent in (("ada:pw", "Basic YWRhOnB3"), ("token", "Bearer token")):
        monkeypatch.setenv("REGISTRY", value)
        registry.authorization.clear()
        publish(registry, capsys, "--credentials-env", "REGISTRY")
        assert registry.authorization == {sent}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--registry", "http://127.0.0.1:9"], 1, "no answer (ConnectionError); is the registry running there?"),
        (["--registry", "http://[::1:8081"], 1, "is not the address of a schema registry"),
        (["--registry", "registry:8081"], 1, "is not the address of a schema registry"),
        (["--registry", "http://ada:pw@127.0.0.1:9"], 1, "put user:password into a variable"),
        (["--registry", "http://127.0.0.1:9", "--compatibility", "SOME"], 2, "'SOME' is not known"),
        (["--registry", "http://127.0.0.1:9", "--credentials-env", "NOT_THERE"], 2, "NOT_THERE is not set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_be_is_said(plan, capsys, arguments, code, message) -> None:
    assert run(["plan", "publish", *arguments]) == code
    shown = capsys.readouterr().err
    assert message in shown and "pw" not in shown.replace("password", "")


def test_a_server_that_is_no_registry_is_named(registry, plan, capsys) -> None:
    for answer, message in (((404, ["not here"]), "status 404; "), ((200, ["here"]), "names no version; ")):
        registry.answer = lambda *_, answer=answer: answer  # type: ignore[method-assign,misc]
        assert run(["plan", "publish", "--registry", registry.url]) == 1
        assert f"{message}is this a schema registry?" in capsys.readouterr().err


def test_each_schema_stands_for_itself() -> None:
    schemas = event_schemas(load_plan())
    good = {"event_id": "e", "event_name": "payment_completed", "timestamp": "2026-03-01T10:00:00Z", "user_id": "u",
            "properties": {"amount": 1.5, "currency": "EUR"}}  # fmt: skip
    schema = schemas["payment_completed"]
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(good)
    for broken in ({"event_name": "page_viewed"}, {"properties": {"amount": "x"}}, {"user_id": None}, {"more": 1}):
        assert not validator.is_valid({**good, **broken}), broken
