"""Errors that a user can mend: their messages say what was wanted, what came, and what to change."""

from __future__ import annotations


class UserError(Exception):
    """What was asked for cannot be done. A command prints its message; any other exception is a bug."""


class ConfigError(UserError, ValueError):
    """A config key, an option of a command or a combination of them cannot be used."""


class DataError(UserError, ValueError):
    """A graph, a split, attention scores or stored results do not hold what is needed."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that was asked for is not there."""


class OtherResultsError(UserError, FileExistsError):
    """Results of something else lie where new ones were to be written."""


class ShortOfMemoryError(UserError, MemoryError):
    """The machine or its GPU has less memory than was asked for."""


class NotFiniteError(UserError, ArithmeticError):
    """A loss, a prediction or a weight is no finite number: training has diverged, or numbers overflow."""
