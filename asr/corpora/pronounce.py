"""How English words are said, by the rules and the dictionary of espeak-ng, in ARPAbet."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from asr.corpora.espeak import Espeak
from asr.pronunciation import Phones

_VOICE = "en-us"
_STRESS = re.compile(r"[',%=]+")
# espeak-ng's names of sounds, without stress, in General American; finer distinctions are folded.
_ARPABET: Mapping[str, str] = MappingProxyType(
    {
        "0": "AA", "A:": "AA", "A~": "AA", "A@": "AA R", "a:": "AA", "a": "AE", "aa": "AE",
        "@": "AX", "@2": "AX", "@-": "AX", "a#": "AX", "a#:": "AX", "@L": "AX L", "V": "AH",
        "O:": "AO", "O": "AO", "O2": "AO", "O~": "AO N", "O@": "AO R", "o@": "AO R", "aU": "AW",
        "aU@": "AW ER", "aI": "AY", "aI@": "AY AX", "aI3": "AY ER", "b": "B", "tS": "CH",
        "d": "D", "D": "DH", "E": "EH", "E2": "EH", "e@": "EH R", "3": "ER", "3:": "ER",
        "e": "EY", "eI": "EY", "f": "F", "g": "G", "h": "HH", "I": "IH", "I2": "IH", "I#": "IH",
        "i": "IY", "i:": "IY", "i::": "IY", "i@": "IY AX", "i@3": "IH R", "dZ": "JH", "k": "K",
        "x": "K", "l": "L", "l#": "L", "m": "M", "n": "N", "n-": "AX N", "N": "NG", "o": "OW",
        "oU": "OW", "OI": "OY",
        "p": "P", "r": "R", "r-": "R", "s": "S", "S": "SH", "C": "SH", "t": "T", "t#": "T",
        "t2": "T", "?": "T", "T": "TH", "U": "UH", "U@": "UH R", "u": "UW", "u:": "UW", "v": "V",
        "w": "W", "j": "Y", "z": "Z", "Z": "ZH", ";": "", "|": "", "!": "", "": "",
    }
)  # fmt: skip
_WEAK = MappingProxyType({"a": ("AX",)})  # espeak-ng names the letter


def pronounce(words: Iterable[str]) -> dict[str, tuple[Phones, ...]]:
    """The pronunciation of each word; those without one, or with sounds not English, are left out.

    Raises:
        AsrError: espeak-ng is not installed.
    """
    said: dict[str, tuple[Phones, ...]] = {}
    words = list(dict.fromkeys(words))
    with Espeak() as espeak:
        for word, phonemes in zip(words, espeak.phonemes(words, _VOICE), strict=True):
            if phones := _WEAK.get(word) or to_arpabet(phonemes):
                said[word] = (phones,)
    return said


def to_arpabet(phonemes: str) -> Phones:
    """ARPAbet (AX for schwa) of espeak-ng's phonemes, which _ or a space divides.

    No phone is there twice in a row. Empty where a phoneme is no sound of English.

    >>> to_arpabet("m_'e@_r_i_z")
    ('M', 'EH', 'R', 'IY', 'Z')
    """
    phones: list[str] = []
    for phoneme in re.split(r"[_ ]", phonemes):
        name = _STRESS.sub("", phoneme)
        if name not in _ARPABET:
            return ()
        for phone in _ARPABET[name].split():
            if phone not in phones[-1:]:
                phones.append(phone)
    return tuple(phones)
