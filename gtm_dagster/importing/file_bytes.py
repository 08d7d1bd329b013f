"""A file as blocks of bytes, and as blocks of UTF-8: opened, unpacked and decoded in bounded memory."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 16 << 20
"""Bytes of a block."""
_ALWAYS_UNPACKED = 256 << 20
_LARGEST_RATIO = 100
"""Text packs 5 to 40 times. What unpacks to more than 100 times its size, and more than 256 MiB, is made to fill memory."""


class ImportFailed(ValueError):
    """Nothing was imported; the message names the file, what is wrong with it and the way out."""


@dataclass
class SourceFile:
    """One file to import. `done`: the share of it that was handed out, 0 to 1."""

    path: Path
    size: int
    _content: bytes | None = field(default=None, repr=False)
    _as_found: tuple[int, int] = (0, 0)
    done: float = 0.0

    def open(self) -> io.BufferedReader | io.BytesIO:
        """The file from its start. Raises ImportFailed."""
        if self._content is not None:
            return io.BytesIO(self._content)
        return _opened(self.path)

    def head(self, count: int) -> bytes:
        """The first bytes."""
        with self.open() as file:
            return file.read(count)

    def sha256(self) -> hashlib._Hash:
        """The SHA-256 of the whole file, to go on with."""
        with self.open() as file:
            return hashlib.file_digest(file, "sha256")

    def check_unchanged(self) -> None:
        """Raises ImportFailed when the file is another one than when it was found."""
        if self._content is None and _identity(self.path) != self._as_found:
            raise ImportFailed(f"{self.path}: changed while it was read; import it again when nothing writes to it")


def find_file(path: Path) -> SourceFile:
    """The file at `path`; what is no regular file (a pipe) is kept in memory. Raises ImportFailed."""
    if path.is_dir():
        raise ImportFailed(f"{path}: is a directory; name the files in it")
    if path.exists() and not path.is_file():
        with _opened(path) as pipe:
            content = pipe.read()
        found = SourceFile(path, len(content), content)
    else:
        with _opened(path):
            found = SourceFile(path, path.stat().st_size, None, _identity(path))
    if not found.size:
        raise ImportFailed(f"{path}: is empty; export it again")
    return found


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise ImportFailed(f"{path}: does not exist; check the name") from None
    except PermissionError:
        raise ImportFailed(f"{path}: no permission to read it; run chmod u+r on it or ask its owner") from None
    except OSError as error:
        raise ImportFailed(f"{path}: cannot be read ({error})") from error


def text_blocks(source: SourceFile, encoding: str, block: int = BLOCK) -> Iterator[bytes]:
    """The file's text as UTF-8 without a byte order mark, in blocks that end anywhere. Raises ImportFailed."""
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    lines, is_blank, is_first = 0, True, True
    for number, raw in enumerate(_unpacked_blocks(source, block)):
        if number == 0 and is_utf8 and (marked := _marked_encoding(raw)):
            is_utf8, encoding, decoder = False, marked, codecs.getincrementaldecoder(marked)()
        if is_utf8 and raw.isascii() and not decoder.getstate()[0]:
            data = raw
        else:
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                line = lines + error.object.count(b"\n", 0, error.start) + 1
                raise ImportFailed(
                    f"{source.path}: line {line}: byte 0x{error.object[error.start]:02x} is not {encoding}; "
                    'set encoding in a mapping (such as encoding = "latin-1") or convert the file'
                ) from error
            if is_first and text:
                text = text.removeprefix("\ufeff")
            data = text.encode("utf-8", "surrogatepass")
        lines += raw.count(b"\n")
        is_first = is_first and not data
        is_blank = is_blank and not data.strip()
        if data:
            yield data
    if is_blank:
        raise ImportFailed(f"{source.path}: is empty; export it again")


def _marked_encoding(head: bytes) -> str | None:
    """The encoding whose byte order mark a file begins with, which no UTF-8 begins with (Excel's "Unicode text")."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None


def _unpacked_blocks(source: SourceFile, block: int) -> Iterator[bytes]:
    """The file's bytes, unpacked where it is gzip, and b"" last."""
    packed = source.head(2) == b"\x1f\x8b"
    if not packed and source.path.suffix.lower() == ".gz":
        raise ImportFailed(f"{source.path}: is named .gz but is not gzip; rename it or fetch it again")
    most = max(_ALWAYS_UNPACKED, _LARGEST_RATIO * source.size)
    total = 0
    with source.open() as file:
        stream = gzip.GzipFile(fileobj=file) if packed else file
        while True:
            try:
                raw = stream.read(block)
            except (EOFError, OSError, zlib.error) as error:
                what = "the gzip data is cut off or damaged" if packed else "cannot be read"
                raise ImportFailed(f"{source.path}: {what} ({error}); fetch the file again") from error
            total += len(raw)
            if packed and total > most:
                raise ImportFailed(
                    f"{source.path}: unpacks to more than {most >> 20:,} MiB, over {_LARGEST_RATIO} times its size; "
                    "if it is meant so, unpack it and import the plain file"
                )
            position = file.tell()
            yield raw
            source.done = position / source.size  # whoever asks for the next block has done this one
            if not raw:
                return
