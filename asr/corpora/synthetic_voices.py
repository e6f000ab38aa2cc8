"""The speakers of the synthetic corpus: accents and voice variants of espeak-ng, by split."""

from dataclasses import dataclass

_ACCENTS = {
    "us": "en-us",
    "uk": "en",
    "rp": "en-gb-x-rp",
    "scots": "en-gb-scotland",
    "carib": "en-029",
    "nyc": "en-us-nyc",
    "lancs": "en-gb-x-gbclan",
}
# Variants of espeak-ng. Each belongs to one split; where several differ in little but tone or pitch
# (linda and belinda, Hugo and miguel), so do all of them. Whispers, croaks and robots are left out.
_FEMALE = {
    "train": "f3 f4 linda belinda aunty Alicia steph steph2 zac",
    "dev": "f1 grandma",
    "test": "f2 shelby Annie",
}
_MALE = {
    "train": """m1 m2 m5 m6 m7 m8 Alex Andy Denis Diogo Gene Gene2 Henrique Hugo Jacky
        Nguyen Storm adam benjamin boris david ed edward2 grandpa gustave ian john
        kaukovalta klatt klatt3 klatt6 marcelo max michel miguel norbert paul sandro
        victor""",
    "dev": "m4 pablo travis",
    "test": "m3 iven3 Michael robert Reed",
}
_FEMALE_ACCENTS = ("us", "uk", "rp", "scots", "nyc")
_MALE_SECOND_ACCENTS = ("uk", "rp", "nyc", "scots", "lancs", "carib")


@dataclass(frozen=True)
class Voice:
    """A speaker: one of espeak-ng's accents of English with one of its variants."""

    accent: str
    variant: str

    @property
    def speaker_id(self) -> str:
        return f"{self.accent}_{self.variant}"

    @property
    def espeak_name(self) -> str:
        return f"{_ACCENTS[self.accent]}+{self.variant}"


def voices(split: str) -> list[Voice]:
    """The speakers of one split: women in five accents each, men in two."""
    women = [Voice(a, v) for v in _FEMALE[split].split() for a in _FEMALE_ACCENTS]
    men = [
        Voice(accent, variant)
        for index, variant in enumerate(_MALE[split].split())
        for accent in ("us", _MALE_SECOND_ACCENTS[index % len(_MALE_SECOND_ACCENTS)])
    ]
    return women + men
