"""Measures the model that comes with asr, and writes its model card from what was measured.

    python scripts/model_card.py --model asr/pretrained --data data/released -o card

Manifests are those of `scripts/release`. Greedy and with the bundle's language model: WER with 95 %
intervals by set, gender, age and speaker, and in noise that training has not heard. OUT keeps a report
of each measurement; the card goes into the bundle as its README.md.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from asr.bundle import CARD_FILE, LM_FILE, RNNLM_FILE, Bundle, load_bundle
from asr.card import model_card
from asr.clips import load_clips
from asr.decoder_noise import without_decoder_noise
from asr.decoding.arpa import load_ngram
from asr.decoding.ngram import BEGIN, END, UNKNOWN
from asr.evaluate import Evaluation, evaluate
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.network_file import network_files
from asr.scoring import CorpusScore
from asr.significance import wer_interval
from asr.transcribe import Recognizer, load_model
from asr.utterances import load_utterance
from asr.waveform_augment import cut_or_repeat, mix

LIBRISPEECH = "V. Panayotov, G. Chen, D. Povey, S. Khudanpur, ICASSP 2015"
# What the trainings of scripts/release hear, and under which licence.
RELEASED = f"""LibriSpeech train-clean-5 and 572 utterances of train-clean-100
(CC BY 4.0; {LIBRISPEECH}), speechocean762's training
speakers but for the 16 tested above (free for any use; J. Zhang et al., 2021), Kathleen's CMU Arctic
prompts but for the sentences tested above (CC0), all as Opus of 24 kbit/s; noise of ESC-10 (CC BY 3.0;
K. J. Piczak, ACM Multimedia 2015), four fifths of its recordings, and four room impulse responses
(Apache-2.0)."""
DATA = {
    "librispeech/mini": f"LibriSpeech train-clean-5 (CC BY 4.0; {LIBRISPEECH}), as Opus.",
    "librispeech/released": RELEASED,
    "librispeech/speller": RELEASED,
}
SPELLER = " The speller has read the texts of the language model too."
LEXICON = """

Pronouncing lexicon: what espeak-ng says for the words of the language model (`asr lexicon`)."""
SNRS_DB = (20, 10, 5, 0)
LOW_SNR_DB = 5  # from here on a search takes long: every fourth utterance
ADULT_AGE = 18


@dataclass(frozen=True)
class TestSet:
    """A manifest by the name that the card gives it."""

    name: str
    manifest: Path

    def utterances(self) -> list[Utterance]:
        """What is in it."""
        return read_manifest(self.manifest)


@dataclass(frozen=True)
class Measured:
    """Both decoders on one set."""

    test_set: TestSet
    greedy: Evaluation
    beam: Evaluation


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", type=Path, default=Path("asr/pretrained"))
    parser.add_argument("--data", type=Path, default=Path("data/released"))
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    recognizers = (load_model(options.model, decoder="greedy"), load_model(options.model))
    clean = TestSet("dev-clean, 11 speakers", options.data / "dev-clean.jsonl")
    sets = [
        clean,
        TestSet(
            "speechocean762, 16 Mandarin speakers",
            options.data / "speechocean762" / "test.jsonl",
        ),
        TestSet(
            "kathleen, held-out sentences of one reader",
            options.data / "kathleen" / "test.jsonl",
        ),
    ]
    with without_decoder_noise():
        noisy = noisy_sets(clean, options.data / "noise" / "test", options.out, recognizers[0])
        measured = [measure(one, recognizers, options.out) for one in (*sets, *noisy)]
    card = write_card(load_bundle(options.model), options.model, measured[: len(sets)], measured)
    (options.model / CARD_FILE).write_text(card, "utf-8")
    print(card)


def noisy_sets(clean: TestSet, clips: Path, out: Path, recognizer: Recognizer) -> list[TestSet]:
    """The clean set, or a fourth of it, with a stretch of a drawn clip added, at each ratio."""
    loaded = load_clips("--data", str(clips), recognizer.sample_rate)
    for note in loaded.left_out:
        print(note, file=sys.stderr)
    noises = loaded.waveforms
    utterances = clean.utterances()
    speech = [load_utterance(one, recognizer.sample_rate) for one in utterances]
    found = []
    for snr_db in SNRS_DB:
        folder = out / f"noise-{snr_db}dB"
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(snr_db)
        changed = []
        for utterance, waveform in zip(utterances, speech, strict=True):
            noise = cut_or_repeat(noises[random.integers(len(noises))], len(waveform), random)
            path = folder / f"{utterance.utterance_id}.wav"
            noisy = mix(waveform, noise, snr_db)
            soundfile.write(path, noisy, recognizer.sample_rate, subtype="FLOAT")
            changed.append(replace(utterance, audio_path=path, offset_s=0.0))
        every, said = (4, ", every fourth utterance") if snr_db <= LOW_SNR_DB else (1, "")
        write_manifest(folder / "noisy.jsonl", changed[::every])
        found.append(TestSet(f"dev-clean{said}, noise at {snr_db} dB", folder / "noisy.jsonl"))
    return found


def measure(test_set: TestSet, recognizers: tuple[Recognizer, Recognizer], out: Path) -> Measured:
    """Evaluate with both decoders; a report each below `out`."""
    folder = out / test_set.name.replace(",", "").replace(" ", "-")
    evaluations = [
        evaluate(test_set.manifest, recognizer, folder / name)
        for recognizer, name in zip(recognizers, ("greedy", "beam"), strict=True)
    ]
    for one in evaluations:
        print(f"{test_set.name}: {one.summary()}", file=sys.stderr)
    return Measured(test_set, *evaluations)


def write_card(
    bundle: Bundle, folder: Path, sets: Sequence[Measured], everything: Sequence[Measured]
) -> str:
    """The bundle's own card with the figures below."""
    clean, foreign = sets[0], sets[1]
    genders = cut(clean, "dev-clean, ", gender_of(clean))
    ages = cut(foreign, "speechocean762, ", age_of(foreign))
    networks = itertools.islice(network_files(folder), len(bundle.networks))
    neural = f", neural one {megabytes(folder / RNNLM_FILE):.1f} MB" if bundle.rnnlm else ""
    speed = clean.greedy.audio_s / clean.greedy.wall_s, clean.beam.audio_s / clean.beam.wall_s
    vocabulary = len(set(load_ngram(folder / LM_FILE).words) - {UNKNOWN, BEGIN, END})
    return f"""{model_card(bundle)}
## Measured

By `scripts/model_card.py`. WER in percent with its 95 % interval (over speakers where five or more
are known). Chosen on dev-clean: the checkpoint, by greedy WER, and the language model's weights.

{table("set", (line(one.test_set.name, one.greedy.score, one.beam.score) for one in everything))}

By gender and age:

{table("group", genders + ages)}

By speaker, dev-clean:

{table("speaker", cut(clean, "", speaker_of(clean)))}

On 2 CPU cores in float32, a second is enough for {speed[0]:.0f} s of dev-clean greedily, and for
{speed[1]:.0f} s with the language model. Weights {megabytes(*networks):.1f} MB ({bundle.weights}), \
language model {megabytes(folder / LM_FILE):.1f} MB{neural}.

## Data and licences

The weights and the language models are under asr's own licence, Apache-2.0. They were made from:

{DATA.get(bundle.training.recipe, "Not known here.")}{SPELLER if bundle.model.speller else ""}

Language models: 109 English novels to 1925 (public domain; none that LibriSpeech's development and test
sets were read from, but Kathleen's prompts are from novels of that time), the transcripts of
train-clean-100 (CC BY 4.0), and the words of SCOWL's lists to size 70 (K. Atkinson and others, free for
any use), most of them without a sentence to learn from.{LEXICON if bundle.phones else ""}

## What it is not good for

Spontaneous and fast speech, telephones and far microphones, several speakers at once, languages other
than English, names and words of today (its language model has {vocabulary:,} words and writes no other),
and anything where a wrong word does harm. It writes no punctuation and no digits, and capitals either
everywhere (`--upper`) or nowhere. Most voices that it has learnt from are readers of audiobooks.
"""


def megabytes(*files: Path) -> float:
    """What they take."""
    return sum(file.stat().st_size for file in files) / 1e6


def table(first: str, rows: Iterable[str]) -> str:
    """A Markdown table of WERs."""
    head = f"| {first} | words | greedy | with the language model |\n|---|---|---|---|"
    return "\n".join([head, *rows])


def line(name: str, greedy: CorpusScore, beam: CorpusScore) -> str:
    """A line of the table; intervals where there is more than one unit to resample."""
    cells = []
    for score in (greedy, beam):
        interval = wer_interval(score)
        ends = f" ({100 * interval.low:.1f} – {100 * interval.high:.1f})"
        cells.append(f"{100 * score.wer:.2f}" + ("" if np.isnan(interval.low) else ends))
    return f"| {name} | {greedy.num_reference_words} | {' | '.join(cells)} |"


def cut(measured: Measured, prefix: str, group_of: Callable[[str], str | None]) -> list[str]:
    """A line for each group of a set's utterances."""
    greedy, beam = measured.greedy.score, measured.beam.score
    names = sorted({group_of(one.utterance_id) for one in greedy.utterances} - {None})
    return [
        line(f"{prefix}{name}", part(greedy, group_of, name), part(beam, group_of, name))
        for name in names
    ]


def part(score: CorpusScore, group_of: Callable[[str], str | None], name: str) -> CorpusScore:
    """The utterances of one group, as a corpus of their own."""
    chosen = (one for one in score.utterances if group_of(one.utterance_id) == name)
    return replace(score, utterances=tuple(chosen))


def gender_of(measured: Measured) -> Callable[[str], str | None]:
    """The group of an utterance by its id."""
    names = {"f": "women", "m": "men"}
    return _by(measured, lambda one: names.get(str(one.extra.get("gender", "")).lower()))


def age_of(measured: Measured) -> Callable[[str], str | None]:
    """The same by age."""
    return _by(measured, lambda one: "adults" if int(one.extra["age"]) >= ADULT_AGE else "children")


def speaker_of(measured: Measured) -> Callable[[str], str | None]:
    """The same by speaker."""
    return _by(measured, lambda one: one.speaker_id)


def _by(
    measured: Measured, group: Callable[[Utterance], str | None]
) -> Callable[[str], str | None]:
    groups = {one.utterance_id: group(one) for one in measured.test_set.utterances()}
    return groups.get


if __name__ == "__main__":
    main()
