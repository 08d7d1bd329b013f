"""The OpenAPI document: it has every route, and the collector answers as it says; decoders keep their word whatever the bytes are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from collector_harness import Edge

from benchmarks.collector import COLLECT, Subject, serving
from benchmarks.schema_requests import TOOL, attacked
from gtm_dagster.collector.protocols import PROTOCOLS

ROOT = Path(__file__).parents[2]
installed = pytest.mark.skipif(
    not TOOL.exists(),
    reason="schemathesis and atheris are not installed: run scripts/install-edge-tools (make test-real does)",
)


def test_every_route_is_in_the_document_and_none_besides(edge: Edge) -> None:
    answer = edge.get("/openapi.json")
    assert answer.status == 200
    document = answer.json()
    routes = {path: {method.lower() for method in methods} for path, methods in edge.app._routes.items()}
    assert {path: set(item) for path, item in document["paths"].items()} == routes
    for protocol in PROTOCOLS:
        answers = document["paths"][protocol.paths[0]]["get" if protocol.in_query else "post"]["responses"]
        assert {"200", "400", "401", "413", "429", "503"} <= set(answers)
        assert answers["429"]["headers"]["Retry-After"]["schema"]["type"] == "integer"


@pytest.mark.real
@installed
def test_the_collector_answers_as_its_document_says() -> None:
    with serving(Subject("collector", COLLECT)) as (_, url):
        code, requests, output = attacked(url, seed=7, examples=2)
    assert code == 0, output
    assert requests > 500


@pytest.mark.real
@installed
def test_decoders_keep_their_word_whatever_the_bytes_are(tmp_path: Path) -> None:
    python = TOOL.with_name("python")
    command = [str(python), "-m", "benchmarks.fuzz_edge", "--seconds", "2", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("held") >= 13
