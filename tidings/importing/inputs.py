"""Opens what an import reads from: a file, standard input, or an http(s) address, compressed or
not.

What comes out is a stream of bytes that can be read from its start again. A download or a pipe
is copied to disk first: a server is not kept waiting for our database, a malformed feed can be
given a second, more patient reading, and the copy's digest says whether a second run meets the same
content. Rejected: reading a response as it comes.

    with open_input("https://example.org/feed", scratch) as source:
        source.location
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from tidings.importing.addresses import PUBLIC_ONLY, FetchRules
from tidings.importing.fetching import FetchError, fetch

STDIN = "-"
CHUNK_BYTES = 1024 * 1024
MAX_COPY_BYTES = 2 * 1024**3
FETCH_DEADLINE_S = 600
# What reading a source may raise once it is open: a bad disk, or a packed file that is damaged or
# cut short.
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_GZIP = b"\x1f\x8b"
_XZ = b"\xfd7zXZ\x00"
_OTHER_PACKERS = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class InputError(Exception):
    """The input cannot be read at all. One line that names it."""


@dataclass(frozen=True, slots=True)
class Input:
    """An open input.

    Attributes:
        location: as the caller named it.
        name: a short form of it that can name a file.
        stream: its content, decompressed, at the start; seekable.
        fingerprint: the same on two runs only if the content is the same.
        content_type: what the server called it, with its parameters; empty for a file.
        url: where it came from, after redirects; None for a file.
        fraction_read: how much of it has been read so far, from 0 to 1.
    """

    location: str
    name: str
    stream: BinaryIO
    fingerprint: str
    content_type: str
    url: str | None
    fraction_read: Callable[[], float]


def is_url(location: str) -> bool:
    """True for what will be fetched rather than opened."""
    return location.lower().startswith(("http://", "https://"))


@contextmanager
def open_input(location: str, scratch: Path, rules: FetchRules = PUBLIC_ONLY) -> Iterator[Input]:
    """Open `location`: a path, an http(s) address, or `-` for standard input.

    Args:
        location: what to open.
        scratch: a folder for the copy of what is not a file.
        rules: which machines may be asked.

    Raises:
        InputError: it cannot be opened, or is packed in a way that is not understood.
    """
    with ExitStack() as stack:
        content_type, url = "", None
        try:
            if is_url(location):
                raw = stack.enter_context(scratch_file(scratch))
                fetched = fetch(
                    location,
                    raw,
                    max_bytes=MAX_COPY_BYTES,
                    deadline_s=FETCH_DEADLINE_S,
                    rules=rules,
                )
                content_type, url = fetched.content_type, fetched.url
            elif location == STDIN:
                raw = stack.enter_context(scratch_file(scratch))
                copy(sys.stdin.buffer, raw, MAX_COPY_BYTES)
            else:
                raw = _open_file(location, scratch, stack)
            fingerprint = _fingerprint(location, raw)
            raw.seek(0)
            stream = stack.enter_context(decompressed(raw))
        except FetchError as ex:
            raise InputError(f"{location}: {ex}") from None
        except (OSError, ValueError) as ex:
            reason = ex.strerror if isinstance(ex, OSError) and ex.strerror else str(ex)
            raise InputError(f"{location}: {reason}") from None
        size = max(os.fstat(raw.fileno()).st_size, 1)
        yield Input(
            location=location,
            name=_file_name(location),
            stream=stream,
            fingerprint=fingerprint,
            content_type=content_type,
            url=url,
            fraction_read=lambda: min(raw.tell() / size, 1.0),
        )


def decompressed(raw: BinaryIO) -> BinaryIO:
    """The content of `raw`, which must be at its start, unpacked if gzip or xz packed it.

    Raises:
        ValueError: it is an archive of another kind.
    """
    head = raw.read(8)
    raw.seek(0)
    for magic, packer in _OTHER_PACKERS.items():
        if head.startswith(magic):
            raise ValueError(f"is packed with {packer}; unpack it first (gzip and xz need none)")
    if head.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb"))
    if head.startswith(_XZ):
        return cast(BinaryIO, lzma.LZMAFile(raw, mode="rb"))
    return raw


def unpack(file: BinaryIO, max_bytes: int) -> BinaryIO:
    """The content of a download, at its start; never more than `max_bytes`, however much a few
    packed bytes turn into.

    Raises:
        ValueError: it is more, or packed in a way that is not understood.
        OSError, EOFError, zlib.error, lzma.LZMAError: it is damaged.
    """
    file.seek(0)
    stream = decompressed(file)
    if stream is file:
        return file
    content = io.BytesIO()
    copy(stream, content, max_bytes)
    content.seek(0)
    return content


@contextmanager
def scratch_file(scratch: Path) -> Iterator[BinaryIO]:
    """A nameless file in `scratch`, gone when it is closed or the process has died."""
    with tempfile.TemporaryFile(dir=scratch) as file:
        yield cast(BinaryIO, file)


def copy(source: BinaryIO, target: BinaryIO, max_bytes: int) -> None:
    """Copy the rest of `source`.

    Raises:
        ValueError: there is more than `max_bytes` of it.
    """
    copied = 0
    while chunk := source.read(CHUNK_BYTES):
        copied += len(chunk)
        if copied > max_bytes:
            raise ValueError(f"more than {max_bytes} bytes")
        target.write(chunk)


def _open_file(location: str, scratch: Path, stack: ExitStack) -> BinaryIO:
    file = stack.enter_context(open(location, "rb", buffering=CHUNK_BYTES))  # noqa: SIM115 - the stack closes it
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    # A named pipe or a shell's <(…) can be read once only.
    spare = stack.enter_context(scratch_file(scratch))
    copy(file, spare, MAX_COPY_BYTES)
    return spare


def _fingerprint(location: str, raw: BinaryIO) -> str:
    if not is_url(location) and location != STDIN:
        found = os.stat(location)
        if stat.S_ISREG(found.st_mode):
            return f"{os.path.abspath(location)} {found.st_size} {found.st_mtime_ns}"
    raw.seek(0)
    digest = hashlib.sha256()
    while chunk := raw.read(CHUNK_BYTES):
        digest.update(chunk)
    return f"{location} sha256:{digest.hexdigest()}"


def _file_name(location: str) -> str:
    if location == STDIN:
        return "stdin"
    if is_url(location):
        parts = urlsplit(location)
        location = f"{parts.hostname}{parts.path}".rstrip("/").replace("/", "-")
    return re.sub(r"[^\w.-]", "_", os.path.basename(location)).lstrip(".")[-100:] or "source"
