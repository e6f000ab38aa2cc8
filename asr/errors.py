"""Errors that a person reads: each message says what was wrong, where, and what to do."""


class AsrError(Exception):
    """Something that the user can mend; shown without a traceback. Exit status 3."""

    exit_status = 3


class UsageError(AsrError):
    """The command itself was wrong (an unknown recipe, a misspelt key). Exit status 2."""

    exit_status = 2
