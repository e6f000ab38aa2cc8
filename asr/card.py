"""Bundle -> its README, the model card."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr.bundle import Bundle


def model_card(bundle: "Bundle") -> str:
    """The bundle's README: what the model is, what it was trained on, how to use it."""
    training, config = bundle.training, bundle.model.config
    encoder, features = config.encoder, config.features
    tokenizer = bundle.tokenizer
    wer = "not measured" if training.dev_wer is None else f"{100 * training.dev_wer:.2f} %"
    if training.dev_wer is not None and bundle.weights != "float32":
        wer += f", before the weights were rounded to {bundle.weights}"
    return f"""# Speech recognizer, recipe {training.recipe or "unknown"}

| | |
|---|---|
| network | {encoder.num_layers} x {encoder.hidden_size} bidirectional LSTM, CTC, \
{bundle.model.num_parameters / 1e6:.2f} M parameters{_others_text(bundle)} |
| input | {features.kind}, {features.num_features} coefficients, {features.sample_rate} Hz, \
{encoder.conv_kind} subsampling x{encoder.subsampling} |
| output | {tokenizer.vocab_size - 1} {tokenizer.unit}{_phones_text(bundle)}, \
text normaliser `{bundle.normalizer}` |
{_speller_row(bundle)}\
| trained on | {training.data or "unknown"}, {training.hours:.2f} h of speech |
| training | {training.epochs} epochs, {training.steps} steps, seed {training.seed} |
| greedy WER on {training.dev_set or "the development set"} | {wer} |
| decoding | {_decoding_text(bundle)} |
| made | {training.created or "unknown"} |

    asr transcribe talk.flac --model THIS_FOLDER
    asr evaluate test.jsonl --model THIS_FOLDER

The model writes what it was trained to write: lower-case words without punctuation. Expect many more
errors on speech unlike its training data: other accents, noise, far microphones, spontaneous speech.
"""


def card_sections(card: Path) -> str:
    """What a model card has after its head; nothing where there is no card."""
    text = card.read_text("utf-8", errors="replace") if card.is_file() else ""
    start = text.find("\n## ")
    return text[start:] if start >= 0 else ""


def _phones_text(bundle: "Bundle") -> str:
    return f" and {len(bundle.phones) - 2} phones" if bundle.phones else ""


def _others_text(bundle: "Bundle") -> str:
    count = len(bundle.others)
    if not count:
        return ""
    size = (bundle.num_parameters - bundle.model.num_parameters) / 1e6
    shares = (
        f", shares {' : '.join(f'{share:g}' for share in bundle.shares)}" if bundle.shares else ""
    )
    return f"; {count} more that hear{'s' * (count == 1)} along, {size:.2f} M{shares}"


def _speller_row(bundle: "Bundle") -> str:
    size = bundle.model.config.speller
    if size is None:
        return ""
    return (
        f"| speller | {size.num_layers} x {size.hidden_size} bidirectional LSTM, subsampling "
        f"x{size.subsampling}: reads the phones, writes {bundle.model.config.num_pieces - 1} pieces of "
        "words |\n"
    )


def _decoding_text(bundle: "Bundle") -> str:
    if bundle.language_model is None:
        return "greedy; no language model"
    if bundle.decoding is None:
        return "beam search with the language model in this folder"
    tuned = bundle.decoding
    over = " over phones" if bundle.phones else ""
    return (
        f"beam {tuned.beam_size}{over} with the language model in this folder, weight "
        f"{tuned.lm_weight:g}, word bonus {tuned.word_bonus:g}"
        + (f", acoustic scale {tuned.acoustic_scale:g}" if tuned.acoustic_scale != 1 else "")
        + (f", {tuned.views} views of the speech" if tuned.views > 1 else "")
        + (f", then the neural one, share {tuned.rnnlm_share:g}" if bundle.rnnlm else "")
    )
