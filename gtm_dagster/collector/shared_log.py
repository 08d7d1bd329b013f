"""One writer of the log behind several processes: each worker hands its records over by a pipe, and waits for the commit.

Writers of their own would commit one after the other, each waiting for the disk. With one, what all workers have taken is
durable by the same commit, as in a single process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import msgspec
from msgspec.structs import astuple

from gtm_dagster.collector.commits import Appender
from gtm_dagster.eventlog import AppendResult, EventLogError, Record, Refusal

_GONE = "the process that writes the event log is gone"


class _Row(Record, frozen=True, gc=False, array_like=True):
    """A record as it goes through the pipe: its values in the order of its fields."""


class _Batch(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    number: int
    records: list[_Row]


class _Beat(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    number: int
    values: tuple[str, int, int, bool, str, str, int | None]


class _Refusals(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    number: int
    rows: tuple[Refusal, ...]


class _Outcome(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Of the item `number`: what came of records, of a heartbeat or of refusals, or why nothing did."""

    number: int
    appended: AppendResult | None
    other: bool | int
    error: str | None


_encode = msgspec.msgpack.Encoder().encode
_item = msgspec.msgpack.Decoder(_Batch | _Beat | _Refusals).decode
_outcome = msgspec.msgpack.Decoder(_Outcome).decode


def serve_log(log: Appender, pipe: Connection) -> threading.Thread:
    """Append what comes by `pipe` until its other end is closed, in a thread that is returned."""
    thread = threading.Thread(target=_serve, args=(log, pipe), name="shared-log", daemon=True)
    thread.start()
    return thread


def _serve(log: Appender, pipe: Connection) -> None:
    answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    # a thread of its own: the log's writer, which calls `answer`, must not wait for a worker that stands still
    threading.Thread(target=_send_all, args=(pipe, answers), name="shared-log-out", daemon=True).start()

    def answer(number: int, future: Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            outcome = _Outcome(number, None, False, str(error or _GONE))
        else:
            result = future.result()
            is_other = isinstance(result, int)
            outcome = _Outcome(number, None if is_other else result, result if is_other else False, None)
        answers.put(_encode(outcome))

    def begin(number: int, submit: Callable[[], Future[Any]]) -> None:
        try:
            future = submit()
        except EventLogError as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: answer(number, done))

    while True:
        try:
            item = _item(pipe.recv_bytes())
        except (EOFError, OSError):
            answers.put(None)
            return
        if isinstance(item, _Batch):
            begin(item.number, lambda records=item.records: log.submit(records))  # type: ignore[misc]
        elif isinstance(item, _Refusals):
            begin(item.number, lambda rows=item.rows: log.submit_refusals(rows))  # type: ignore[misc]
        else:
            begin(item.number, lambda values=item.values: log.submit_beat(*values))  # type: ignore[misc]


def _send_all(pipe: Connection, messages: queue.SimpleQueue[bytes | None]) -> None:
    """Send messages until None comes, or nobody is left at the other end."""
    while (message := messages.get()) is not None:
        try:
            pipe.send_bytes(message)
        except OSError:
            return  # who receives from this pipe sees its end, too


class SharedLog:
    """The log as a worker has it: an Appender whose writer is at the other end of `pipe`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waiting: dict[int, Future[Any]] = {}
        self._number = 0
        self._fault: str | None = None
        self._lock = threading.Lock()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=_send_all, args=(pipe, self._out), name="log-out", daemon=True).start()
        threading.Thread(target=self._receive, name="log-in", daemon=True).start()

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable. Raises EventLogError when its writer is gone."""
        return self._asked(lambda number: _encode(("_Batch", number, [astuple(record) for record in records])))

    def submit_beat(
        self,
        producer: str,
        ts_us: int,
        received_us: int,
        closing: bool = False,
        instance: str = "",
        write_key: str = "",
        skew_us: int | None = None,
    ) -> Future[bool]:
        """Queue a heartbeat; the future is done when it is durable."""
        values = (producer, ts_us, received_us, closing, instance, write_key, skew_us)
        return self._asked(lambda number: _encode(_Beat(number, values)))

    def submit_refusals(self, rows: tuple[Refusal, ...]) -> Future[int]:
        """Queue counts of what was refused at the door; the future is done when they are durable."""
        return self._asked(lambda number: _encode(_Refusals(number, rows)))

    def writer_fault(self) -> str | None:
        """None while appends succeed; else why the newest one did not, or that nothing can be appended any more."""
        return self._fault

    def close(self) -> None:
        """Close this end of the pipe; whoever still waits gets an EventLogError."""
        self._out.put(None)
        self._pipe.close()

    def _asked(self, encoded: Callable[[int], bytes]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._fault == _GONE:
                raise EventLogError(_GONE)
            self._number += 1
            number = self._number
            self._waiting[number] = future
        self._out.put(encoded(number))
        return future

    def _receive(self) -> None:
        while True:
            try:
                outcome = _outcome(self._pipe.recv_bytes())
            except (EOFError, OSError):
                break
            with self._lock:
                future = self._waiting.pop(outcome.number)
            self._fault = outcome.error
            with suppress(InvalidStateError):
                if outcome.error is not None:
                    future.set_exception(EventLogError(outcome.error))
                else:
                    future.set_result(outcome.other if outcome.appended is None else outcome.appended)
        with self._lock:
            self._fault = _GONE
            left, self._waiting = list(self._waiting.values()), {}
        for future in left:
            with suppress(InvalidStateError):
                future.set_exception(EventLogError(_GONE))
