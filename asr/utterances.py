"""The audio of a manifest's utterances: the waveform of each, and how long it is."""

from dataclasses import replace

from asr.audio import AudioError, Waveform, load_audio, probe
from asr.manifest import Utterance


def load_utterance(utterance: Utterance, sample_rate: int) -> Waveform:
    """The utterance's stretch of its audio file as a mono waveform (S,); AudioError if unreadable."""
    return load_audio(
        utterance.audio_path,
        sample_rate,
        offset_s=utterance.offset_s,
        duration_s=utterance.duration_s or None,
    )


def measured(utterance: Utterance) -> Utterance:
    """One without a duration goes to the end of its file: the same with its length, if readable."""
    if utterance.duration_s:
        return utterance
    try:
        duration_s = probe(utterance.audio_path).duration_s - utterance.offset_s
    except AudioError:
        return utterance  # reading it says what is wrong
    return replace(utterance, duration_s=max(0.0, duration_s))
