"""Coverage-guided fuzzing of what decodes a request: bodies, lists of events, every protocol, headers, heartbeats.

`.cache/edge-tools/bin/python -m benchmarks.fuzz_edge --seconds 60` (after scripts/install-edge-tools) gives each target so many
seconds in a process of its own. What is promised: whatever the bytes are, a decoder returns events or raises Refused, every
event gets a verdict that can be answered as JSON, no input takes five seconds, and the process stays below a gigabyte.
An input that breaks this is left as a file whose name is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_LONGEST = 4096
_ANSWER_SECONDS = 5
_MOST_MB = 1000
_EVENT = b'{"event_id":"e1","event_name":"page_viewed","anonymous_id":"v","timestamp":"2026-03-01T10:00:00Z"}'
_TRACK = (
    b'{"type":"track","event":"Trial Started","messageId":"m","userId":"u","properties":{"plan":"pro"},"context":{}}'
)
_SEEDS = (
    _EVENT, b"[" + _EVENT + b"]", b"[" + _EVENT + b"," + b'{"a":NaN}]', b'{"batch":[' + _TRACK + b'],"sentAt":"2026-03-01T10:00:00Z"}', _TRACK,
    b'{"api_key":"k","batch":[{"event":"$pageview","distinct_id":"d","properties":{"$lib":"web"}}]}', b"data=eyJldmVudCI6ICJhIn0=",
    b'{"specversion":"1.0","id":"1","source":"s","type":"page_viewed","data":{"anonymous_id":"v"}}',
    b'{"producer":"shop","ts":"2026-03-01T10:00:00Z"}', b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x8b\x8e\x05\x00",
    b"Basic ZGV2Og==", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"writeKey=dev&sentAt=2026-03-01",
    b"localhost:8377", b"analytics-python/2.4.0",
)  # fmt: skip
Target = Callable[[bytes], None]


def targets() -> dict[str, Target]:
    """The targets by name; each takes any bytes, and raises where a promise is broken."""
    import msgspec

    from gtm_dagster.admission.single_event import Judge
    from gtm_dagster.admission.trace_context import trace_id_of
    from gtm_dagster.collector.access import Access
    from gtm_dagster.collector.body import Unpacking, check_encoding
    from gtm_dagster.collector.client_library import sent_with
    from gtm_dagster.collector.event_list import split
    from gtm_dagster.collector.headers import check_host, query_value
    from gtm_dagster.collector.heartbeats import Heartbeat, is_program_name, moment_us
    from gtm_dagster.collector.keys import KeyStore
    from gtm_dagster.collector.protocols import PROTOCOLS, IngestRequest, SenderProtocol
    from gtm_dagster.collector.protocols.analytics_message import Sent, event_of
    from gtm_dagster.collector.protocols.batch_body import read_message
    from gtm_dagster.collector.protocols.plain_message import plain_event
    from gtm_dagster.collector.response import Refused, error_response
    from gtm_dagster.privacy.pseudonyms import Pseudonymizer
    from gtm_dagster.privacy.sealing import Sealer
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.taxonomy.decoding import too_deep
    from gtm_dagster.tracking.event_id import uuid7

    key = b"k" * 32
    plan = load_plan()
    judge = Judge(plan, Pseudonymizer(key), Sealer(key), 2048, make_id=uuid7)
    keys = KeyStore(Path(tempfile.mkdtemp(prefix="gtm-fuzz-")), allow_dev=True)
    access = Access(keys)

    def verdicts(events: list[bytes]) -> None:
        for one in judge(events, write_key="w", received_us=time.time_ns() // 1000, gates_consent=True):
            msgspec.json.encode([one.event_id, one.errors, one.note])
            if one.record.verdict not in ("accepted", "quarantined", "suppressed"):
                raise AssertionError(one.record.verdict)

    def refusing(work: Callable[[bytes], None]) -> Target:
        def target(data: bytes) -> None:
            try:
                work(data)
            except Refused as refused:
                if not 400 <= error_response(refused).status < 500:
                    raise AssertionError(f"{refused.status} {refused}") from refused

        return target

    def of_protocol(protocol: SenderProtocol, path: str) -> Target:
        def work(data: bytes) -> None:
            headers = {"sentat": "2026-03-01T10:00:00Z", "posthog-request-timestamp": "2026-03-01T10:00:00Z"}
            if protocol.name == "cloudevents":
                headers["content-type"] = "application/cloudevents+json"
            request = IngestRequest(path, data, 50, 2048, headers, time.time_ns() // 1000, plan)
            if protocol.key_of is not None:
                protocol.key_of(request)
            verdicts(protocol.events(request))

        return refusing(work)

    def body(data: bytes) -> None:
        unpacking = Unpacking(data, 100_000)
        unpacking.start(1000)
        if len(unpacking.text()) > 100_000:
            raise AssertionError("more than the limit was unpacked")

    def headers_(data: bytes) -> None:
        scope = {"headers": [(b"authorization", data), (b"host", data), (b"user-agent", data)], "query_string": data, "http_version": "1.1"}  # fmt: skip
        for read in (
            lambda: check_host(scope), lambda: access.sender(scope), lambda: check_encoding([data]),
            lambda: access.sender({"headers": [(b"x-write-key", data), (b"host", b"localhost"), (b"origin", data)], "query_string": b""}),
        ):  # fmt: skip
            refusing(lambda _, read=read: read())(data)  # type: ignore[misc]
        query_value(scope, "sentAt")
        sent_with("native", scope).encode("ascii")
        trace_id_of(data)

    def heartbeat(data: bytes) -> None:
        try:
            beat = msgspec.json.decode(data, type=Heartbeat)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return
        is_program_name(beat.producer)
        for value in (beat.ts, beat.sent_at):
            if value is not None:
                moment_us("ts", value)

    def both_ways(data: bytes) -> None:
        sent = Sent(1_790_000_000_000_000, "2026-09-21T10:00:00Z")
        short = None if too_deep(data) else plain_event(data, "track", sent, plan)
        if short is not None:
            message = read_message(data, _LONGEST)
            if message is None or msgspec.json.encode(event_of(message, "track", sent, plan)) != short:
                raise AssertionError("the short way of a message gives another event")

    found: dict[str, Target] = {
        "body": refusing(body),
        "list": refusing(lambda data: verdicts(split(data, 50, 2048))),
        "headers": headers_,
        "heartbeat": refusing(heartbeat),
    }
    for protocol in PROTOCOLS:
        for path in dict.fromkeys((protocol.paths[0], protocol.paths[-1])):
            found[f"{protocol.name} {path}"] = of_protocol(protocol, path)
    found["segment, both ways"] = both_ways
    return found


def names() -> list[str]:
    """The targets' names."""
    return list(targets())


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target in this process; the process ends with it. `folder` keeps inputs that found something new."""
    import atheris

    with atheris.instrument_imports(include=["gtm_dagster.collector", "gtm_dagster.taxonomy", "gtm_dagster.admission"]):
        target = targets()[name]
    limits = [
        f"-max_total_time={seconds}",
        f"-timeout={_ANSWER_SECONDS}",
        f"-rss_limit_mb={_MOST_MB}",
        f"-max_len={_LONGEST}",
    ]
    atheris.Setup([name, *limits, "-print_final_stats=1", f"-artifact_prefix={folder}/broken-", str(folder)], target)
    atheris.Fuzz()


def main() -> int:
    """Fuzz every target, or the one that is named."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=60, help="for each target")
    options.add_argument("--target", help="only this one, in this process")
    options.add_argument("--folder", type=Path, help="where inputs are kept; default: a new one")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="gtm-fuzz-inputs-"))
    if given.target:
        fuzz(given.target, given.seconds, folder)
        return 0
    failed = []
    for number, name in enumerate(names()):
        inputs = folder / f"{number:02d}"
        inputs.mkdir(parents=True, exist_ok=True)
        for n, seed in enumerate(_SEEDS):
            (inputs / f"seed-{n}").write_bytes(seed)
        command = [sys.executable, "-m", "benchmarks.fuzz_edge", "--target", name, "--seconds", str(given.seconds), "--folder", str(inputs)]  # fmt: skip
        done = subprocess.run(command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": str(_ROOT)}, capture_output=True, text=True, check=False)  # fmt: skip
        stats = {
            words[0]: words[-1]
            for line in done.stderr.splitlines()
            if (words := line.split()) and line.startswith("stat::")
        }
        executed, peak = stats.get("stat::number_of_executed_units:", "?"), stats.get("stat::peak_rss_mb:", "?")
        start = re.search(r"INITED.* rss: (\d+)Mb", done.stderr)
        memory = f"{start[1] if start else '?'} MB at first and {peak} MB at most"
        print(
            f"{name}: {executed} inputs in {given.seconds} s, {memory}, {'broken' if done.returncode else 'held'}",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print("\n".join(done.stderr.splitlines()[-40:]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
