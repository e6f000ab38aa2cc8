"""LibriSpeech by name: from nothing but a (local) network to manifests and a started training."""

import hashlib
import io
import re
import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import REPOSITORY
from misbehaving_server import Hosted, Server, serve
from small_librispeech import TABLES, archive_of, host, write_recipe

from asr.cli import main
from asr.corpora.download import DownloadError, Transport
from asr.corpora.fetch import FetchOptions, fetch, locate, mirrors_from, plan_for
from asr.corpora.fingerprint import Fingerprint
from asr.corpora.librispeech import prepare_librispeech
from asr.corpora.openslr import MIRRORS, RESOURCES, SUBSETS, TEXTS, find_resources
from asr.corpora.progress import Reporter
from asr.corpora.transfer import Patience
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest

QUICK = Transport(Patience(timeout_s=1, tries=2, pause_s=0.01))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The 5-hour subset of LibriSpeech and its development set, made small."""
    monkeypatch.delenv("ASR_DATA", raising=False)
    files = host(monkeypatch, "train-clean-5", 6) | host(monkeypatch, "dev-clean-2", 4, seed=1)
    with serve(files) as server:
        yield server


def options_for(server: Server, remove_archives: bool = False) -> FetchOptions:
    return FetchOptions((f"{server.url}/resources",), remove_archives, QUICK)


def get(server: Server, folder: Path, *names: str, remove_archives: bool = False) -> str:
    """Fetch; returns what was said."""
    said = io.StringIO()
    fetch(folder, names, options_for(server, remove_archives), Reporter(said))
    return said.getvalue()


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_from_a_network_to_manifests(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of the issue tracker: subsets behind one --subset; then again, without a network."""
    corpora, out = tmp_path / "corpora", tmp_path / "manifests"
    arguments = ["prepare", "librispeech", "--subset", "train-clean-5", "dev-clean-2",
                 "--data-dir", corpora, "-o", out, "--mirror", f"{server.url}/resources/"]  # fmt: skip
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert re.search(r"^data: .*train-clean-5.* to .*corpora: \d+ kB to download, \d+ s at 100 Mbit/s; "
                     r"\d+ kB of disk$", captured.err, re.MULTILINE)  # fmt: skip
    assert f"{out / 'train-clean-5.jsonl'}: 6 utterances, 0.00 h, 2 speakers\n" in captured.out
    utterances = read_manifest(out / "dev-clean-2.jsonl")
    assert [one.utterance_id for one in utterances] == [
        "174-1174-0001", "174-1174-0003", "84-1084-0000", "84-1084-0002",
    ]  # fmt: skip
    assert utterances[0].extra == {"gender": "M"}
    assert utterances[0].audio_path.samefile(
        corpora / "LibriSpeech/dev-clean-2/174/1174/174-1174-0001.flac"
    )
    assert all((corpora / "LibriSpeech" / table).is_file() for table in TABLES)
    server.requests.clear()
    assert run(*arguments) == 0
    assert server.requests == []
    assert "data:" not in capsys.readouterr().err


def test_from_a_network_to_a_started_training(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe, data_dir = tmp_path / "small.yaml", tmp_path / "data"
    write_recipe(recipe, f"{server.url}/resources", data_dir)
    command = ["train", f"recipe={recipe}", f"run_dir={tmp_path / 'run'}"]
    assert run(*command, "data.download=false") == 3
    assert "no folder" in capfd.readouterr().err
    assert server.requests == []
    assert run(*command, "data.remove_archives=true") == 0
    captured = capfd.readouterr()
    assert "data: dev-clean-2, train-clean-5 to" in captured.err
    assert "Mbit/s" in captured.err
    assert "training on 6 utterances" in captured.err
    assert "dev-clean-2: WER" in captured.out
    assert (tmp_path / "run/bundle/model.safetensors").is_file()
    assert not list(data_dir.glob("*.tar.gz*"))


def test_archives_are_kept_or_removed(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "kept", "dev-clean-2")
    get(server, tmp_path / "removed", "dev-clean-2", remove_archives=True)
    names = [
        sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("kept", "removed")
    ]
    assert names == [
        [".asr-fetch.lock", "LibriSpeech", "dev-clean-2.tar.gz"],
        [".asr-fetch.lock", "LibriSpeech"],
    ]


def test_an_archive_that_is_there_is_used(server: Server, tmp_path: Path) -> None:
    (data,) = (hosted.data for path, hosted in server.files.items() if "dev-clean-2" in path)
    (tmp_path / "dev-clean-2.tar.gz").write_bytes(data)
    said = get(server, tmp_path, "dev-clean-2")
    assert "0 bytes to download" in said
    assert "dev-clean-2.tar.gz: found" in said
    assert server.requests == []
    assert len(prepare_librispeech(tmp_path, ["dev-clean-2"], tmp_path / "out")) == 1


@pytest.mark.parametrize("other", [b"half", archive_of("dev-clean-2", 2, seed=9)])
def test_an_archive_of_something_else_is_left_alone(
    other: bytes, server: Server, tmp_path: Path
) -> None:
    """It may be another corpus's: LibriTTS has a dev-clean.tar.gz too."""
    archive = tmp_path / "dev-clean-2.tar.gz"
    archive.write_bytes(other)
    with pytest.raises(
        AsrError, match=r"is not the dev-clean-2\.tar\.gz of OpenSLR 31.*mv .*\.part"
    ):
        get(server, tmp_path, "dev-clean-2")
    assert archive.read_bytes() == other


def test_the_beginning_of_an_archive_goes_on_as_the_message_says(
    server: Server, tmp_path: Path
) -> None:
    (data,) = (hosted.data for path, hosted in server.files.items() if "dev-clean-2" in path)
    (tmp_path / "dev-clean-2.tar.gz.part").write_bytes(data[:5000])
    said = get(server, tmp_path, "dev-clean-2")
    assert "going on after 5 kB" in said
    assert locate(tmp_path, "dev-clean-2").is_dir()


def test_half_unpacked_is_not_taken_for_whole(server: Server, tmp_path: Path) -> None:
    """A process killed in the middle leaves a folder that is not the subset's."""
    leftover = tmp_path / "LibriSpeech/.unpacking-dev-clean-2/LibriSpeech/dev-clean-2/84"
    leftover.mkdir(parents=True)
    get(server, tmp_path, "dev-clean-2")
    (subset,) = prepare_librispeech(tmp_path, ["dev-clean-2"], tmp_path / "out")
    assert subset.num_utterances == subset.num_published == 4
    assert not leftover.exists()


def test_part_of_a_subset_is_used_and_said(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get(server, tmp_path, "dev-clean-2")
    shutil.rmtree(tmp_path / "LibriSpeech/dev-clean-2/174")
    assert run("prepare", "librispeech", "dev-clean-2", "--data-dir", tmp_path, "-o", tmp_path) == 0
    assert "2 utterances, 0.00 h, 1 speakers (the whole subset has 4)" in capsys.readouterr().out


def test_an_archive_without_the_subset_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/resources/31/dev-clean-2.tar.gz"
    data = archive_of("dev-other", 2)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    wrong = replace(RESOURCES["dev-clean-2"], fingerprint=Fingerprint(len(data), md5))
    monkeypatch.setitem(RESOURCES, "dev-clean-2", wrong)
    server.files[path] = Hosted(data)
    with pytest.raises(AsrError, match="holds no LibriSpeech/dev-clean-2"):
        get(server, tmp_path, "dev-clean-2")
    assert list((tmp_path / "LibriSpeech").iterdir()) == []


def test_the_folder_of_subsets_itself_will_do(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "LibriSpeech", "dev-clean-2")
    assert (tmp_path / "LibriSpeech/dev-clean-2/84").is_dir()
    assert get(server, tmp_path, "dev-clean-2") == ""


def test_a_full_disk_is_seen_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("train-clean-100", "train-clean-360")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 50 * 10**9))
    with pytest.raises(AsrError) as error:
        get(server, tmp_path, *names)
    assert "50.00 GB free, and 61.82 GB are needed" in str(error.value)
    assert "--remove-archives" in str(error.value)
    assert "55.43 GB are enough" in str(error.value)
    assert server.requests == []
    with pytest.raises(AsrError, match=r"55\.43 GB are needed; make room") as error:
        get(server, tmp_path, *names, remove_archives=True)
    assert "are enough" not in str(error.value)


def test_the_plan_counts_what_is_there(tmp_path: Path) -> None:
    resources = find_resources(("train-clean-5", "3-gram.pruned.3e-7.arpa.gz"))
    whole = plan_for(tmp_path, resources)
    assert whole.download_bytes == 332_954_390 + 13_654_242
    assert whole.disk_bytes == whole.download_bytes + round(1.1 * 332_954_390)
    assert str(whole) == "346.6 MB to download, 28 s at 100 Mbit/s; 712.9 MB of disk"
    (tmp_path / "train-clean-5.tar.gz.part").write_bytes(bytes(1_000_000))
    assert plan_for(tmp_path, resources).download_bytes == whole.download_bytes - 1_000_000


def test_two_processes_that_want_the_same_download_it_once(server: Server, tmp_path: Path) -> None:
    """Ranks of a training that torchrun started, say."""
    waiting = threading.Event()
    path = "/resources/31/dev-clean-2.tar.gz"
    server.files[path].before = lambda size: waiting.wait(2) if size > 1 else None
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.append(get(server, tmp_path, "dev-clean-2")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while not server.parts_of(path):
        time.sleep(0.005)
    waiting.set()
    for thread in threads:
        thread.join()
    assert len(server.parts_of(path)) == 1
    assert sum("files unpacked" in one for one in said) == 1


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AsrError, match="cannot write to .*file/data.*choose another folder"):
        get(server, tmp_path / "file/data", "dev-clean-2")


def test_language_models_by_name(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "librispeech-vocab.txt"
    small = replace(RESOURCES[name], fingerprint=Fingerprint(6))
    monkeypatch.setitem(RESOURCES, name, small)
    server.files[f"/resources/11/{name}"] = Hosted(b"A\nBEE\n")
    command = ["prepare", "librispeech", name, "--data-dir", tmp_path]
    assert run(*command, "--no-download") == 3
    assert f"no file {tmp_path / 'lm' / name}; without --no-download" in capsys.readouterr().err
    assert run(*command, "--mirror", f"{server.url}/resources") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'lm' / name}\n"
    assert (tmp_path / "lm" / name).read_bytes() == b"A\nBEE\n"


def test_names_and_mirrors_are_checked_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no subset dev-dirty; there are: .*3-gram\.arpa\.gz"):
        fetch(tmp_path, ["dev-clean", "dev-dirty"], FetchOptions(), Reporter(io.StringIO()))
    with pytest.raises(UsageError, match=r"no subset \(none given\)"):
        find_resources(())
    for bad in ("file:///tmp", "openslr.org", "ftp://x"):
        with pytest.raises(UsageError, match="a mirror is a web address"):
            mirrors_from([bad])
    assert mirrors_from([]) == MIRRORS
    assert mirrors_from(["http://a/b/"]) == ("http://a/b",)
    assert list(tmp_path.iterdir()) == []


def test_what_no_server_has_is_said_with_all_of_them(server: Server, tmp_path: Path) -> None:
    options = FetchOptions((f"{server.url}/a", f"{server.url}/b"), transport=QUICK)
    with pytest.raises(DownloadError, match=r"/a/12/dev-clean.* 404 .*/b/12/dev-clean.* 404 "):
        fetch(tmp_path, ["dev-clean"], options, Reporter(io.StringIO()))


def test_the_table() -> None:
    """Every subset there is, each with a length and both checksums; what has none says so."""
    assert len(SUBSETS) == 9
    assert (
        sum(RESOURCES[name].num_utterances for name in SUBSETS if name[-1] not in "25") == 292_367
    )
    for name in SUBSETS:
        known = RESOURCES[name].fingerprint
        assert re.fullmatch("[0-9a-f]{32}", known.md5 or "")
        assert re.fullmatch("[0-9a-f]{64}", known.sha256 or "")
        assert RESOURCES[name].num_bytes > 100_000_000
    assert len({RESOURCES[name].fingerprint.md5 for name in SUBSETS}) == 9
    unchecked = {name for name in TEXTS if not RESOURCES[name].fingerprint.has_checksum}
    assert unchecked == set(TEXTS) - {"librispeech-lm-norm.txt.gz"}
    assert RESOURCES["dev-clean-2"].urls(MIRRORS[:2]) == (
        "https://www.openslr.org/resources/31/dev-clean-2.tar.gz",
        "https://openslr.trmal.net/resources/31/dev-clean-2.tar.gz",
    )


@pytest.mark.parametrize("recipe", ["mini", "clean-100", "clean-460", "full-960"])
def test_a_recipe_says_what_its_data_step_takes(recipe: str, tmp_path: Path) -> None:
    """GB, minutes and disk in its header and in the README are those of the table."""
    folder = REPOSITORY / "recipes/librispeech"
    text = (folder / f"{recipe}.yaml").read_text("utf-8")
    names = {name for line in re.findall(r"^  (?:train|dev|test): \[(.*)\]$", text, re.MULTILINE)
             for name in line.split(", ")}  # fmt: skip
    header = " ".join(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
    plan = str(plan_for(tmp_path, find_resources(tuple(sorted(names)))))
    assert f"Data: {plan}." in header
    download, rest = plan.split(" to download, ")
    minutes, disk = rest.split(" at 100 Mbit/s; ")
    row = f"| `{recipe}` | {download} | {minutes} | {disk.removesuffix(' of disk')} |"
    assert row in (folder / "README.md").read_text("utf-8")
