"""`python -m asr` is `asr`."""

from asr.cli import main

main()
