"""What a sender is answered: how many events of its request became what, and the verdict on each."""

from __future__ import annotations

import msgspec

from gtm_dagster.collector.protocols.sender_protocol import EventResult, IngestResult
from gtm_dagster.collector.response import Response


def counts(result: IngestResult) -> dict[str, int]:
    """Events of the request by verdict, those of all four verdicts."""
    found = {"accepted": 0, "duplicate": 0, "quarantined": 0, "suppressed": 0}
    for each in result.results:
        found[each.status] += 1
    return {
        "accepted": found["accepted"],
        "duplicates": found["duplicate"],
        "quarantined": found["quarantined"],
        "suppressed": found["suppressed"],
    }


def refused(result: IngestResult) -> list[EventResult]:
    """The events that were quarantined, with their reasons."""
    return [each for each in result.results if each.status == "quarantined"]


def verdicts(result: IngestResult) -> Response:
    """200 with the counts, the verdict on each event in the order sent, the plan's version and the log's offset."""
    document = {
        **counts(result),
        "results": result.results,
        "plan_version": result.plan_version,
        "offset": result.offset,
    }
    return Response(200, msgspec.json.encode(document))
