"""Stages of an import side by side: a thread works a few items ahead of who takes them."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
_END = object()


def working_ahead(items: Iterator[T], most: int = 1) -> Generator[T, None, None]:
    """The items in their order, produced by a thread that is at most `most` items ahead.

    Raises in its place what `items` raises. The thread ends with this generator, after the item it is at.
    """
    ready: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
    room = threading.Semaphore(most)
    stopped = threading.Event()

    def work() -> None:
        failure: BaseException | None = None
        try:
            while True:
                room.acquire()
                if stopped.is_set():
                    break
                ready.put((next(items), None))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the items are taken
            failure = error
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            ready.put((_END, failure))

    thread = threading.Thread(target=work, name="gtm-import", daemon=True)
    thread.start()
    try:
        while True:
            item, failure = ready.get()
            if failure is not None:
                raise failure
            if item is _END:
                return
            yield item  # type: ignore[misc]
            room.release()
    finally:
        stopped.set()
        room.release()
        thread.join()
