"""`asr adapt`: a model made to fit recordings that nobody has transcribed (self-training).

In each round the model writes down what it hears, with its language models, and each network of the
model that was there first is trained on that: a later round begins with better texts, not with networks
that have learnt the errors of the round before.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.bfloat16 import WORTHWHILE, speedup
from asr.bundle import Bundle, is_bundle, load_bundle, save_bundle
from asr.errors import UsageError
from asr.items import Item
from asr.labels import Clips, check_can_label, cut_clips, label, spread
from asr.manifest import write_manifest
from asr.training.checkpoints import CHECKPOINT_FOLDER
from asr.training.config import RunConfig, load_config, quoted
from asr.training.fitting import say
from asr.training.train import BUNDLE_FOLDER, CONFIG_FILE, run
from asr.transcribe import Recognizer
from asr.whole_file import make_writable, write_atomically

DRAWS = 3  # transcripts of each clip
_STATE_FILE, _LABELS_FILE, _CHECK_FILE = "adapt.json", "labels.jsonl", "check.jsonl"
_NUM_CHECKED = 60  # clips whose texts are compared with what the network writes alone
_CHOSEN_HERE = ("recipe", "init_from", "run_dir", "resume", "data.train", "data.dev", "data.test")

Listener = Callable[[str], Recognizer]


@dataclass(frozen=True)
class Options:
    """How to adapt.

    Attributes:
        model: the bundle to begin with, or "default".
        rounds: of listening and training.
        max_hours: of speech that is used; of more, clips from everywhere.
        overrides: of the recipe `own-data/adapt`, as `asr train` takes them.
        resume: go on with what an interrupted run has left.
    """

    model: str
    rounds: int = 2
    max_hours: float = 5.0
    overrides: tuple[str, ...] = ()
    resume: bool = False


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        hours: of speech that was learnt from.
        failures: a line for each recording that cannot be read.
    """

    bundle_path: Path
    hours: float
    failures: tuple[str, ...]


def adapt(items: Sequence[Item], out: Path, listener: Listener, options: Options) -> Adapted:
    """Adapt a model to recordings; writes `out`/bundle, and beside it a folder for each round.

    Args:
        items: the recordings.
        listener: loads a model, by its folder, with all that decoding needs.

    Raises:
        UsageError: no language model to learn from, or `out` holds another adaptation.
        AsrError: no recording can be read, or nothing is heard in them.
    """
    recognizer = listener(options.model)
    check_can_label(recognizer)
    start = recognizer.bundle
    preset = _trainer_preset(recognizer.device.type)
    config = _recipe(start, preset, options)
    make_writable(out)
    _check_new(out, resume=options.resume)
    clips = cut_clips(items, recognizer.sample_rate, options.max_hours)
    state = {"settings": recognizer.settings, "clips": _digest(clips)}
    _check_same(out, state)
    write_atomically(out / _STATE_FILE, [json.dumps(state, indent=2), "\n"])
    other_configs = [
        _recipe(start, preset, replace(options, model=str(model)))
        for model in _write_others(start, out)
    ]
    failures = dict.fromkeys(clips.failures)
    bundle_path = out / BUNDLE_FOLDER
    for number in range(1, options.rounds + 1):
        folder = out / f"round-{number}"
        if not (folder / _LABELS_FILE).is_file():
            if number > 1:
                recognizer = listener(str(bundle_path))
            say(f"round {number} of {options.rounds}: listening to {clips.hours:.2f} h")
            failures |= dict.fromkeys(_write_labels(folder, clips, recognizer))
        trained = [_trained(config, folder, folder / "run")]
        for other, its_config in enumerate(other_configs if trained[0].phones else (), 2):
            say(f"round {number} of {options.rounds}: network {other}")
            trained.append(_trained(its_config, folder, folder / f"run-{other}"))
        save_bundle(_with_search_of(start, trained, clips), bundle_path)
        for checkpoints in folder.glob(f"*/{CHECKPOINT_FOLDER}"):
            shutil.rmtree(checkpoints, ignore_errors=True)
    return Adapted(bundle_path, clips.hours, tuple(failures))


def _trainer_preset(device: str) -> str:
    """The fastest of `trainer=` for this machine."""
    if device != "cpu":
        return "gpu"
    return "cpu-bf16" if speedup(training=True) >= WORTHWHILE else "auto"


def _recipe(start: Bundle, trainer: str, options: Options) -> RunConfig:
    """The recipe for this model and this machine, under what the user says."""
    own = {
        "recipe": "own-data/adapt",
        "init_from": quoted(options.model),
        "data.normalizer": start.normalizer,
        "trainer": trainer,
        **({} if start.phones else {"loss.phone_weight": "0", "loss.phone_crf": "0"}),
    }
    given = {override.partition("=")[0] for override in options.overrides}
    if refused := sorted(given.intersection(_CHOSEN_HERE)):
        raise UsageError(f"--set {refused[0]}: asr adapt fills this in itself")
    ours = [f"{key}={value}" for key, value in own.items() if key not in given]
    return load_config([*ours, *options.overrides])


def _check_new(out: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something else than what is to be gone on with."""
    if not (out / _STATE_FILE).is_file():
        if (out / BUNDLE_FOLDER).exists():
            raise UsageError(f"{out / BUNDLE_FOLDER} exists already: choose another -o")
    elif not resume:
        raise UsageError(
            f"{out} holds an adaptation already: go on with --resume, or choose another -o"
        )


def _check_same(out: Path, state: Mapping[str, str]) -> None:
    file = out / _STATE_FILE
    if file.is_file() and json.loads(file.read_text("utf-8")) != state:
        raise UsageError(
            f"{out} was begun with another model, other recordings or other options: choose another -o"
        )


def _digest(clips: Clips) -> str:
    """What the clips are cut from, and where."""
    digest = hashlib.blake2b(digest_size=16)
    for one in clips.utterances:
        path = str(one.audio_path.resolve())
        place = f"{one.utterance_id}\t{path}\t{one.offset_s}\t{one.duration_s}\n"
        digest.update(place.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _write_labels(folder: Path, clips: Clips, recognizer: Recognizer) -> tuple[str, ...]:
    """Write what a round learns from; returns what could not be read."""
    labelled, failures = label(clips.utterances, recognizer, DRAWS)
    write_manifest(folder / _CHECK_FILE, spread(labelled, _NUM_CHECKED))
    write_manifest(folder / _LABELS_FILE, labelled)
    return failures


def _write_others(start: Bundle, out: Path) -> list[Path]:
    """The networks that hear along, each as a model to begin with."""
    alone = replace(start, others=(), shares=(), pieces=None, language_model=None, rnnlm=None)
    return [
        save_bundle(replace(alone, model=model), out / f"network-{number}")
        for number, model in enumerate(start.others, 2)
    ]


def _trained(config: RunConfig, folder: Path, run_dir: Path) -> Bundle:
    """A network trained on what the round in `folder` has heard, or what an earlier call has trained."""
    if not is_bundle(run_dir / BUNDLE_FOLDER):
        run(_of_round(config, folder, run_dir))
    return load_bundle(run_dir / BUNDLE_FOLDER)


def _of_round(config: RunConfig, folder: Path, run_dir: Path) -> RunConfig:
    data = replace(
        config.data,
        train=[str(folder / _LABELS_FILE)],
        dev=[str(folder / _CHECK_FILE)],
        test=[],
    )
    begun = (run_dir / CONFIG_FILE).is_file()
    return replace(config, run_dir=str(run_dir), resume=begun, data=data)


def _with_search_of(start: Bundle, networks: Sequence[Bundle], clips: Clips) -> Bundle:
    """The trained networks with all that the first model has besides."""
    trained, *others = networks
    training = replace(
        trained.training,
        data=f"{clips.hours:.2f} h without transcripts; started from model {start.model_id}",
        hours=round(clips.hours, 3),
        dev_wer=None,
        dev_set="",
    )
    above = f"\n## From the card of the model that was adapted, {start.model_id}\n"
    return replace(
        start,
        model=trained.model,
        tokenizer=trained.tokenizer,
        phones=trained.phones,
        lexicon=trained.lexicon,
        pieces=trained.pieces,
        training=training,
        others=tuple(other.model for other in others),
        sections=above + start.sections if start.sections else "",
    )
