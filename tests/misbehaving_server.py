"""A local web server that does to downloads what real ones do: cuts, stalls, errors, redirects, no
ranges, lies about lengths, files that change."""

import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock


@dataclass(frozen=True)
class Answer:
    """How one request is answered; each file has a queue of these, then it behaves.

    Attributes:
        status: an error to send instead.
        cut_after: bytes of the body until the connection is closed.
        stall_after: bytes of the body until nothing more comes.
        trickle: send single bytes, slowly.
    """

    status: int = 200
    cut_after: int | None = None
    stall_after: int | None = None
    trickle: bool = False
    retry_after: int | None = None


@dataclass
class Hosted:
    """A file on the server.

    Attributes:
        answers: for the next requests of more than the first byte.
        probe_answers: for the next requests of the first byte alone.
        length: what Content-Length says, if not the truth.
        redirect: path to send everybody to.
        most_at_once: further connections get 503.
        before: called with the number of bytes asked for, before an answer.
    """

    data: bytes
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    says_length: bool = True
    length: int | None = None
    redirect: str | None = None
    most_at_once: int = 99
    answers: deque[Answer] = field(default_factory=deque)
    probe_answers: deque[Answer] = field(default_factory=deque)
    before: Callable[[int], None] | None = None


@dataclass
class Server:
    """What is hosted by path, and what was asked for: (path, Range header)."""

    url: str
    files: dict[str, Hosted]
    requests: list[tuple[str, str]]
    stopping: threading.Event

    def parts_of(self, path: str) -> list[str]:
        """Range headers of the requests for more than the first byte."""
        return [part for asked, part in self.requests if asked == path and part != "bytes=0-0"]


@contextmanager
def serve(files: dict[str, Hosted]) -> Iterator[Server]:
    """Host `files` on a free port of this machine."""
    stopping = threading.Event()
    no_proxy = mock.patch.dict(os.environ, {"no_proxy": "127.0.0.1"})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    httpd.daemon_threads = True
    server = Server(f"http://127.0.0.1:{httpd.server_address[1]}", files, [], stopping)
    httpd.hosting = server  # type: ignore[attr-defined]
    httpd.open_now = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with no_proxy:
            yield server
    finally:
        stopping.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


_LOCK = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        hosting: Server = self.server.hosting  # type: ignore[attr-defined]
        byte_range = self.headers.get("Range", "")
        with _LOCK:
            hosting.requests.append((self.path, byte_range))
        hosted = hosting.files.get(self.path)
        if hosted is None:
            self.send_error(404)
            return
        with _LOCK:
            self.server.open_now += 1  # type: ignore[attr-defined]
            too_many = self.server.open_now > hosted.most_at_once  # type: ignore[attr-defined]
            queue = hosted.probe_answers if byte_range == "bytes=0-0" else hosted.answers
            answer = queue.popleft() if queue else Answer()
        try:
            self._answer(hosted, Answer(status=503) if too_many else answer, byte_range)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with _LOCK:
                self.server.open_now -= 1  # type: ignore[attr-defined]

    def _answer(self, hosted: Hosted, answer: Answer, byte_range: str) -> None:
        if hosted.redirect is not None:
            self.send_response(302)
            self.send_header("Location", hosted.redirect)
            self.end_headers()
            return
        if answer.status != 200:
            self.send_response(answer.status)
            if answer.retry_after is not None:
                self.send_header("Retry-After", str(answer.retry_after))
            self.end_headers()
            return
        body = self._send_headers(hosted, byte_range)
        if hosted.before is not None:
            hosted.before(len(body))
        self._send_body(body, answer)

    def _send_headers(self, hosted: Hosted, byte_range: str) -> bytes:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", byte_range) if hosted.ranges else None
        body, total = hosted.data, len(hosted.data)
        if found:
            start, stop = int(found[1]), min(int(found[2]) + 1, total)
            body = hosted.data[start:stop]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{hosted.length or total}")
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_response(200)
            if hosted.says_length:
                self.send_header("Content-Length", str(hosted.length or total))
        for name, value in (("ETag", hosted.etag), ("Last-Modified", hosted.modified)):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        return body

    def _send_body(self, body: bytes, answer: Answer) -> None:
        hosting: Server = self.server.hosting  # type: ignore[attr-defined]
        if answer.trickle:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if hosting.stopping.wait(0.01):
                    break
            return
        short = answer.cut_after if answer.stall_after is None else answer.stall_after
        self.wfile.write(body[:short])
        if answer.stall_after is not None:
            hosting.stopping.wait(5)
