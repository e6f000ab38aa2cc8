"""Does this machine have what asr needs? Each check says what to do where it fails."""

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_PYTHONS = ((3, 11), (3, 13))


class Verdict(StrEnum):
    """ok; missing (an optional part is not there); broken (asr cannot work)."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report; `advice` is empty where nothing is to be done."""

    name: str
    verdict: Verdict
    finding: str
    advice: str = ""


def examine() -> list[Check]:
    """Run all checks; none of them raises."""
    checks = (_python, _torch, _torchaudio, _audio_files, _media, _numba, _espeak, _processor, _gpu)
    return [_guarded(check) for check in checks]


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        name = check.__name__.lstrip("_").replace("_", " ")
        return Check(name, Verdict.BROKEN, f"{type(error).__name__}: {error}", "reinstall asr")


def _python() -> Check:
    version = sys.version_info[:2]
    finding = f"{platform.python_version()} at {sys.executable}"
    if _PYTHONS[0] <= version <= _PYTHONS[1]:
        return Check("python", Verdict.OK, finding)
    return Check("python", Verdict.BROKEN, finding, "use Python 3.11, 3.12 or 3.13")


def _torch() -> Check:
    import torch

    threads = torch.get_num_threads()
    return Check("torch", Verdict.OK, f"{torch.__version__}, {threads} threads")


def _torchaudio() -> Check:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "torchaudio")}
    numbers = [version.split("+")[0] for version in versions.values()]
    advice = "install the matched pair: pip install 'torch==2.11.0' 'torchaudio==2.11.0'"
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError) as error:
        return Check("torchaudio", Verdict.BROKEN, f"import fails: {error}", advice)
    if numbers[0] != numbers[1]:
        finding = f"{versions['torchaudio']} beside torch {versions['torch']}"
        return Check("torchaudio", Verdict.BROKEN, finding, advice)
    return Check("torchaudio", Verdict.OK, versions["torchaudio"])


def _audio_files() -> Check:
    import soundfile

    formats = set(soundfile.available_formats())
    subtypes = set(soundfile.available_subtypes("OGG"))
    wanted = {"WAV": "WAV" in formats, "FLAC": "FLAC" in formats, "MP3": "MP3" in formats,
              "Opus": "OPUS" in subtypes, "Vorbis": "VORBIS" in subtypes}  # fmt: skip
    missing = [name for name, there in wanted.items() if not there]
    finding = (
        f"{soundfile.__libsndfile_version__} reads {', '.join(sorted(set(wanted) - {*missing}))}"
    )
    if missing:
        advice = (
            f"no {', '.join(missing)}: install the soundfile wheel, which brings libsndfile 1.2"
        )
        return Check("audio files", Verdict.MISSING, finding, advice)
    return Check("audio files", Verdict.OK, finding)


def _media() -> Check:
    ffmpeg = shutil.which("ffmpeg")
    try:
        version = importlib.metadata.version("av")
        return Check("m4a mp4 webm", Verdict.OK, f"PyAV {version}")
    except importlib.metadata.PackageNotFoundError:
        if ffmpeg:
            return Check("m4a mp4 webm", Verdict.OK, ffmpeg)
    advice = "for these formats: pip install 'asr[media]', or install ffmpeg"
    return Check("m4a mp4 webm", Verdict.MISSING, "neither PyAV nor ffmpeg", advice)


def _numba() -> Check:
    import numba

    return Check("numba", Verdict.OK, numba.__version__)


def _espeak() -> Check:
    try:
        version = importlib.metadata.version("espeakng-loader")
        return Check("espeak-ng", Verdict.OK, f"espeakng-loader {version}")
    except importlib.metadata.PackageNotFoundError:
        advice = "for the synthetic demo corpus: pip install 'asr[demo]'"
        return Check("espeak-ng", Verdict.MISSING, "not installed", advice)


def _processor() -> Check:
    from asr.bfloat16 import WORTHWHILE, has_bfloat16, speedup

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not has_bfloat16():
        return Check("processor", Verdict.OK, f"{cores} cores; no bfloat16, computes in float32")
    training, hearing = speedup(training=True), speedup(training=False)
    finding = (
        f"{cores} cores; bfloat16 is {training:.1f} times as fast as float32 in training, "
        f"{hearing:.1f} times in transcribing"
    )
    advice = []
    if training >= WORTHWHILE:
        advice.append("train with trainer.precision=bf16-mixed")
    if hearing >= WORTHWHILE:
        advice.append("transcribe with --precision bfloat16")
    return Check("processor", Verdict.OK, finding, ", ".join(advice))


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("gpu", Verdict.OK, torch.cuda.get_device_name(0))
    return Check("gpu", Verdict.MISSING, "none that torch can use", "training runs on the CPU")
