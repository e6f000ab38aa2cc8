"""Downloads from a server that misbehaves: what arrives is the file, or an error says why not."""

import gzip
import hashlib
import io
import json
import random
import signal
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from misbehaving_server import Answer, Hosted, Server, serve

from asr.corpora.download import DownloadError, Transport, download
from asr.corpora.fingerprint import Fingerprint
from asr.corpora.progress import Reporter, progress_line, size_text, time_text
from asr.corpora.transfer import Patience

DATA = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SPAN = 64_000
QUICK = Transport(
    Patience(timeout_s=0.3, tries=3, pause_s=0.01, longest_pause_s=0.05), span_bytes=SPAN
)
ONE_BY_ONE = replace(QUICK, connections=1)


def fingerprint_of(data: bytes) -> Fingerprint:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Fingerprint(len(data), md5, hashlib.sha256(data).hexdigest())


KNOWN = fingerprint_of(DATA)
UNCHECKED = Fingerprint(len(DATA))


def fetch(
    server: Server,
    folder: Path,
    known: Fingerprint = KNOWN,
    transport: Transport = QUICK,
    paths: tuple[str, ...] = ("/f.bin",),
) -> str:
    """Download to FOLDER/f.bin; returns what was said."""
    said = io.StringIO()
    urls = [f"{server.url}{path}" for path in paths]
    download(urls, folder / "f.bin", known, transport, Reporter(said))
    assert [path.name for path in folder.iterdir()] == ["f.bin"], "something is left behind"
    return said.getvalue()


def cuts(*sizes: int) -> deque[Answer]:
    return deque(Answer(cut_after=size) for size in sizes)


def first_byte(part: str) -> int:
    return int(part.removeprefix("bytes=").split("-")[0])


def test_a_file_comes_in_parts(tmp_path: Path) -> None:
    with serve({"/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path)
        parts = server.parts_of("/f.bin")
    assert (tmp_path / "f.bin").read_bytes() == DATA
    assert sorted(map(first_byte, parts)) == [0, 64_000, 128_000, 192_000, 256_000]
    assert said.startswith("f.bin: 300 kB in 0 s (")


def test_after_a_cut_it_goes_on_at_the_same_byte(tmp_path: Path) -> None:
    with serve({"/f.bin": Hosted(DATA, answers=cuts(1000, 10, 5))}) as server:
        fetch(server, tmp_path, transport=ONE_BY_ONE)
        parts = server.parts_of("/f.bin")
    assert (tmp_path / "f.bin").read_bytes() == DATA
    assert [first_byte(part) for part in parts[:4]] == [0, 1000, 1010, 1015]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(stall_after=700),
        Answer(stall_after=0),
        Answer(trickle=True),
        Answer(status=500),
        Answer(status=503, retry_after=1),
        Answer(status=429),
        Answer(cut_after=0),
    ],
    ids=["stalls", "says nothing", "trickles", "500", "503", "429", "closes"],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_passing_fault_is_overcome(answer: Answer, ranges: bool, tmp_path: Path) -> None:
    hosted = Hosted(DATA, ranges=ranges, answers=deque([answer]))
    if ranges:
        hosted.probe_answers = deque([answer] if answer.status != 200 else [])
    with serve({"/f.bin": hosted}) as server:
        fetch(server, tmp_path, transport=ONE_BY_ONE)
        assert len(hosted.answers) == 0
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_a_server_that_keeps_failing_is_left_for_the_next(tmp_path: Path) -> None:
    bad = Hosted(DATA, answers=deque([Answer(status=500)] * 99))
    with serve({"/bad": bad, "/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path, transport=ONE_BY_ONE, paths=("/bad", "/f.bin"))
        assert len(server.parts_of("/bad")) == QUICK.patience.tries
    assert "/bad: the server answers 500 Internal Server Error; trying the next server" in said
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_what_came_from_one_server_is_kept_for_the_next(tmp_path: Path) -> None:
    """With a checksum in hand; the bytes are those of the file, wherever they come from."""
    answers = deque([Answer(cut_after=50_000), *[Answer(status=500)] * 3])
    with serve(
        {"/bad": Hosted(DATA, answers=answers), "/f.bin": Hosted(DATA, etag=None)}
    ) as server:
        said = fetch(server, tmp_path, transport=ONE_BY_ONE, paths=("/bad", "/f.bin"))
        assert first_byte(server.parts_of("/f.bin")[0]) == 50_000
    assert "going on after 50 kB" in said
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_what_is_not_there_is_not_asked_for_again(tmp_path: Path) -> None:
    with serve({"/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path, paths=("/gone", "/f.bin"))
        assert sum(path == "/gone" for path, _ in server.requests) == 1
    assert "/gone: the server answers 404" in said


def test_an_error_names_every_server_and_keeps_what_came(tmp_path: Path) -> None:
    hosted = Hosted(DATA, answers=deque([Answer(cut_after=70), *[Answer(status=500)] * 9]))
    with serve({"/f.bin": hosted}) as server:
        with pytest.raises(DownloadError) as error:
            fetch(server, tmp_path, transport=ONE_BY_ONE, paths=("/gone", "/f.bin"))
        for expected in (
            "/gone: the server answers 404",
            "/f.bin: the server answers 500",
            "--mirror",
        ):
            assert expected in str(error.value)
        hosted.answers.clear()
        server.requests.clear()
        assert "going on after 70 bytes" in fetch(server, tmp_path, transport=ONE_BY_ONE)
        assert first_byte(server.parts_of("/f.bin")[0]) == 70
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_nobody_there(tmp_path: Path) -> None:
    with serve({}) as server:
        pass
    with pytest.raises(DownloadError, match=r"f\.bin: http://127.*Connection refused"):
        fetch(server, tmp_path)


def test_a_redirect_is_followed_but_not_into_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    out = tmp_path / "out"
    out.mkdir()
    files = {
        "/old": Hosted(b"", redirect="/f.bin"),
        "/file": Hosted(b"", redirect=secret.as_uri()),
        "/ftp": Hosted(b"", redirect="ftp://127.0.0.1/f.bin"),
        "/round": Hosted(b"", redirect="/round"),
        "/f.bin": Hosted(DATA),
    }
    with serve(files) as server:
        said = fetch(server, out, paths=("/file", "/ftp", "/round", "/old"))
    assert said.count("trying the next server") == 3
    assert (out / "f.bin").read_bytes() == DATA


@pytest.mark.parametrize("says_length", [True, False])
def test_a_server_without_ranges(says_length: bool, tmp_path: Path) -> None:
    """Each try is from the beginning; without a length the checksum says what is whole."""
    hosted = Hosted(DATA, ranges=False, says_length=says_length)
    hosted.answers = cuts(100_000, 5) if says_length else deque()
    with serve({"/f.bin": hosted}) as server:
        fetch(server, tmp_path)
        assert len(server.parts_of("/f.bin")) == (3 if says_length else 1)
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_a_cut_that_nobody_can_see_is_found_by_the_length(tmp_path: Path) -> None:
    hosted = Hosted(DATA, ranges=False, says_length=False, answers=cuts(1000))
    with serve({"/bad": hosted, "/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path, UNCHECKED, paths=("/bad", "/f.bin"))
    assert "/bad: what came is wrong: 1,000 bytes instead of 300,000" in said
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_a_server_that_sends_without_end(tmp_path: Path) -> None:
    endless = Hosted(DATA * 30, ranges=False, says_length=False)
    with serve({"/bad": endless, "/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path, paths=("/bad", "/f.bin"))
    assert "/bad: the server sends more than the file has" in said
    assert "going on" not in said
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_a_server_that_allows_one_connection(tmp_path: Path) -> None:
    """The first part is held until the other connections have been refused as often as they ask."""
    patient = replace(QUICK, patience=replace(QUICK.patience, timeout_s=20.0, tries=7))
    refused = (patient.connections - 1) * patient.patience.tries

    def hold(num_bytes: int) -> None:
        deadline = time.monotonic() + 10.0
        while num_bytes > 1 and time.monotonic() < deadline:
            if len(server.parts_of("/f.bin")) > refused:
                return
            time.sleep(0.01)

    with serve({"/f.bin": Hosted(DATA, most_at_once=1, before=hold)}) as server:
        fetch(server, tmp_path, transport=patient)
        assert len(server.parts_of("/f.bin")) >= refused + len(DATA) / SPAN
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_a_file_of_another_length_is_not_downloaded(tmp_path: Path) -> None:
    """A login page instead of the archive, say."""
    page = Hosted(b"<html>Welcome to our hotel</html>", ranges=False)
    liar = Hosted(DATA, length=400_000)
    with serve({"/page": page, "/liar": liar, "/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path, paths=("/page", "/liar", "/f.bin"))
        assert server.parts_of("/page") == server.parts_of("/liar") == []
    assert "/page: is another file: 33 bytes instead of 300,000" in said
    assert "/liar: is another file: 400,000 bytes instead of 300,000" in said


def test_another_release_may_have_another_length(tmp_path: Path) -> None:
    known = Fingerprint(5, other_sizes=(len(DATA),))
    with serve({"/f.bin": Hosted(DATA)}) as server:
        fetch(server, tmp_path, known)
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_wrong_bytes_are_found_and_not_kept(tmp_path: Path) -> None:
    with serve({"/bad": Hosted(OTHER), "/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path, paths=("/bad", "/f.bin"))
        assert f"/bad: what came is wrong: MD5 {fingerprint_of(OTHER).md5} instead of" in said
        assert min(map(first_byte, server.parts_of("/f.bin"))) == 0
        assert (tmp_path / "f.bin").read_bytes() == DATA
        (tmp_path / "f.bin").unlink()
        with pytest.raises(DownloadError, match="SHA-256 .* instead of"):
            fetch(server, tmp_path, replace(KNOWN, md5=fingerprint_of(OTHER).md5), paths=("/bad",))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_between_two_tries_is_fetched_anew(tmp_path: Path) -> None:
    hosted = Hosted(OTHER, answers=deque([Answer(cut_after=50_000), *[Answer(status=500)] * 3]))
    with serve({"/f.bin": hosted}) as server:
        with pytest.raises(DownloadError):
            fetch(server, tmp_path, UNCHECKED, ONE_BY_ONE)
        have = json.loads((tmp_path / "f.bin.part.json").read_text())["have"]
        assert have == [50_000, 0, 0, 0, 0]
        server.files["/f.bin"] = Hosted(DATA, etag='"v2"')
        server.requests.clear()
        fetch(server, tmp_path, UNCHECKED, ONE_BY_ONE)
        assert first_byte(server.parts_of("/f.bin")[0]) == 0
    assert (tmp_path / "f.bin").read_bytes() == DATA


@pytest.mark.parametrize("etag", ['"v2"', None])
def test_a_file_that_changes_while_it_comes(etag: str | None, tmp_path: Path) -> None:
    old = Hosted(OTHER, etag='"v1"' if etag else None, modified="Mon, 01 Jan 2024 00:00:00 GMT")
    new = Hosted(DATA, etag=etag, modified="Tue, 02 Jan 2024 00:00:00 GMT")
    with serve({"/f.bin": old}) as server:
        old.before = lambda size: server.files.update({"/f.bin": new}) if size > 1 else None
        said = fetch(server, tmp_path, UNCHECKED, ONE_BY_ONE)
    assert "the file has changed on the server; starting over" in said
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_a_file_that_shrinks_while_it_comes(tmp_path: Path) -> None:
    hosted = Hosted(DATA)
    with serve({"/f.bin": hosted}) as server:
        hosted.before = lambda size: setattr(hosted, "data", DATA[:100_000]) if size > 1 else None
        with pytest.raises(DownloadError, match="is another file: 100,000 bytes"):
            fetch(server, tmp_path, transport=ONE_BY_ONE)


def test_a_file_that_never_stops_changing(tmp_path: Path) -> None:
    hosted = Hosted(DATA)
    with serve({"/f.bin": hosted}) as server:
        hosted.before = lambda _: setattr(hosted, "etag", f'"{len(server.requests)}"')
        with pytest.raises(DownloadError, match="the file keeps changing on the server"):
            fetch(server, tmp_path, transport=ONE_BY_ONE)


def test_half_a_download_of_yesterday(tmp_path: Path) -> None:
    """By another program: no sidecar, but a checksum to compare in the end."""
    (tmp_path / "f.bin.part").write_bytes(DATA[:150_000])
    with serve({"/f.bin": Hosted(DATA)}) as server:
        assert "going on after 150 kB" in fetch(server, tmp_path)
        assert sorted(map(first_byte, server.parts_of("/f.bin"))) == [150_000, 192_000, 256_000]
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_half_a_download_of_something_else(tmp_path: Path) -> None:
    """Found out by the checksum; then the file is fetched from the beginning."""
    (tmp_path / "f.bin.part").write_bytes(OTHER[:150_000])
    with serve({"/f.bin": Hosted(DATA)}) as server:
        said = fetch(server, tmp_path)
        assert "what came is wrong: MD5" in said
        assert "starting over" in said
        assert (tmp_path / "f.bin").read_bytes() == DATA
        (tmp_path / "f.bin").unlink()
        (tmp_path / "f.bin.part").write_bytes(OTHER[:150_000])
        assert "going on" not in fetch(server, tmp_path, UNCHECKED)
    assert (tmp_path / "f.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"[]",
        b'{"url": 3}',
        b'{"url": "u", "etag": null, "last_modified": null, "length": 300000, "span_bytes": 64000, '
        b'"have": [64000, 99999, 0, 0, 0]}',
        b'{"url": "u", "etag": null, "last_modified": null, "length": 300000, "span_bytes": 64000, '
        b'"have": [64000, 64000, 64000, 64000, 44000]}',
    ],
    ids=["cut", "no object", "keys", "too much in a span", "more than is on disk"],
)
def test_a_damaged_sidecar_costs_the_download_and_no_more(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "f.bin.part").write_bytes(OTHER[:150_000])
    (tmp_path / "f.bin.part.json").write_bytes(damage)
    with serve({"/f.bin": Hosted(DATA)}) as server:
        assert "going on" not in fetch(server, tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == DATA


def interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_ctrl_c_keeps_what_came(tmp_path: Path) -> None:
    hosted = Hosted(DATA, answers=deque([Answer(), Answer(stall_after=1000)]))
    with serve({"/f.bin": hosted}) as server:
        hosted.before = lambda _: None if hosted.answers else interrupt()
        with pytest.raises(KeyboardInterrupt):
            fetch(server, tmp_path, transport=ONE_BY_ONE)
        hosted.before = None
        assert "going on after 6" in fetch(server, tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == DATA


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("ranges", [True, False])
def test_a_full_disk(ranges: bool, tmp_path: Path) -> None:
    (tmp_path / "f.bin.part").symlink_to("/dev/full")
    with serve({"/f.bin": Hosted(DATA, ranges=ranges)}) as server:
        with pytest.raises(DownloadError, match=r"No space left on device; make room .*--data-dir"):
            fetch(server, tmp_path)
        (tmp_path / "f.bin.part").unlink()
        fetch(server, tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == DATA


def test_a_gz_without_published_checksum_is_read_to_its_own(tmp_path: Path) -> None:
    whole = gzip.compress(DATA)
    target = tmp_path / "lm.arpa.gz"
    damaged = whole[:5000] + b"x" + whole[5001:]
    with serve({"/bad": Hosted(damaged), "/good": Hosted(whole)}) as server:
        said = io.StringIO()
        urls = [f"{server.url}/bad", f"{server.url}/good"]
        download(urls, target, Fingerprint(len(whole)), QUICK, Reporter(said))
    assert "/bad: what came is wrong: no whole gzip file" in said.getvalue()
    assert gzip.decompress(target.read_bytes()) == DATA


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line_and_else_one_now_and_then() -> None:
    clock = iter([0.0, 0.0, 0.1, 0.5, 1.0, 1.5]).__next__
    terminal = Terminal()
    with Reporter(terminal, clock).task("a", 4000, 1000) as task:
        for _ in range(3):
            task.advance(500)
    assert "\ra" not in terminal.getvalue()  # the line is cleared before it is drawn again
    assert terminal.getvalue().count("\n") == 0
    assert "a  50 %  2 kB of 4 kB  2 kB/s  1 s left" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\033[K")
    clock = iter([0.0, 0.0, 20.0, 31.0, 40.0]).__next__
    stream = io.StringIO()
    with Reporter(stream, clock).task("b", None) as task:
        for _ in range(3):
            task.advance(31_000)
    assert stream.getvalue() == "b  62 kB  2 kB/s\n"


def test_sizes_and_times_as_people_write_them() -> None:
    assert [size_text(n) for n in (7, 13_654, 332_954_390, 6_387_309_499)] == [
        "7 bytes", "14 kB", "333.0 MB", "6.39 GB",
    ]  # fmt: skip
    assert [time_text(s) for s in (3.4, 61, 3600, 4950)] == [
        "3 s",
        "1 min",
        "1 h 0 min",
        "1 h 22 min",
    ]
    line = progress_line("dev-clean.tar.gz", 84_000_000, 336_000_000, 12_600_000)
    assert line == "dev-clean.tar.gz  25 %  84.0 MB of 336.0 MB  12.6 MB/s  20 s left"
