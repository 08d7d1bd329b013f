"""Templates: what they may name, what a value may do in them, and what a check says before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtm_dagster.delivery.attempt import Leased
from gtm_dagster.delivery.message_templates import MessageTemplateError, MessageTemplates
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.triggers.rules_file import load_rules
from gtm_dagster.triggers.target_lint import template_problems, templates_beside

EXAMPLES = Path(__file__).parents[2] / "examples" / "triggers" / "triggers.yaml"
VALUES = {"rule": "nudge", "person": "p1", "event": {"name": "e"}, "key": None, "properties": {"plan": "pro"}}
HOSTILE = '<script>alert(1)</script> [x](javascript:alert(1)) **b** `c` & "q" _u_ <https://evil.example|here>\n\n# Head'


@pytest.fixture
def templates(tmp_path: Path) -> MessageTemplates:
    return MessageTemplates(tmp_path)


def write(templates: MessageTemplates, text: str, name: str = "t.j2") -> None:
    (templates.folder / name).write_text(text)


def test_an_email_has_a_subject_a_text_and_html(templates: MessageTemplates) -> None:
    write(
        templates,
        "Subject: {{ properties.plan | upper }} waits\n\nGo **on** with {{ properties.plan }}.\n\n- [here](https://x.example)\n",
    )
    made = templates.render("email", "t.j2", VALUES)
    assert made.headers == {"Subject": "PRO waits"}
    assert made.text == "Go **on** with pro.\n\n- [here](https://x.example)\n"
    assert (
        made.html
        == '<p>Go <strong>on</strong> with pro.</p>\n<ul>\n<li><a href="https://x.example">here</a></li>\n</ul>\n'
    )


def test_a_value_is_never_markup(templates: MessageTemplates) -> None:
    values = {**VALUES, "properties": {"plan": HOSTILE}}
    write(templates, "Subject: {{ properties.plan }}\n\n{{ properties.plan }}")
    mail = templates.render("email", "t.j2", values)
    assert "\n" not in mail.headers["Subject"], "no further header"
    for mark in ("<script", "<a ", "<strong", "<code", "<em", "<h1"):
        assert mark not in mail.html
    assert "&lt;script&gt;" in mail.html and "**b**" in mail.html
    write(templates, "Say {{ properties.plan }} to <https://good.example|us>")
    text = templates.render("slack", "t.j2", values).text
    assert "&lt;https://evil.example|here&gt;" in text and "<https://good.example|us>" in text and "\n" not in text
    assert '&amp; "q"' in text, "Slack escapes three characters and no others"
    values["properties"] = {"plan": "pro\nLink: https://evil.example/"}
    write(templates, "Title: Your {{ properties.plan }}\n\nGo on")
    assert templates.render("in_app", "t.j2", values).headers == {"Title": "Your pro Link: https://evil.example/"}


def test_a_property_that_is_null_is_absent(templates: MessageTemplates) -> None:
    write(templates, "Your plan: {{ properties.plan | default('free') }}")
    payload = {"event": {"properties": {"plan": None}}}
    message = Leased("a", "r", "p", "service", "slack", "t.j2", payload, 1, 1, 0, 0, 0, "")
    assert templates.render("slack", "t.j2", message.named()).text == "Your plan: free"


@pytest.mark.parametrize(
    ("channel", "text", "problem"),
    [
        ("email", "Hello", "has no Subject; begin it with `Subject: ...` and a blank line"),
        ("email", "Subject: x\nBcc: all@x.example\n\nHello", "Bcc is not a header of email; known: Subject"),
        ("in_app", "Link: /x\n\nHello", "has no Title"),
        ("in_app", "Title: x\nLink: javascript:alert(1)\n\nHello", "Link is neither http(s) nor a path of your product"),
        ("in_app", "Title: x\nLink: //evil.example\n\nHello", "Link is neither"),
        ("slack", "{{ nothing }}", "'nothing' is undefined"),
        ("slack", "{{ properties.none }}", "has no attribute 'none'"),
        ("slack", "{% if %}", "line 1: TemplateSyntaxError"),
        ("slack", "{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("slack", "{{ properties.update({'a': 1}) }}", "SecurityError"),
        ("slack", "{{ 1 // 0 }}", "ZeroDivisionError"),
        ("slack", "{% include '../../etc/passwd' %}", "there is no such file"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_be(templates: MessageTemplates, channel: str, text: str, problem: str) -> None:
    write(templates, text)
    with pytest.raises(MessageTemplateError) as refused:
        templates.render(channel, "t.j2", VALUES)
    assert problem in str(refused.value) and str(refused.value).startswith("templates/t.j2")


def test_a_template_that_changes_is_read_anew(templates: MessageTemplates) -> None:
    import os

    write(templates, "one")
    assert templates.render("slack", "t.j2", VALUES).text == "one"
    write(templates, "two")
    os.utime(templates.folder / "t.j2", (1, 1))
    assert templates.render("slack", "t.j2", VALUES).text == "two"


RULES = """
rules:
  nudge:
    on: checkout_started
    purpose: service
    do: {slack: t.j2}
"""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ properties.amount | default('?') }} {{ rule }} {{ person }} {{ event.name }} {{ key }} {{ due_at }}", None),
        ("{% if properties.plan is defined %}{{ properties.plan }}{% endif %}", None),
        ("{{ properties.plan }}", "has no attribute 'plan'; not every checkout_started has it: write `is defined` or `| default(...)`"),
        ("{{ properties.amout | default(1) }}", "line 1: properties.amout is not a property of the event that starts the rule; known: plan"),
        ("{{ properties.account_id | default(1) }}", "properties.account_id is not a property"),
        ("{{ user }}", "'user' is not known here; a template may name rule, person, key, due_at, event, properties"),
        (None, "there is no such file"),
        ("\n\n{% for %}", "line 3: TemplateSyntaxError"),
    ],
    ids=["all names", "asked whether it is there", "an optional property", "a misspelt property", "a personal one", "a name", "no file", "syntax"],
)  # fmt: skip
def test_check_says_before_anything_is_sent_what_would_fail_then(
    tmp_path: Path, text: str | None, problem: str | None
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "templates").mkdir()
    if text is not None:
        (tmp_path / "templates" / "t.j2").write_text(text)
    plan = load_plan(None)
    found = template_problems(
        load_rules(tmp_path / "rules.yaml", plan), plan, templates_beside(tmp_path / "rules.yaml")
    )
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1 and found[0].startswith("rule nudge, do.slack: templates/t.j2") and problem in found[0]


def test_the_templates_of_the_examples_are_good() -> None:
    plan = load_plan(None)
    rules = load_rules(EXAMPLES, plan)
    assert template_problems(rules, plan, templates_beside(EXAMPLES)) == []
    used = {rule.target for rule in rules if rule.channel != "webhook"}
    assert {path.name for path in (EXAMPLES.parent / "templates").iterdir()} == used
