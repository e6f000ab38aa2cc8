"""What a batch came to: files by outcome, hours, speed, failures by reason, exit status."""

import time
from dataclasses import dataclass, field

from asr.batch import Result, Status


@dataclass
class Summary:
    """What a run did; grows with `add`."""

    files: dict[str, int] = field(default_factory=lambda: {status.value: 0 for status in Status})
    audio_s: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def add(self, result: Result) -> None:
        """Count one result."""
        self.files[result.status] += 1
        self.audio_s += result.transcribed_s
        if result.status is Status.FAILED:
            self.failures[result.reason] = self.failures.get(result.reason, 0) + 1

    @property
    def wall_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def times_real_time(self) -> float:
        """Seconds of audio transcribed per second of the clock."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def exit_status(self) -> int:
        """0 all good, 1 some inputs failed, 3 all failed."""
        failed = self.files[Status.FAILED]
        if failed == 0:
            return 0
        return 3 if failed == sum(self.files.values()) else 1

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {status}" for status, number in self.files.items() if number)
        lines = [
            f"{counts or 'nothing done'}; {self.audio_s / 3600:.3f} h of audio in "
            f"{self.wall_s:.1f} s, {self.times_real_time:.0f} x real time"
        ]
        by_number = sorted(self.failures.items(), key=lambda pair: -pair[1])
        lines += [f"  {number} failed: {reason}" for reason, number in by_number[:10]]
        return "\n".join(lines)
