"""The second pass of decoding: hypotheses of a beam search ranked anew with a neural language model.

    score = score of the search + lm_weight * share * (ln P of the neural model - ln P of the n-grams)

so that the language model's weight stays what it is, and a share of it goes to the neural model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.ngram import NgramModel
from asr.errors import UsageError
from asr.rnnlm import Rescorer

NUM_HYPOTHESES = 32  # of an utterance that are ranked anew; more cost time and bring nothing
_UTTERANCES_TOGETHER = 16


def check_share(share: float) -> None:
    """UsageError where `share` is none."""
    if not 0 <= share <= 1:
        raise UsageError(f"the neural language model's share must be 0 to 1, not {share}")


@dataclass(frozen=True)
class BoundRescorer:
    """A neural language model beside the n-grams that a search used.

    Attributes:
        words_of: the words of a hypothesis.
    """

    rescorer: Rescorer
    ngram: NgramModel
    words_of: Callable[[Hypothesis], list[str]]

    def differences(self, n_best: Sequence[Sequence[Hypothesis]]) -> list[list[float]]:
        """ln P of the neural model less that of the n-grams, of each hypothesis of each utterance."""
        found: list[list[float]] = []
        for first in range(0, len(n_best), _UTTERANCES_TOGETHER):
            part = n_best[first : first + _UTTERANCES_TOGETHER]
            sentences = [self.words_of(hypothesis) for own in part for hypothesis in own]
            differences = (
                neural - float(self.ngram.score_words(words).sum())
                for words, neural in zip(sentences, self.rescorer.score(sentences), strict=True)
            )
            found += [[next(differences) for _ in own] for own in part]
        return found


@dataclass(frozen=True)
class Rescoring:
    """A second pass ready to use.

    Attributes:
        lm_weight: of the search.
        share: of the neural model in the language model's score, 0 to 1.
    """

    bound: BoundRescorer
    lm_weight: float
    share: float

    def __post_init__(self) -> None:
        check_share(self.share)

    def rank(self, n_best: Sequence[Sequence[Hypothesis]]) -> list[list[Hypothesis]]:
        """The hypotheses of each utterance with their new scores, the best first."""
        return list(map(self.ranked, n_best, self.bound.differences(n_best)))

    def ranked(
        self, hypotheses: Sequence[Hypothesis], differences: Sequence[float]
    ) -> list[Hypothesis]:
        """The same of one utterance, given the `differences` of its hypotheses."""
        factor = self.lm_weight * self.share
        rescored = [
            replace(hypothesis, score=hypothesis.score + factor * difference)
            for hypothesis, difference in zip(hypotheses, differences, strict=True)
        ]
        return sorted(rescored, key=lambda hypothesis: -hypothesis.score)
