"""The collector's own protocol: POST /ingest of one event or a list, answered with a verdict an event."""

from __future__ import annotations

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, IngestResult, SenderProtocol
from gtm_dagster.collector.response import Response


def events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event. Raises Refused 400 for what is not JSON, and 413 for too many events."""
    return split(request.body, request.max_events, request.max_event_bytes)


def response(result: IngestResult) -> Response:
    """200 with the counts, the verdict on each event in the order sent, the plan's version and the log's offset."""
    counts = {"accepted": 0, "duplicate": 0, "quarantined": 0, "suppressed": 0}
    for each in result.results:
        counts[each.status] += 1
    document = {
        "accepted": counts["accepted"],
        "duplicates": counts["duplicate"],
        "quarantined": counts["quarantined"],
        "suppressed": counts["suppressed"],
        "results": result.results,
        "plan_version": result.plan_version,
        "offset": result.offset,
    }
    return Response(200, msgspec.json.encode(document))


PROTOCOL = SenderProtocol("native", ("/ingest",), events, response)
