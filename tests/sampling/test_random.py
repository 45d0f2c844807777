import math

import numpy as np
import pytest
import torch
from numba import njit
from sampling_oracles import row_key, uniform

from graphgps_ext.sampling import kernels, signed, stream_key
from graphgps_ext.sampling.random import mix_int


@njit
def _numba_uniforms(mixed_key, nodes, slots, out):
    for i in range(out.size):
        out[i] = kernels.uniform(kernels.row_key(mixed_key, nodes[i]), slots[i])


def test_stream_key_depends_on_order_number_and_each_part():
    parts = [(), (0,), (0, 0), (1, 2), (2, 1), (1, 2, 0), (0, 1, 2), (-1,), (1,), (2**63,)]
    keys = [stream_key(*each) for each in parts]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**64 for key in keys)
    assert stream_key(1, 2) == stream_key(1, 2)


def test_stream_key_never_changes_between_versions():
    """A resumed run repeats its draws only as long as these numbers stay."""
    assert stream_key(1, 2, 3) == 0xCBB1131747F6AF93


def test_stream_keys_of_neighboring_parts_differ_in_about_half_of_their_bits():
    flips = [(stream_key(7, n) ^ stream_key(7, n + 1)).bit_count() for n in range(400)]
    assert abs(sum(flips) / len(flips) - 32) < 1
    assert min(flips) > 12


def test_stream_key_refuses_a_part_of_more_than_64_bits():
    with pytest.raises(ValueError, match=r'must fit 64 bits, got 18446744073709551616'):
        stream_key(1, 2**64)


@pytest.mark.parametrize('key', [0, 1, 2**63, stream_key(5)])
def test_numba_and_torch_give_equal_numbers(key: int):
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randint(0, 2**31 + 5, (1000,), generator=generator)
    slots = torch.randint(0, 2**33, (1000,), generator=generator)
    out = np.empty(1000)
    _numba_uniforms(np.uint64(mix_int(key)), nodes.numpy(), slots.numpy(), out)
    assert torch.equal(uniform(row_key(key, nodes), slots), torch.from_numpy(out))


def test_torch_mixes_like_python():
    node, key = 12345, stream_key(9)
    stream = mix_int((node * 0xD1342543DE82EF95) ^ mix_int(key))
    assert row_key(key, torch.tensor([node])).item() == signed(stream)


@pytest.mark.parametrize('along', ['slots', 'nodes', 'keys'])
def test_numbers_are_uniform_and_uncorrelated(along: str):
    count = 200_000
    index = torch.arange(count)
    if along == 'slots':
        u = uniform(row_key(stream_key(1), torch.tensor(3)), index)
    elif along == 'nodes':
        u = uniform(row_key(stream_key(1), index), torch.tensor(0))
    else:
        u = torch.stack([uniform(row_key(key, torch.arange(100)), torch.tensor(0)) for key in range(2000)])
        u = u.T.reshape(-1)  # neighbouring keys side by side
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / math.sqrt(12 * count)
    bins = torch.bincount((u * 256).long(), minlength=256).double()
    chi_square = ((bins - count / 256) ** 2 / (count / 256)).sum()
    assert abs(chi_square - 255) < 4 * math.sqrt(2 * 255)
    for lag in (1, 2, 7):
        correlation = ((u[lag:] - 0.5) * (u[:-lag] - 0.5)).mean() * 12
        assert abs(correlation) < 4 / math.sqrt(count)
    pairs = torch.bincount((u[::2] * 16).long() * 16 + (u[1::2] * 16).long(), minlength=256).double()
    chi_square = ((pairs - count / 512) ** 2 / (count / 512)).sum()
    assert abs(chi_square - 255) < 4 * math.sqrt(2 * 255)


@njit(error_model='numpy')
def _numba_minus_logs(u, out):
    for i in range(out.size):
        out[i] = kernels._minus_log(u[i])


def test_the_logarithm_of_the_kernels_is_exact_to_the_last_bits():
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(100_000, generator=generator, dtype=torch.float64).clamp(min=2.0**-53)
    edges = 2.0 ** -torch.arange(1, 54, dtype=torch.float64)
    root = torch.tensor(0.5**0.5, dtype=torch.float64)
    u = torch.cat([u, edges, 1 - edges, root * (1 + torch.arange(-4, 5) * 2.0**-53), root * edges])
    out = np.empty(u.numel())
    _numba_minus_logs(u.numpy(), out)
    torch.testing.assert_close(torch.from_numpy(out), -u.log(), rtol=5e-16, atol=0)
