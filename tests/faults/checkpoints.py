"""Damage to the checkpoints of a killed run, and of a finished one that has to begin again from them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from faults import damage
from faults.damage import Malicious, pick
from faults.fault import Fault, Faults
from faults.world import SCENES, Place

KILLED = ('stage 1 killed', 'stage 2 killed', 'polynormer killed')
ALL = (*KILLED, 'both done')


def _lay(place: Place, draw: Generator, scenes: tuple[str, ...] = ALL) -> tuple[str, str, Path]:
    """Lays a scene; it, the config of its last run, and one of this run's checkpoints.

    A finished run has lost its summary, without which it takes its checkpoints up again.
    """
    scene = pick(draw, scenes)
    place.lay(scene)
    config = tuple(SCENES[scene])[-1]
    if scene == 'both done' and draw.integers(4):
        (place.run_dir(config) / 'summary.json').unlink()
    return scene, config, pick(draw, sorted((place.run_dir(config) / 'ckpt').glob('[!.]*.ckpt')))


def _fault(scene: str, config: str, path: Path, told: str) -> Fault:
    names = (path.name, 'ckpt', *(['summary.json'] if scene == 'both done' else []))
    return Fault(f'{scene}: {config}/0/ckpt/{path.name} {told}', names, commands=(config,))


def bytes_of_a_file(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw)
    return _fault(scene, config, path, damage.BYTES[pick(draw, damage.BYTES)](path, draw))


def bits_of_a_file(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw)
    return _fault(scene, config, path, damage.flipped_bit(path, draw))


def no_file(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw)
    return _fault(scene, config, path, damage.IN_PLACE[pick(draw, damage.IN_PLACE)](path, draw))


def code_in_a_file(place: Place, draw: Generator) -> Fault:
    """An object that runs code when it is unpickled, in several wrappings."""
    scene, config, path = _lay(place, draw, KILLED)
    content = torch.load(path, weights_only=False)
    way = pick(draw, ['in the dict', 'as the whole', 'a plain pickle', 'in the weights', 'old format', 'zip'])
    if way == 'in the dict':
        torch.save({**content, pick(draw, ['extra', *content]): Malicious()}, path)
    elif way == 'as the whole':
        torch.save(Malicious(), path)
    elif way == 'a plain pickle':
        path.write_bytes(pickle.dumps({**content, 'extra': Malicious()}, protocol=pick(draw, [0, 2, 4])))
    elif way == 'in the weights':
        content['state_dict'][pick(draw, content['state_dict'])] = Malicious()
        torch.save(content, path)
    elif way == 'old format':
        torch.save({**content, 'extra': Malicious()}, path, _use_new_zipfile_serialization=False)
    else:
        _with_member(path, 'data.pkl', pickle.dumps(Malicious(), protocol=2))
    return _fault(scene, config, path, f'holds an object that runs code, {way}')


def _with_member(path: Path, suffix: str, content: bytes) -> None:
    """Replaces a member of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        for name, old in members.items():
            archive.writestr(name, content if name.endswith(suffix) else old)


def another_runs_checkpoint(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw, ('stage 1 killed', 'stage 2 killed'))
    origin, state = pick(draw, ['other seed', 'other data']), pick(draw, ['killed', 'done'])
    damage.replaced_by(path, place.strange(origin, config, state) / 'ckpt' / path.name)
    return _fault(scene, config, path, f'is that of a {state} run with {origin}')


def another_runs_checkpoints(place: Place, draw: Generator) -> Fault:
    """The whole folder: its files fit each other."""
    scene, config, path = _lay(place, draw, ('stage 1 killed', 'stage 2 killed'))
    origin, state = pick(draw, ['other seed', 'other data']), pick(draw, ['killed', 'done'])
    damage.replaced_by(path.parent, place.strange(origin, config, state) / 'ckpt')
    return _fault(scene, config, path, f'and all others are those of a {state} run with {origin}')


def swapped_checkpoints(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw)
    best, last = path.with_name('best.ckpt'), path.with_name('last.ckpt')
    kept = best.read_bytes()
    best.write_bytes(last.read_bytes())
    last.write_bytes(kept)
    return _fault(scene, config, path, 'and others: best and last are swapped')


def best_is_last(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw)
    source, target = pick(draw, [('best', 'last'), ('last', 'best')])
    damage.replaced_by(path.with_name(f'{target}.ckpt'), path.with_name(f'{source}.ckpt'))
    return _fault(scene, config, path.with_name(f'{target}.ckpt'), f'is a copy of {source}.ckpt')


# --- content: the file is as torch writes it, and says something else ---


def changed_content(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw)
    content = torch.load(path, weights_only=False)
    told = CHANGES[pick(draw, CHANGES)](content, draw)
    torch.save(content, path)
    return _fault(scene, config, path, told)


def _floats(content: dict[str, Any]) -> list[str]:
    return [
        key for key, x in content['state_dict'].items() if isinstance(x, Tensor) and x.is_floating_point()
    ]


def _changed_weight(content: dict[str, Any], draw: Generator) -> str:
    key = pick(draw, _floats(content))
    content['state_dict'][key].view(-1)[0] += 1e-3
    return f'has a weight of {key} changed'


def _same_sum(content: dict[str, Any], draw: Generator) -> str:
    key = pick(draw, [key for key in _floats(content) if content['state_dict'][key].numel() > 1])
    flat = content['state_dict'][key].view(-1)
    flat.copy_(flat.roll(1))
    return f'has {key} rolled by one, with the same sum'


def _swapped_tensors(content: dict[str, Any], draw: Generator) -> str:
    state = content['state_dict']
    pairs = [
        (a, b)
        for a in _floats(content)
        for b in _floats(content)
        if a < b and state[a].shape == state[b].shape
    ]
    first, second = pick(draw, pairs)
    state[first], state[second] = state[second], state[first]
    return f'has {first} and {second} swapped'


def _strange_tensor(content: dict[str, Any], draw: Generator) -> str:
    key = pick(draw, _floats(content))
    old = content['state_dict'][key]
    new = pick(
        draw, [old * float('nan'), old.double(), old[..., :0], old[None], old.to_sparse(), None, [1.0]]
    )
    content['state_dict'][key] = new
    return f'has another kind of tensor as {key}'


def _missing_tensor(content: dict[str, Any], draw: Generator) -> str:
    key = pick(draw, content['state_dict'])
    del content['state_dict'][key]
    return f'has no {key}'


def _extra_tensor(content: dict[str, Any], draw: Generator) -> str:
    content['state_dict']['model.strange'] = torch.zeros(3)
    return 'has a tensor more'


def _moments(content: dict[str, Any], draw: Generator) -> str:
    state = content['optimizer']['state']
    if not state:
        return _changed_weight(content, draw)
    number = pick(draw, state)
    way = pick(draw, ['changed', 'missing', 'step'])
    if way == 'missing':
        del state[number]
    elif way == 'step':
        state[number]['step'] += 7
    else:
        state[number]['exp_avg'] += 0.01
    return f'has moments {way}'


def _field(content: dict[str, Any], draw: Generator) -> str:
    key = pick(draw, ['epoch', 'global_step', 'best', 'best_epoch', 'format'])
    old = content.get(key)
    new = pick(draw, [0, -1, 1, 2, 10**6, None, 'text', float('nan'), 0.999, True])
    content[key] = new
    return f'has {new!r} in place of {old!r} as {key}'


def _missing_field(content: dict[str, Any], draw: Generator) -> str:
    key = pick(draw, content)
    del content[key]
    return f'has no {key}'


def _scheduler(content: dict[str, Any], draw: Generator) -> str:
    content['scheduler'] = pick(draw, [{}, {**content['scheduler'], 'last_epoch': 0}, None])
    return 'has another state of the scheduler'


def _rate(content: dict[str, Any], draw: Generator) -> str:
    content['optimizer']['param_groups'][0][pick(draw, ['lr', 'weight_decay'])] *= 3
    return 'has another learning rate or weight decay'


def _array(content: dict[str, Any], draw: Generator) -> str:
    content['extra'] = pick(draw, [np.arange(3), Path('x'), {1, 2}, lambda_like])
    return 'holds an object of another library'


def lambda_like() -> None:
    """A function by its name, which a checkpoint has no need of."""


CHANGES: dict[str, Callable[[dict[str, Any], Generator], str]] = {
    'changed weight': _changed_weight,
    'same sum': _same_sum,
    'swapped tensors': _swapped_tensors,
    'strange tensor': _strange_tensor,
    'missing tensor': _missing_tensor,
    'extra tensor': _extra_tensor,
    'moments': _moments,
    'field': _field,
    'missing field': _missing_field,
    'scheduler': _scheduler,
    'rate': _rate,
    'object': _array,
}


def not_a_dict(place: Place, draw: Generator) -> Fault:
    scene, config, path = _lay(place, draw)
    content = pick(draw, [[1, 2], torch.zeros(3), None, 7, {}, {'state_dict': {}}, 'text'])
    torch.save(content, path)
    return _fault(scene, config, path, f'holds {type(content).__name__} alone')


def a_weights_file(place: Place, draw: Generator) -> Fault:
    """Weights alone, as other programs save them."""
    scene, config, path = _lay(place, draw)
    torch.save(torch.load(path, weights_only=False)['state_dict'], path)
    return _fault(scene, config, path, 'holds the weights alone')


FAULTS: Faults = {
    'bytes of a file': bytes_of_a_file,
    'bits of a file': bits_of_a_file,
    'no file': no_file,
    'code in a file': code_in_a_file,
    "another run's checkpoint": another_runs_checkpoint,
    "another run's checkpoints": another_runs_checkpoints,
    'swapped checkpoints': swapped_checkpoints,
    'best is last': best_is_last,
    'changed content': changed_content,
    'not a dict': not_a_dict,
    'a weights file': a_weights_file,
}
