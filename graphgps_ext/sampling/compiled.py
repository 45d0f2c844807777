"""Whether the compiled kernels can be had."""

from __future__ import annotations

import functools
import importlib.util
import warnings


@functools.cache  # so that the warning comes once
def has_numba() -> bool:
    """True if numba is installed; else one warning that names the cost."""
    if importlib.util.find_spec('numba') is not None:
        return True
    warnings.warn('numba is not installed: sampling in plain torch is some 40 times slower', stacklevel=3)
    return False
