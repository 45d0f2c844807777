"""The error of all that a user can mend."""

from __future__ import annotations


class BenchmarkError(ValueError):
    """What was asked for cannot be done; the message says what was wanted, what came, and what to change."""
