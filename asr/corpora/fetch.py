"""LibriSpeech by name: what is missing of it is downloaded, checked and unpacked.

Below DATA_DIR: LibriSpeech/SUBSET/..., lm/FILE, and until they are removed the archives. A subset gets
its name when it is whole, so a folder that is there is used as it is, without a network.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr.corpora.archive import Limits, unpack
from asr.corpora.download import Transport, download
from asr.corpora.openslr import MIRRORS, Resource, find_resources
from asr.corpora.part_file import PartFile
from asr.corpora.progress import Reporter, size_text, time_text
from asr.errors import AsrError, UsageError
from asr.runlog import lock

_CORPUS = "LibriSpeech"  # the folder that every archive holds
_UNPACKED_SHARE = 1.1  # of an archive's length: FLAC does not shrink, small files take whole blocks
_MAX_UNPACKED_SHARE = 3
_SPARE_BYTES = 64 << 20
_MBIT_PER_S = 100  # to say how long a download takes


@dataclass(frozen=True)
class FetchOptions:
    """How missing files are fetched.

    Attributes:
        mirrors: servers to try in this order: `MIRROR/12/dev-clean.tar.gz`.
        remove_archives: delete an archive once it is unpacked.
    """

    mirrors: tuple[str, ...] = MIRRORS
    remove_archives: bool = False
    transport: Transport = field(default_factory=Transport)


@dataclass(frozen=True)
class Plan:
    """What fetching takes.

    Attributes:
        download_bytes: still to come.
        disk_bytes: most that the disk must have free for it.
    """

    download_bytes: int
    disk_bytes: int

    def __str__(self) -> str:
        """GB and minutes, for people."""
        seconds = self.download_bytes * 8 / (_MBIT_PER_S * 1e6)
        return (
            f"{size_text(self.download_bytes)} to download, {time_text(seconds)} at {_MBIT_PER_S} "
            f"Mbit/s; {size_text(self.disk_bytes)} of disk"
        )


def mirrors_from(urls: Sequence[str]) -> tuple[str, ...]:
    """The servers a user names, or else OpenSLR's. Raises UsageError for what is no web address."""
    for url in urls:
        if not url.startswith(("https://", "http://")):
            raise UsageError(
                f"a mirror is a web address like {MIRRORS[-1]}, below which are the folders 11, 12 "
                f"and 31; not {url!r}"
            )
    return tuple(url.rstrip("/") for url in urls) or MIRRORS


def fetch(
    data_dir: Path | str, names: Sequence[str], options: FetchOptions, reporter: Reporter
) -> tuple[Path, ...]:
    """Make subsets and files of LibriSpeech be there; returns where each is.

    Raises:
        UsageError: a name that LibriSpeech does not have.
        AsrError: too little disk, no server that delivers, an archive that is not the published
            one, a folder that cannot be written. What has been downloaded is kept.
    """
    data_dir = Path(data_dir)
    resources = find_resources(tuple(names))
    if _missing(data_dir, resources):
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            with (data_dir / ".asr-fetch.lock").open("w") as lock_file:
                _lock(lock_file.fileno(), data_dir, reporter)
                _fetch_missing(data_dir, resources, options, reporter)
        except OSError as error:
            raise AsrError(
                f"cannot write to {data_dir}: {error.strerror or error}; mend that, or choose another "
                "folder (--data-dir, data.data_dir in a recipe)"
            ) from None
    return tuple(locate(data_dir, resource.name) for resource in resources)


def locate(data_dir: Path, name: str) -> Path:
    """Where a subset or file of LibriSpeech is, or belongs: below `data_dir` or in its LibriSpeech/."""
    (resource,) = find_resources((name,))
    if not resource.is_subset:
        return data_dir / "lm" / name
    inside, beside = data_dir / _CORPUS / name, data_dir / name
    if inside.is_dir():
        return inside
    return beside if beside.is_dir() or data_dir.name == _CORPUS else inside


def plan_for(data_dir: Path, resources: Sequence[Resource], remove_archives: bool = False) -> Plan:
    """What fetching `resources` takes, beside what is there already."""
    to_come = used = peak = 0
    for resource in resources:
        target = _target(data_dir, resource)
        missing = 0
        if not target.is_file():
            missing = max(0, resource.num_bytes - PartFile(target).on_disk())
        to_come += missing
        used += missing
        if resource.is_subset:
            used += round(_UNPACKED_SHARE * resource.num_bytes)
        peak = max(peak, used)
        if resource.is_subset and remove_archives:
            used -= resource.num_bytes
    return Plan(to_come, peak)


def _missing(data_dir: Path, resources: Sequence[Resource]) -> list[Resource]:
    return [one for one in resources if not locate(data_dir, one.name).exists()]


def _target(data_dir: Path, resource: Resource) -> Path:
    """Where a download is put: an archive, or the file itself."""
    if resource.is_subset:
        return data_dir / resource.file_name
    return locate(data_dir, resource.name)


def _lock(file: int, data_dir: Path, reporter: Reporter) -> None:
    """One process at a time fetches into a folder; others wait, and then find everything there."""
    try:
        lock(file)
    except BlockingIOError:
        reporter.say(f"another process is downloading to {data_dir}: waiting for it")
        lock(file, wait=True)


def _fetch_missing(
    data_dir: Path, resources: Sequence[Resource], options: FetchOptions, reporter: Reporter
) -> None:
    missing = _missing(data_dir, resources)
    if not missing:
        return
    plan = plan_for(data_dir, missing, options.remove_archives)
    reporter.say(f"data: {', '.join(one.name for one in missing)} to {data_dir}: {plan}")
    _check_disk(data_dir, missing, plan, options)
    for resource in missing:
        _fetch_one(data_dir, resource, options, reporter)


def _check_disk(
    data_dir: Path, missing: Sequence[Resource], plan: Plan, options: FetchOptions
) -> None:
    free = shutil.disk_usage(data_dir).free
    if free >= plan.disk_bytes:
        return
    frugal = plan_for(data_dir, missing, remove_archives=True).disk_bytes
    hint = ""
    if not options.remove_archives and frugal < plan.disk_bytes:
        hint = (
            f"; with --remove-archives (data.remove_archives=true in a recipe) {size_text(frugal)} "
            "are enough"
        )
    raise AsrError(
        f"not enough disk for {', '.join(one.name for one in missing)}: {data_dir} has "
        f"{size_text(free)} free, and {size_text(plan.disk_bytes)} are needed; make room or choose "
        f"another folder (--data-dir, data.data_dir in a recipe){hint}"
    )


def _fetch_one(
    data_dir: Path, resource: Resource, options: FetchOptions, reporter: Reporter
) -> None:
    target = _target(data_dir, resource)
    if target.is_file():
        _check_found(target, resource, reporter)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        urls = resource.urls(options.mirrors)
        download(urls, target, resource.fingerprint, options.transport, reporter)
    if resource.is_subset:
        _unpack_subset(target, resource, locate(data_dir, resource.name), reporter)
        if options.remove_archives:
            target.unlink()


def _check_found(archive: Path, resource: Resource, reporter: Reporter) -> None:
    """An archive that lay there may be a broken-off download, or of another corpus; it is not ours."""
    problem = resource.fingerprint.mismatch(archive, reporter)
    if problem is not None:
        raise AsrError(
            f"{archive} is not the {resource.file_name} of OpenSLR {resource.number}: {problem}; "
            f"move it away or delete it, or, if it is the beginning of one, go on with it: "
            f"mv {archive} {archive}.part"
        )
    reporter.say(f"{archive}: found")


def _unpack_subset(archive: Path, resource: Resource, folder: Path, reporter: Reporter) -> None:
    """Unpack beside `folder`, which gets its name last: half a subset is never taken for a whole one."""
    limits = Limits(_MAX_UNPACKED_SHARE * archive.stat().st_size + _SPARE_BYTES)
    temporary = folder.parent / f".unpacking-{resource.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    count = unpack(archive, temporary, limits, reporter)
    try:
        unpacked = temporary / _CORPUS / resource.name
        if not unpacked.is_dir():
            raise AsrError(
                f"{archive} holds no {_CORPUS}/{resource.name}: it is not the published archive"
            )
        for table in (temporary / _CORPUS).glob("*.TXT"):  # speakers, chapters, books, licence
            if not (folder.parent / table.name).exists():
                table.replace(folder.parent / table.name)
        unpacked.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    reporter.say(f"{folder}: {count:,} files unpacked")
