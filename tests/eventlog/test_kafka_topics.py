"""What a real topic may hold, lose and refuse; and the words for a client that is not installed."""

from __future__ import annotations

import sys

import pytest
from eventlog_cases import quarantined, record
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.eventlog import EventLogError, LogChangedError, open_log
from gtm_dagster.eventlog.kafka_messages import key_of, packed, table_of
from gtm_dagster.eventlog.kafka_topic import Topic
from gtm_dagster.settings import load_settings
from gtm_dagster.settings.broker import Kafka
from gtm_dagster.storage.migrations import NewerFormatError


def opened(tmp_path, topic: str, **environ: str):
    ours = {"GTM_STATE_DIR": str(tmp_path), "GTM_EVENT_LOG": topic, "GTM_KAFKA__ACK_SECONDS": "20"}
    return open_log(load_settings(None, ours | environ))


def admin_of(topic: str):
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": Topic.at(topic, Kafka()).servers, "log_level": 0})


def send(topic: str, *values: bytes) -> None:
    """Messages of somebody else, all into partition 0."""
    from confluent_kafka import Producer

    address = Topic.at(topic, Kafka())
    producer = Producer({"bootstrap.servers": address.servers})
    for value in values:
        producer.produce(address.name, value, partition=0)
    assert producer.flush(20) == 0


class Message:
    """As much of a message as a reader looks at."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def value(self) -> bytes:
        return self._value

    def partition(self) -> int:
        return 2

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_772_323_200_000)


TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1)


@given(TEXTS, TEXTS, NUMBERS, st.none() | st.binary(max_size=5), TEXTS)
@examples(60)
def test_a_record_comes_back_from_its_message_as_it_was(properties, user_id, event_us, sealed, role):
    stored = record("a", properties=properties, user_id=user_id, event_us=event_us, sealed=sealed, key_role=role)
    (row,) = table_of([(5, Message(packed(stored)["value"]))]).to_pylist()
    assert row.pop("row_no") == 5
    assert row == {name: getattr(stored, name) for name in row}


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        pytest.param({"user_id": "u", "anonymous_id": "a"}, "shop:u", id="the user"),
        pytest.param({"anonymous_id": "a"}, "shop:a", id="else the anonymous id"),
        pytest.param({"anonymous_id": None}, "shop:", id="a refused event that names nobody"),
    ],
)
def test_the_key_is_the_person_within_the_write_key(changed, key):
    assert key_of(record("a", **changed)) == key


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"write_key":1}',
        b'{"hello":"world"}',
        b'{"v":1,"write_key":"w","event_id":"e","event_name":"n","event_us":1,"received_us":99999999999999999999}',
    ],
)
def test_a_message_of_somebody_else_is_a_quarantined_row_and_holds_up_nobody(value):
    own = Message(packed(record("a"))["value"])
    first, second = table_of([(1, Message(value)), (2, own)]).to_pylist()
    assert (first["verdict"], first["reason_codes"], first["received_us"]) == (
        "quarantined",
        "unreadable_message",
        1_772_323_200_000_000,
    )
    assert "partition 2, offset 7: no record of a collector" in first["errors"]
    assert (second["event_id"], second["verdict"]) == ("a", "accepted")


@pytest.mark.parametrize(
    "value",
    [
        b'{"v":2,"anything":1}',
        b'{"v":1,"write_key":"w","event_id":"e","event_name":"n","event_us":1,"received_us":2,"planet":"x"}',
    ],
)
def test_a_message_of_a_later_version_is_refused_and_names_its_place(value):
    with pytest.raises(
        NewerFormatError, match=r"offset 9 \(partition 2, offset 7 of the topic\): written by a newer gtm-dagster"
    ):
        table_of([(9, Message(value))])


def test_without_the_client_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(EventLogError, match=r"pip install 'gtm-dagster\[kafka\]', or unset event_log"):
        opened(tmp_path, "kafka://127.0.0.1:1/t")


@pytest.mark.real
@pytest.mark.parametrize(
    ("environ", "message"),
    [
        pytest.param({"GTM_COLLECTOR__MAX_EVENT_BYTES": "900000"}, "collector.max_event_bytes = 900000: .* at most 200000", id="events larger than messages"),
        pytest.param({"GTM_KAFKA__CLIENT": '{"no.such": 1}'}, 'refuses its settings .*"no.such"', id="a setting that librdkafka does not have"),
        pytest.param({"GTM_KAFKA__CLIENT": '{"sasl.password": "x"}'}, r"kafka.client holds sasl.password: .* kafka.password_env names", id="a secret among the settings"),
        pytest.param({"GTM_KAFKA__PASSWORD_ENV": "NOT_THERE"}, "names NOT_THERE, which is not set", id="a password that is nowhere"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_named(kafka, tmp_path, topic, environ, message):
    with pytest.raises(EventLogError, match=message), opened(tmp_path, topic, **environ) as log:
        log.last_seq()


@pytest.mark.real
@pytest.mark.parametrize(
    ("client", "codec"),
    [
        pytest.param("{}", 3, id="lz4 unless something else is asked for"),
        pytest.param('{"compression.type": "zstd"}', 4, id="zstd by kafka.client"),
    ],
)
def test_batches_are_compressed_as_the_deployment_says(kafka, tmp_path, topic, client, codec):
    with opened(tmp_path, topic, GTM_KAFKA__CLIENT=client, GTM_KAFKA__PARTITIONS="1") as log:
        log.append([record(f"e{n}") for n in range(50)])
    (segment,) = kafka.folder.rglob(f"{Topic.at(topic, Kafka()).name}-0/*.log")
    attributes = int.from_bytes(segment.read_bytes()[21:23], "big")  # of a record batch of format 2
    assert attributes & 0b111 == codec


@pytest.mark.real
def test_messages_of_others_are_in_the_log_as_refused(kafka, tmp_path, topic):
    with opened(tmp_path, topic) as log:
        log.append([record("a")])
        send(topic, b"hello", b"{}")
        verdicts = log.read_arrow(0)[0]["verdict"].to_pylist()
        assert sorted(verdicts) == ["accepted", "quarantined", "quarantined"]


@pytest.mark.real
def test_a_topic_is_made_to_keep_originals_no_longer_than_quarantine_days(kafka, tmp_path, topic):
    from confluent_kafka.admin import ConfigResource, ResourceType

    with opened(tmp_path, topic, GTM_QUARANTINE__DAYS="3") as log:
        log.append([quarantined("a")])
    resource = ConfigResource(ResourceType.TOPIC, Topic.at(topic, Kafka()).name)
    admin = admin_of(topic)
    config = admin.describe_configs([resource])[resource].result()
    assert (config["retention.ms"].value, config["segment.ms"].value) == (str(3 * 86_400_000), str(86_400_000))
    says = r"keeps records for 3 days, .* quarantine.days = 1; set retention.ms of the topic to 86400000"
    with opened(tmp_path, topic, GTM_QUARANTINE__DAYS="1") as log, pytest.raises(EventLogError, match=says):
        log.append([record("b")])
    with opened(tmp_path, topic, GTM_QUARANTINE__DAYS="0") as log:
        assert log.append([record("b")]).accepted == 1, "nothing is sealed, so nothing has to end"


def delete_before(topic: str, offset: int) -> None:
    """Let the broker delete the records of all partitions before `offset`, as its retention does."""
    from confluent_kafka import TopicPartition

    name = Topic.at(topic, Kafka()).name
    admin = admin_of(topic)
    for each in admin.delete_records([TopicPartition(name, part, offset) for part in range(1)]).values():
        each.result()


@pytest.mark.real
def test_records_that_leave_the_topic_unread_are_said_and_accepted_by_a_person(kafka, tmp_path, topic):
    with opened(tmp_path, topic, GTM_KAFKA__PARTITIONS="1") as log:
        log.append([record(str(n)) for n in range(4)])
        assert log.last_seq() == 4
        log.append([record(str(n)) for n in range(4, 10)])
        delete_before(topic, 8)
        with pytest.raises(
            LogChangedError, match="partition 0 begins at offset 8, offsets 4 to 7 left it before they were read"
        ) as caught:
            log.resume(None)
        assert "gtm log accept --reason" in str(caught.value)
        accepted = log.accept([(None, True)], reason="the loader was off", actor="ada")
        assert accepted is not None and accepted.kinds == ["trimmed"]
        assert [row["reason"] for row in log.accepted()] == ["the loader was off"]
        after = log.resume(None, from_start=True)
        table, last = log.read_arrow(after)
        assert (table["event_id"].to_pylist(), last) == (["8", "9"], 6)


@pytest.mark.real
def test_a_reader_behind_what_the_topic_keeps_is_told_so_and_what_was_read_is_forgotten(kafka, tmp_path, topic):
    with opened(tmp_path, topic, GTM_KAFKA__PARTITIONS="1") as log:
        for n in range(3):
            log.append([record(f"{n}-{m}") for m in range(5)])
            assert log.last_seq() == 5 * n + 5
        assert log.first_seq() == 1
        delete_before(topic, 10)
        with pytest.raises(LogChangedError, match="partition 0 has no offset 4 any more"):
            log.read_arrow(4)
        assert log.trim("2026-03-01") == 10
        assert (log.first_seq(), log.last_seq(), log.count(0, 15)) == (11, 15, 5)
        with pytest.raises(LogChangedError, match="offsets 1 to 10 left it before they were read"):
            log.resume(None, from_start=True)
        assert log.read_arrow(10)[0]["event_id"].to_pylist() == [f"2-{m}" for m in range(5)]


@pytest.mark.real
def test_a_topic_that_was_made_anew_is_another_log(kafka, tmp_path, topic):
    with opened(tmp_path, topic) as log:
        log.append([record("a")])
        before = (log.log_id, log.last_seq())
    name = Topic.at(topic, Kafka()).name
    admin = admin_of(topic)
    admin.delete_topics([name])[name].result()
    with opened(tmp_path, topic) as log:
        assert log.append([record("b")]).statuses == ["accepted"]
        assert (log.log_id != before[0], log.last_seq()) == (True, 1)
