"""docs/sdk.md runs as written, and its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gtm_dagster.micro.running_micro import running_micro
from gtm_dagster.tracking import buffer, collector_client, process_end

PAGE = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(block: str, url: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "shop"}
    exec(block.replace("http://127.0.0.1:8377", url), names)
    return names


def test_every_block_runs() -> None:
    asynchronous, web, gate, product = BLOCKS
    with running_micro() as micro:
        run(asynchronous, micro.url)
        run(gate, micro.url)
        assert [event["user_id"] for event in micro.good(count=2)] == ["u-42", "u-42"]
        micro.reset()
        run(product, micro.url)["test_a_payment_is_reported_once"](micro)
    assert run(web, "")["app"].user_middleware


def test_the_figures_are_those_of_the_code() -> None:
    assert f"at most {process_end.EXIT_TIMEOUT:g} s" in PAGE
    assert f"{buffer.MAX_QUEUE_BYTES // 1_000_000} MB wait" in PAGE
    assert buffer.MAX_REST == 60 and "up to a minute" in PAGE
    assert f"at most {collector_client.MAX_RETRY_AFTER} s" in PAGE
