"""What OpenSLR has of LibriSpeech: names, lengths, checksums, and the servers to take them from.

Sources: MD5 of 12 and 31 are those of OpenSLR's md5sum.txt, as PaddleSpeech's dataset scripts and
others carry them. SHA-256 and lengths of 12 are those of TensorFlow Datasets' url_checksums/
librispeech.txt; torchaudio's librispeech.py has the same SHA-256, Kaldi's download_and_untar.sh the
same lengths. SHA-256 of 31 are what users of archives with the right MD5 found, Kaldi has the lengths.
Lengths of 11 are those of Kaldi's download_lm.sh, length and SHA-256 of its text those of
url_checksums/librispeech_lm.txt. For the language models, the vocabulary and the lexicon no checksum
is published: none is given here, and their length and gzip checksum are all that is checked.
"""

from dataclasses import dataclass

from asr.corpora.fingerprint import Fingerprint
from asr.errors import UsageError

# In the order in which they are tried: OpenSLR itself, then the mirrors that its pages name.
MIRRORS = (
    "https://www.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://us.openslr.org/resources",
    "https://openslr.elda.org/resources",
    "https://openslr.magicdatatech.com/resources",
)


@dataclass(frozen=True)
class Resource:
    """A file of OpenSLR.

    Attributes:
        name: what a user asks for: a subset, or a file of resource 11.
        number: OpenSLR's number of the resource that it belongs to.
        num_utterances: of a subset, as published; 0 for a file that is no subset.
    """

    name: str
    number: int
    fingerprint: Fingerprint
    num_utterances: int = 0

    @property
    def is_subset(self) -> bool:
        """Whether it is an archive of speech."""
        return self.num_utterances > 0

    @property
    def file_name(self) -> str:
        """Its name on the server and on disk."""
        return f"{self.name}.tar.gz" if self.is_subset else self.name

    @property
    def num_bytes(self) -> int:
        """Length of the download."""
        return self.fingerprint.num_bytes or 0

    def urls(self, mirrors: tuple[str, ...]) -> tuple[str, ...]:
        """Where it is, in the order of `mirrors`."""
        return tuple(f"{mirror}/{self.number}/{self.file_name}" for mirror in mirrors)


def _subset(
    name: str, number: int, num_utterances: int, num_bytes: int, md5: str, sha256: str
) -> Resource:
    return Resource(name, number, Fingerprint(num_bytes, md5, sha256), num_utterances)


def _file(
    name: str, num_bytes: int, sha256: str | None = None, other_sizes: tuple[int, ...] = ()
) -> Resource:
    return Resource(name, 11, Fingerprint(num_bytes, None, sha256, other_sizes))


RESOURCES: dict[str, Resource] = {
    resource.name: resource
    for resource in (
        _subset(
            "train-clean-5", 31, 1_519, 332_954_390, "5df7d4e78065366204ca6845bb08f490",
            "47805806c8b15f7549f3c51bd6b7da72ec0128a34d32830c8014a88658c0292d",
        ),
        _subset(
            "train-clean-100", 12, 28_539, 6_387_309_499, "2a93770f6d5c6c964bc36631d331a522",
            "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
        ),
        _subset(
            "train-clean-360", 12, 104_014, 23_049_477_885, "c0e676e450a7ff2f54aeade5171606fa",
            "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
        ),
        _subset(
            "train-other-500", 12, 148_688, 30_593_501_606, "d1a0fd59409feb2c614ce4d30c387708",
            "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
        ),
        _subset(
            "dev-clean", 12, 2_703, 337_926_286, "42e2234ba48799c1f50f24a7926300a1",
            "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
        ),
        _subset(
            "dev-clean-2", 31, 1_089, 126_046_265, "6d7ab67ac6a1d2c993d050e16d61080d",
            "176ec501490eced2d6c1f89f4f0ddc7dfe799e649e5322f8ba49fe3ff50c8012",
        ),
        _subset(
            "dev-other", 12, 2_864, 314_305_928, "c8d0bcc9cca99d4f8b62fcc847357931",
            "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
        ),
        _subset(
            "test-clean", 12, 2_620, 346_663_984, "32fa31d27d2e1cad72775fee3f4849a9",
            "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
        ),
        _subset(
            "test-other", 12, 2_939, 328_757_843, "fb5a50374b501bb3bac4815ee91d3135",
            "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
        ),
        _file("3-gram.arpa.gz", 759_636_181),
        _file("3-gram.pruned.1e-7.arpa.gz", 34_094_057),
        _file("3-gram.pruned.3e-7.arpa.gz", 13_654_242),
        _file("4-gram.arpa.gz", 1_355_172_078),
        _file("librispeech-lexicon.txt", 5_627_653, other_sizes=(5_627_646,)),
        _file(
            "librispeech-lm-norm.txt.gz", 1_507_274_412,
            "927d47656638c2ca93566640e56bcbeb2aa4ca237b8490fe1eff7d6e610a53c7",
        ),
        _file("librispeech-vocab.txt", 1_737_588),
    )
}  # fmt: skip
SUBSETS = tuple(name for name, resource in RESOURCES.items() if resource.is_subset)
TEXTS = tuple(name for name, resource in RESOURCES.items() if not resource.is_subset)


def find_resources(names: tuple[str, ...]) -> tuple[Resource, ...]:
    """The resources of these names, each once, in the order given.

    Raises:
        UsageError: no names, or one that LibriSpeech does not have.
    """
    unknown = [name for name in names if name not in RESOURCES]
    if unknown or not names:
        raise UsageError(
            f"LibriSpeech has no subset {', '.join(unknown) or '(none given)'}; there are: "
            f"{', '.join(SUBSETS)}; language models, their text, lexicon and vocabulary: "
            f"{', '.join(TEXTS)}"
        )
    return tuple(RESOURCES[name] for name in dict.fromkeys(names))
