"""What the product, its provider and its tracker raise in the middle of a question, kept from ending the request."""

from __future__ import annotations

from types import TracebackType


class ForeignError(Exception):
    """Something that is no Exception (SystemExit, say) was raised by foreign code; the message names it."""

    @classmethod
    def of(cls, error: BaseException) -> ForeignError:
        """The error that stands for `error`."""
        return cls(f"{type(error).__name__}: {error}")


class Contained:
    """`with Contained():` around foreign code that runs in the caller's thread: ForeignError for what is no Exception.

    KeyboardInterrupt passes: it is the caller's own.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception | KeyboardInterrupt):
            raise ForeignError.of(error) from error
