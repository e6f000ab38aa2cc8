"""The espeak-ng speech synthesiser, called through ctypes out of the wheel `espeakng-loader`.

espeak-ng is GPL-3 and therefore an extra (`pip install 'asr[demo]'`). Its state is global, and
what it has said changes what it says next (flutter, echo): the same lines sound the same only when
said in the same order in a fresh process.
"""

import ctypes
import tempfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when everything is said
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: a failure is returned, not exit(1)
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_VOLUME_PERCENT = 50  # at the default 100 several voices clip inside the library
_LONGEST_DATA_PATH = 120  # espeak-ng cuts longer ones off at 160 bytes, file names included

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def require_espeak() -> None:
    """AsrError naming the extra, where espeak-ng is not installed."""
    if find_spec("espeakng_loader") is None:
        raise AsrError(
            "speech synthesis needs espeak-ng, which is not installed: pip install 'asr[demo]'"
        )


class Espeak:
    """espeak-ng, to be used once a process: `with Espeak() as espeak: espeak.speak(...)`.

    Raises:
        AsrError: espeak-ng is not installed, or its library or data cannot be loaded.
    """

    def __init__(self) -> None:
        require_espeak()
        import espeakng_loader

        self._chunks: list[bytes] = []
        self._link = tempfile.TemporaryDirectory(prefix="asr-espeak-")
        data = self._short_path(Path(espeakng_loader.get_data_path()))
        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise AsrError(f"espeak-ng cannot be loaded on this machine: {error}") from None
        self.sample_rate = self._initialize(data)
        self._variants = {path.name for path in (data / "voices" / "!v").iterdir()}
        self._callback = _Callback(self._receive)  # kept: the library holds no reference
        self._library.espeak_SetSynthCallback(self._callback)
        self._set(_VOLUME, _VOLUME_PERCENT)

    def __enter__(self) -> "Espeak":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._library.espeak_Terminate()
        self._link.cleanup()

    def speak(
        self, text: str, voice: str, *, rate_wpm: int, pitch: int, pitch_range: int, seed: int
    ) -> NDArray[np.int16]:
        """Say `text` at `sample_rate`; waveform (S,).

        Args:
            voice: a voice of espeak-ng with a variant, such as `en-us+f3`.
            rate_wpm: words per minute, 80 to 450.
            pitch: 0 to 100; 50 is the voice's own.
            pitch_range: how lively, 0 (monotone) to 100; 50 is the voice's own.
            seed: of the noise in breathy voices.
        """
        self._use(voice)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        for parameter, value in ((_RATE, rate_wpm), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
            self._set(parameter, value)
        self._chunks.clear()
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _UTF8, None, None
        )
        if status != 0:
            raise AsrError(f"espeak-ng could not say {text!r} with voice {voice} (status {status})")
        return np.frombuffer(b"".join(self._chunks), dtype=np.int16)

    def phonemes(self, texts: Iterable[str], voice: str) -> Iterator[str]:
        """What `voice` would say for each text: espeak-ng's names of phonemes, _ between them."""
        self._use(voice)
        translate = self._library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        for text in texts:
            rest, clauses = ctypes.c_char_p(text.encode()), []
            while rest.value:  # it moves on by a clause
                clauses.append(translate(ctypes.byref(rest), _UTF8, ord("_") << 8) or b"")
            yield " ".join(clause.decode() for clause in clauses)

    def _use(self, voice: str) -> None:
        variant = voice.partition("+")[2]
        unknown = bool(variant) and variant not in self._variants  # espeak-ng would ignore it
        if unknown or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise AsrError(f"espeak-ng has no voice {voice!r}")

    def _initialize(self, data: Path) -> int:
        sample_rate = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT
        )
        used = ctypes.c_char_p()
        self._library.espeak_Info(ctypes.byref(used))
        # A folder it does not like is silently replaced by the system's own espeak-ng, if any.
        if sample_rate <= 0 or (used.value or b"").decode() != str(data):
            raise AsrError(
                f"espeak-ng found no voice data in {data}; install it again: "
                "pip install --force-reinstall espeakng-loader"
            )
        return int(sample_rate)

    def _short_path(self, data: Path) -> Path:
        if len(str(data).encode()) <= _LONGEST_DATA_PATH:
            return data
        link = Path(self._link.name) / data.name
        link.symlink_to(data, target_is_directory=True)
        return link

    def _set(self, parameter: int, value: int) -> None:
        self._library.espeak_SetParameter(parameter, value, 0)

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: object) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0
