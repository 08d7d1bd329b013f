"""What is answered when something is wrong, old, long or not there."""

from __future__ import annotations

import pytest
from asgi_client import AsgiClient
from dashboard_cases import dashboard, publish, settings_in, small

from gtm_dagster.dashboard.pages import static_file


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/nope", 404, "there is no page /nope"),
        ("/?type=nope", 400, "there are payment_completed"),
        ("/?unknown=1", 400, "unknown is no parameter"),
        ("/chart/nope.csv", 404, "conversions_by_day"),
        ("/chart/conversions_by_day.xlsx", 404, "csv, json, svg and sql"),
        ("/chart/channel_models.svg", 404, "csv, json and sql"),
        ("/chart/conversions_by_day.csv?from=x", 400, "30d"),
        ("/static/../pages.py", 404, ""),
        ("/static/charts.css", 404, ""),
        ("/?campaign=" + "x" * 20_000, 414, "too long"),
        ("/data?table=core.secrets", 404, "marts.daily"),
        ("/livez", 200, "ok"),
        ("/favicon.ico", 200, "<svg"),
    ],
)
def test_what_is_answered(client: AsgiClient, path: str, status: int, said: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert said in answer.text.replace("&#39;", "'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_nothing_writes(client: AsgiClient) -> None:
    for path in ("/", "/data", "/chart/conversions_by_day.csv"):
        assert client.post(path, b"").status_code == 405


def test_a_page_that_did_not_change_is_not_sent_again_and_a_new_file_is(tmp_path) -> None:  # type: ignore[no-untyped-def]
    settings = settings_in(tmp_path)
    publish(settings.serving_path, small(3))
    with dashboard(settings) as client:
        first = client.get("/chart/conversions_by_day.csv")
        assert client.get("/chart/conversions_by_day.csv", {"if-none-match": first.headers["etag"]}).status_code == 304
        publish(settings.serving_path, small(4))
        again = client.get("/chart/conversions_by_day.csv", {"if-none-match": first.headers["etag"]})
        assert again.status_code == 200 and again.text != first.text


def test_the_style_sheet_is_kept_under_the_address_of_its_content(client: AsgiClient) -> None:
    digest = static_file("dashboard.css")[1]
    assert "immutable" in client.get(f"/static/dashboard.css?v={digest}").headers["cache-control"]
    assert client.get("/static/dashboard.css?v=old").headers["cache-control"] == "no-cache"


def test_a_fault_says_nothing_of_the_machine(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from gtm_dagster.dashboard import pages

    def fails(*_: object) -> None:
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr(pages, "choices_in", fails)
    settings = settings_in(tmp_path)
    publish(settings.serving_path, {})
    with dashboard(settings) as client:
        answer = client.get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_statements_rows_are_taken_away_as_csv(client: AsgiClient) -> None:
    answer = client.get("/query.csv?q=SELECT%201%20AS%20one,%20'=cmd()'%20AS%20text")
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    assert answer.text.splitlines() == ["one,text", "1,'=cmd()"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP%20TABLE%20x", "SELECT"),
        ("SELECT%20nope", "nope"),
        ("SELECT%20" + "1," * 6_000 + "1", "12,000"),
    ],
)
def test_a_statement_that_gives_no_csv_says_why(client: AsgiClient, statement: str, said: str) -> None:
    answer = client.get(f"/query.csv?q={statement}")
    assert answer.status_code == 400
    assert said in answer.text


def test_metrics_count_answers_by_page(client: AsgiClient) -> None:
    def count(page: str, status: str) -> float:
        line = f'gtm_dashboard_answer_seconds_count{{page="{page}",status="{status}"}} '
        return next(
            float(row.removeprefix(line)) for row in client.get("/metrics").text.splitlines() if row.startswith(line)
        )

    before = {each: count(*each) for each in [("funnel", "2xx"), ("funnel", "4xx"), ("chart", "2xx"), ("other", "4xx")]}
    for path in ("/funnel", "/funnel?from=x", "/chart/conversions_by_day.csv", "/nope-" + "x" * 30):
        client.get(path)
    assert {each: count(*each) - n for each, n in before.items()} == dict.fromkeys(before, 1.0)
