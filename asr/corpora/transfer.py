"""HTTP for large files: what a server says of a file, and its bytes from any place on.

Range requests and validators as in RFC 9110, sections 8.8 and 14. A redirect is followed; proxies are
taken from the environment (http_proxy, https_proxy, no_proxy).
"""

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from asr import __version__

_BLOCK = 1 << 18
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # worth asking again


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask it again.

    Attributes:
        timeout_s: without an answer, or with less than `slowest_bytes_per_s`, before a request is
            given up.
        tries: requests in a row that bring nothing, before a server is given up.
        pause_s: before the second try; doubled after each, up to `longest_pause_s`.
    """

    timeout_s: float = 30.0
    slowest_bytes_per_s: float = 1000.0
    tries: int = 5
    pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def before_try(self, failures: int, wanted_s: float = 0.0) -> float:
        """Seconds to wait after so many failures; at least `wanted_s` (Retry-After) if bearable."""
        return min(max(self.pause_s * 2.0 ** (failures - 1), wanted_s), self.longest_pause_s)


class TransferError(Exception):
    """A request failed.

    Attributes:
        again: whether the same request may well succeed later.
        wait_s: what the server asked for with Retry-After, else 0.
    """

    def __init__(self, message: str, again: bool = True, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.again = again
        self.wait_s = wait_s


class ChangedError(Exception):
    """The file on the server is not the one that it was."""


@dataclass(frozen=True)
class Remote:
    """A file as a server describes it.

    Attributes:
        length: in bytes; None where the server does not say.
        ranges: whether parts can be asked for.
    """

    url: str
    length: int | None
    etag: str | None
    last_modified: str | None
    ranges: bool


def look(url: str, patience: Patience) -> Remote:
    """Ask for a file's first byte. Raises TransferError."""
    with _open(url, patience, "bytes=0-0") as response:
        content_range = _content_range(response)
        return Remote(
            url=url,
            length=content_range[1] if content_range else _content_length(response),
            etag=response.headers.get("ETag"),
            last_modified=response.headers.get("Last-Modified"),
            ranges=content_range is not None,
        )


def read_span(remote: Remote, start: int, stop: int, patience: Patience) -> Iterator[bytes]:
    """The bytes [start, stop) of a file, in blocks.

    Raises:
        TransferError: not all of them came.
        ChangedError: the file is no longer the one that `remote` describes.
    """
    with _open(remote.url, patience, f"bytes={start}-{stop - 1}") as response:
        _check_same(remote, response)
        content_range = _content_range(response)
        if content_range is None or content_range[0] != start:
            raise TransferError("the server does not send the part that was asked for")
        if content_range[1] != remote.length:
            raise ChangedError
        yield from _blocks(response, stop - start, patience)


def read_whole(remote: Remote, patience: Patience) -> Iterator[bytes]:
    """A file from its first byte to its last, in blocks. Raises as `read_span` does."""
    with _open(remote.url, patience) as response:
        _check_same(remote, response)
        yield from _blocks(response, remote.length, patience)


def _open(url: str, patience: Patience, byte_range: str | None = None) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"asr/{__version__}", "Accept-Encoding": "identity"}
    if byte_range is not None:
        headers["Range"] = byte_range
    request = urllib.request.Request(url, headers=headers)
    try:
        response = _opener().open(request, timeout=patience.timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and byte_range != "bytes=0-0":
                raise ChangedError from None
            wait = error.headers.get("Retry-After", "")
            raise TransferError(
                f"the server answers {error.code} {error.reason}".strip(),
                again=error.code in _BUSY,
                wait_s=float(wait) if wait.isdigit() else 0.0,
            ) from None
    except urllib.error.URLError as error:
        reason = error.reason
        hopeless = isinstance(reason, ssl.SSLCertVerificationError | str)
        raise TransferError(_reason(reason), again=not hopeless) from None
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(_reason(error)) from None
    return cast(http.client.HTTPResponse, response)


def _opener() -> urllib.request.OpenerDirector:
    """Of http and https alone: a redirect leads neither to a local file nor to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int] | None:
    """(first byte, length of the file) of a part; None if the answer is the whole file."""
    header = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", header.strip())
    return (int(found[1]), int(found[2])) if response.status == 206 and found else None


def _content_length(response: http.client.HTTPResponse) -> int | None:
    """Length of the file, if the answer is the whole of it and says so."""
    header = response.headers.get("Content-Length", "")
    return int(header) if response.status == 200 and header.isdigit() else None


def _check_same(remote: Remote, response: http.client.HTTPResponse) -> None:
    headers = response.headers
    if (headers.get("ETag"), headers.get("Last-Modified")) != (remote.etag, remote.last_modified):
        raise ChangedError


def _blocks(
    response: http.client.HTTPResponse, length: int | None, patience: Patience
) -> Iterator[bytes]:
    """The body's first `length` bytes (None: all). Raises TransferError when they do not come."""
    received = 0
    since, received_then = time.monotonic(), 0
    while length is None or received < length:
        wanted = _BLOCK if length is None else min(_BLOCK, length - received)
        try:
            block = response.read1(wanted)
        except (OSError, http.client.HTTPException) as error:
            raise TransferError(_reason(error)) from None
        if not block:
            break
        yield block
        received += len(block)
        seconds = time.monotonic() - since
        if seconds > patience.timeout_s:
            rate = (received - received_then) / seconds
            if rate < patience.slowest_bytes_per_s:
                raise TransferError(f"only {rate:.0f} bytes a second came")
            since, received_then = time.monotonic(), received
    if length is not None and received < length:
        raise TransferError(f"cut off after {received:,} of {length:,} bytes")


def _reason(error: object) -> str:
    """A failure in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "cut off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
