"""Configs: damaged text, and strange values of every key, in the file and on the command line."""

from __future__ import annotations

import re
from typing import Any

from numpy.random import Generator

from faults import damage
from faults.damage import SENTINEL, pick
from faults.fault import FRESH, REFUSED, UNDAMAGED, Fault, Faults
from faults.inputs import STAGES
from faults.world import Place
from graphgps_ext.config import KEYS

SCENES = ('nothing run', 'stage 1 done', 'both done')
# Keys of GraphGym that every run reads.
OF_GRAPHGYM = (
    'accelerator', 'devices', 'seed', 'num_threads', 'num_workers', 'metric_best', 'round', 'print', 'device',
    'run_multiple_splits', 'dataset.format', 'dataset.name', 'dataset.task', 'dataset.task_type',
    'dataset.split', 'dataset.split_mode', 'dataset.path', 'dataset.dir', 'dataset.node_encoder_name',
    'dataset.edge_encoder_name', 'dataset.transductive', 'train.batch_size', 'train.eval_period',
    'train.ckpt_period', 'train.sampler', 'val.sampler', 'train.enable_ckpt', 'train.auto_resume',
    'model.type', 'model.loss_fun', 'model.size_average', 'gnn.head', 'gnn.layers_pre_mp',
    'gnn.layers_post_mp', 'gnn.dim_inner', 'gnn.act', 'gnn.dropout', 'optim.optimizer', 'optim.base_lr',
    'optim.weight_decay', 'optim.scheduler', 'optim.max_epoch', 'optim.steps', 'optim.lr_decay',
    'optim.momentum', 'out_dir',
)  # fmt: skip
# Not tried: where results go is tried as `train.run_id`, and a run may be asked for any number of epochs.
NEVER = ('out_dir', 'optim.max_epoch')
VALUES = (
    '-1', '0', '1', '2', '3', '7', '0.5', '-0.5', '1.5', '1e-3', '1e30', '1e400', '1e-400', 'nan', 'inf',
    '-inf', '4294967296', '18446744073709551616', '1_0', '0x10', '007', 'True', 'False', 'None', '', ' ',
    'text', '~', '../../x', '/', 'x/y', 'é', '[]', '[1]', '[1,2]', '[0.5,0.25,0.25]', '[0.5,0.5,0.5]',
    '[-1,1,1]', "['a']", '[nan,0.5,0.5]', '{}', '{1: 2}', '()', '(1,)', '[1,2', '"0"', 'cuda:0', 'fp16',
    'b\'x\'', '1+1', f'__import__("os").system("touch {SENTINEL}")', '-', '--help', '@x', '!!python/none',
    '*', '%s', '1 2',
)  # fmt: skip


def _lay(place: Place, draw: Generator, stage: str) -> str:
    scene = pick(draw, SCENES if stage == 'estimator' else SCENES[1:])
    place.lay(scene)
    return scene


def strange_value(place: Place, draw: Generator) -> Fault:
    """A value of a key, on the command line."""
    return _values(place, draw, 1)


def strange_values(place: Place, draw: Generator) -> Fault:
    """Values of several keys."""
    return _values(place, draw, int(draw.integers(2, 5)))


def _values(place: Place, draw: Generator, count: int) -> Fault:
    stage = pick(draw, STAGES)
    scene = _lay(place, draw, stage)
    keys = [key for key in dict.fromkeys([*KEYS, *OF_GRAPHGYM]) if key not in NEVER]
    chosen = {pick(draw, keys): pick(draw, VALUES) for _ in range(count)}
    words = tuple(word for pair in chosen.items() for word in pair)
    names = (*chosen, *(key.rpartition('.')[2] for key in chosen))
    return Fault(f'{scene}: {stage} with {chosen}', (*names, 'override'), FRESH, (stage,), words)


def strange_words(place: Place, draw: Generator) -> Fault:
    """A command line that is none."""
    place.lay('nothing run')
    words = pick(
        draw,
        [
            ('seed',),
            ('seed', '1', '2'),
            ('sed', '1'),
            ('gt', '1'),
            ('gt.layers.x', '1'),
            ('', '1'),
            ('.', '1'),
            ('seed=1',),
            ('seed', '1', '--repeat', '2'),
            ('gt.Layers', '2'),
            ('share.dim_in', 'x'),
            ('dataset', '{}'),
        ],
    )
    named = [word for word in words if word] or ['key']
    return Fault(f'the words {words}', (*named, 'override', 'key'), REFUSED, ('estimator',), words)


# --- the file ---


def _file(place: Place, draw: Generator, expected: str = FRESH) -> tuple[str, str, Any]:
    stage = pick(draw, STAGES)
    scene = _lay(place, draw, stage)
    return scene, stage, place.folder / f'{stage}.yaml'


def _names(stage: str, *more: str) -> tuple[str, ...]:
    """Besides the file itself, any key: a line may have moved into another group."""
    keys = (key for key in (*KEYS, *OF_GRAPHGYM) if '.' in key or '_' in key)  # others are words like `print`
    return f'{stage}.yaml', 'seed', 'accelerator', 'devices', *more, *keys


# Without the line of its epochs a run has those of GraphGym's defaults: 200.
BOUND = ('optim.max_epoch', '3')


def text_of_the_file(place: Place, draw: Generator) -> Fault:
    scene, stage, path = _file(place, draw)
    told = damage.TEXT[pick(draw, damage.TEXT)](path, draw)
    return Fault(f'{scene}: {path.name} {told}', _names(stage), FRESH, (stage,), BOUND)


def bytes_of_the_file(place: Place, draw: Generator) -> Fault:
    scene, stage, path = _file(place, draw)
    told = damage.BYTES[pick(draw, damage.BYTES)](path, draw)
    return Fault(f'{scene}: {path.name} {told}', _names(stage), FRESH, (stage,), BOUND)


def no_file(place: Place, draw: Generator) -> Fault:
    scene, stage, path = _file(place, draw)
    told = damage.IN_PLACE[pick(draw, damage.IN_PLACE)](path, draw)
    return Fault(f'{scene}: {path.name} {told}', _names(stage), FRESH, (stage,))


def a_key_twice(place: Place, draw: Generator) -> Fault:
    """A key, or a whole group, stands twice: YAML would keep the last."""
    scene, stage, path = _file(place, draw)
    text = path.read_text()
    lines = text.splitlines()
    leaves = [i for i, line in enumerate(lines) if re.match(r'\s*[\w.]+: \S', line)]
    number = pick(draw, leaves)
    key, value = (part.strip() for part in lines[number].split(':', 1))
    way = pick(draw, ['the key', 'the same value', 'a group', 'quoted', 'merged'])
    if way in ('the key', 'quoted'):
        indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
        name = f'"{key}"' if way == 'quoted' else key
        lines.insert(number + 1, f'{indent}{name}: {pick(draw, ["1", "7", "text", value])}')
    elif way == 'the same value':
        lines.insert(number + 1, lines[number])
    elif way == 'a group':
        lines += ['gnn:', '  layers_post_mp: 1']
    else:
        lines += ['gt:', '  <<: {dim_hidden: 4}']
    path.write_text('\n'.join(lines) + '\n')
    return Fault(f'{scene}: {path.name} has {key} twice ({way})', _names(stage), REFUSED, (stage,))


YAML = (
    'accelerator: !!python/object/apply:os.system ["touch code-was-run"]',
    '!!python/object/new:os.system ["touch code-was-run"]: 1',
    'a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n'
    'c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n'
    'e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n'
    'g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nh: [*g, *g, *g, *g, *g, *g, *g, *g, *g]',
    'note: &note\n  again: *note',
    'note: ' + '[' * 5000 + ']' * 5000,
    'note: ' + '{a: ' * 5000 + '1' + '}' * 5000,
    'note: *unknown',
    '[1, 2]: 3',
    '? {a: 1}\n: 2',
    '1: 2',
    'null: 1',
    '2024-01-01: 1',
    'note: 2024-01-01',
    'seed: 1:30',
    'seed: 0o17',
    'seed: 0b11',
    'seed: 1_000',
    'seed: "1"',
    'seed: yes',
    'seed: .inf',
    'seed: ~',
    'seed:',
    'seed: !!str 1',
    'seed: !!binary aGVsbG8=',
    'round: 0x10',
    '--- \nseed: 1',
    '...\n--- {}',
    '%YAML 9.9\n---\nseed: 1',
    '\tseed: 1',
    'seed : 1',
    'seed:1',
    'gt.layers: 2',
    'gtt: {layers: 2}',
    'gt: 5',
    'optim: []',
    'print: "\\0"',
    'note: ' + 'x' * 100_000,
)


def strange_yaml(place: Place, draw: Generator) -> Fault:
    """YAML of all kinds at the end of the file."""
    scene, stage, path = _file(place, draw)
    added = pick(draw, YAML)
    path.write_text(f'{path.read_text()}{added}\n')
    names = _names(stage, *re.findall(r'\w+', added)[:2])
    return Fault(f'{scene}: {path.name} ends with {added[:60]!r}', names, FRESH, (stage,))


def same_meaning(place: Place, draw: Generator) -> Fault:
    """The same values written otherwise."""
    scene, stage, path = _file(place, draw)
    text = path.read_text()
    way = pick(draw, ['comments', 'empty group', 'flow', 'document marks', 'quoted keys', 'blank lines'])
    if way == 'comments':
        text = ''.join(f'{line}  # said\n' for line in text.splitlines())
    elif way == 'empty group':
        text += 'posenc_LapPE:\n'
    elif way == 'flow':
        text += 'bn: {eps: 1.0e-05}\n'
    elif way == 'document marks':
        text = f'---\n{text}...\n'
    elif way == 'quoted keys':
        text = re.sub(r'^( *)(\w+):', r'\1"\2":', text, flags=re.MULTILINE)
    else:
        text = text.replace('\n', '\n\n')
    path.write_text(text)
    return Fault(f'{scene}: {path.name} says the same otherwise ({way})', _names(stage), UNDAMAGED, (stage,))


FAULTS: Faults = {
    'strange value': strange_value,
    'strange values': strange_values,
    'strange words': strange_words,
    'text of the file': text_of_the_file,
    'bytes of the file': bytes_of_the_file,
    'no file': no_file,
    'a key twice': a_key_twice,
    'strange YAML': strange_yaml,
    'same meaning': same_meaning,
}
