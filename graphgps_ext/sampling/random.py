"""Counter-based random numbers: a draw is a function of (key, node, slot), never of what was drawn before.

That makes a sample independent of the number of threads, of the order of rows and of the device, and a
resumed run repeats it. The generator is splitmix64 (Steele, Lea & Flood 2014): each (key, node) starts a
stream of its own, and number `slot` of the stream is read off directly. The compiled kernels do the integer
arithmetic of this file, so all give equal bits.
"""

from __future__ import annotations

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio: the step between numbers of one stream
NODE_STEP = 0xD1342543DE82EF95  # any odd one; not GOLDEN, so that streams are no shifts of each other
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
UNIFORM_BITS = 52  # one fewer than a double holds, so that bits + 0.5 is exact and never rounds up to 1


def stream_key(*parts: int) -> int:
    """Mixes integers such as (seed, purpose, epoch, layer) into one 64-bit key; their order matters.

    Args:
        parts: any number of integers in [-2⁶³, 2⁶⁴); a negative one counts as its two's complement.

    Returns:
        The key, in [0, 2⁶⁴).

    Raises:
        ValueError: if a part does not fit 64 bits.
    """
    key = mix_int(len(parts))
    for part in parts:
        if not -(2**63) <= part < 2**64:
            raise ValueError(f'a part of a stream key must fit 64 bits, got {part}')
        key = mix_int((key ^ (int(part) & MASK)) + GOLDEN)
    return key


def mix_int(value: int) -> int:
    """splitmix64's finaliser on a Python integer, a bijection of [0, 2⁶⁴)."""
    value &= MASK
    value = ((value ^ (value >> 30)) * MIX_1) & MASK
    value = ((value ^ (value >> 27)) * MIX_2) & MASK
    return value ^ (value >> 31)


def signed(value: int) -> int:
    """The int64 with the same 64 bits, the form in which torch takes a key."""
    value &= MASK
    return value - 2**64 if value >> 63 else value
