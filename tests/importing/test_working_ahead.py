"""A thread that works ahead: the items and failures of the iterator alone, and no thread that outlives who takes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from gtm_dagster.importing.working_ahead import working_ahead


def test_items_come_in_their_order_from_another_thread() -> None:
    threads = [threading.get_ident()]

    def items() -> Iterator[int]:
        threads.append(threading.get_ident())
        yield from range(1_000)

    assert list(working_ahead(items())) == list(range(1_000))
    assert threads[0] != threads[1]


def test_a_failure_is_raised_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    taken = working_ahead(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="the second"):
        next(taken)


@pytest.mark.parametrize("most", [1, 3])
def test_it_is_no_further_ahead_than_asked_and_ends_with_who_takes_the_items(most: int) -> None:
    begun: list[int] = []
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            for number in range(100):
                begun.append(number)
                yield number
        finally:
            closed.set()

    before = threading.active_count()
    with closing(working_ahead(items(), most)) as taken:
        assert [next(taken), next(taken)] == [0, 1]
        assert len(begun) <= 2 + most
    assert closed.is_set()
    assert len(begun) <= 2 + most
    assert threading.active_count() == before
