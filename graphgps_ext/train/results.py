"""Result folders: what a run writes, and when it counts as finished.

    <out_dir>/<config name>/<run id>/   config.yaml, {train,val,test}/stats.json, summary.json, checkpoints,
                                        TensorBoard events, and for stage 1 scores/
    <out_dir>/<config name>/agg/        see :mod:`graphgps_ext.train.aggregate`

`stats.json` and `best.json` keep GraphGym's schema (JSON lines; `_std` beside each mean).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from torch_geometric.graphgym.config import set_cfg
from yacs.config import CfgNode

from graphgps_ext.config.tree import flatten, read_yaml
from graphgps_ext.errors import DataError, MissingFileError, OtherResultsError, UserError
from graphgps_ext.files import written

SPLITS = ('train', 'val', 'test')

# Keys that may differ between a run and its continuation: where it runs, or what the data say, not what it
# computes.
PLACE_KEYS = (
    'accelerator', 'devices', 'num_threads', 'num_workers', 'print', 'out_dir', 'run_dir', 'cfg_dest',
    'dataset.dir', 'train.overwrite', 'train.run_id', 'train.auto_resume', 'tensorboard_each_run',
    'tensorboard_agg', 'gpu_mem', 'params', 'share', 'dataset.edge_dim', 'run_multiple_splits',
    'gt.attention_impl', 'view_emb', 'benchmark',
)  # fmt: skip


def write_json(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        MissingFileError: if there is none.
        DataError: if it is no file, or holds something else.
    """
    try:
        if not path.exists():
            raise MissingFileError(f'{path} is missing')
        if not path.is_file():  # a pipe would be waited for
            raise DataError(f'{path} is damaged: a file is needed')
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise DataError(f'{path} is damaged: {error or type(error).__name__}') from None
    if not isinstance(content, dict):
        raise DataError(f'{path} is damaged: an object is needed, got {type(content).__name__}')
    return content


def check_finished(run_dir: Path) -> None:
    """Raises DataError or MissingFileError if something that a finished run promises is not whole."""
    read_summary(run_dir)


def read_summary(run_dir: Path) -> dict[str, Any]:
    """The content of `summary.json`.

    Raises:
        MissingFileError: if there is none.
        DataError: if it is damaged.
    """
    return read_object(run_dir / 'summary.json')


def scores_identity(run_dir: Path) -> dict[str, str]:
    """What stage 2 records in its `inputs.json` of a finished run of stage 1: `scores` and `estimator`."""
    manifest = run_dir / 'scores' / 'manifest.json'
    if not manifest.is_file():
        raise MissingFileError(f'{manifest} is missing')
    return {
        'scores': hashlib.sha256(manifest.read_bytes()).hexdigest()[:32],
        'estimator': config_hash(dict(flatten(read_yaml(run_dir / 'config.yaml')))),
    }


def append_stats(run_dir: Path, split: str, record: dict[str, Any]) -> None:
    """Adds one epoch to `<run_dir>/<split>/stats.json`."""
    path = run_dir / split / 'stats.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a', encoding='utf-8') as file:
        file.write(json.dumps(record) + '\n')


def read_stats(run_dir: Path, split: str) -> list[dict[str, Any]]:
    """The epochs of `<run_dir>/<split>/stats.json`; a last line cut short by a kill is dropped."""
    path = run_dir / split / 'stats.json'
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def drop_stats_from(run_dir: Path, epoch: int) -> None:
    """Forgets the epochs from `epoch` on, which a resumed run will write again."""
    for split in SPLITS:
        records = [r for r in read_stats(run_dir, split) if r['epoch'] < epoch]
        path = run_dir / split / 'stats.json'
        if path.is_file():
            with written(path) as temporary:
                temporary.write_text(''.join(json.dumps(r) + '\n' for r in records), encoding='utf-8')


def flat_config(cfg: CfgNode) -> dict[str, Any]:
    """The config as one level of dotted keys."""
    return {key: list(x) if isinstance(x, tuple) else x for key, x in flatten(cfg)}


def _what_it_computes(flat: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in flat.items() if k not in PLACE_KEYS and k.split('.')[0] not in PLACE_KEYS}


def shared_settings(flat: dict[str, Any]) -> dict[str, Any]:
    """The keys in which runs agree that differ only in seed, split and place.

    Args:
        flat: of :func:`flat_config`.
    """
    varied = ('seed', 'dataset.split_index', 'dataset.split_seed')
    return {key: value for key, value in _what_it_computes(flat).items() if key not in varied}


def config_hash(flat: dict[str, Any]) -> str:
    """Twelve hexadecimal digits of the :func:`shared_settings`."""
    return short_hash(shared_settings(flat))


def short_hash(content: dict[str, Any]) -> str:
    """Twelve hexadecimal digits of keys and values, in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def hyper_parameters(cfg: CfgNode) -> dict[str, Any]:
    """What runs are compared by, and of the other keys those that differ from the defaults."""
    defaults = CfgNode()
    set_cfg(defaults)
    default = flat_config(defaults)
    chosen = _what_it_computes(flat_config(cfg))
    always = ('model.type', 'dataset.name', 'dataset.split_', 'seed', 'gt.', 'prep.', 'spex.', 'optim.')
    return {k: v for k, v in chosen.items() if k.startswith(always) or v != default.get(k)}


def _changed_keys(cfg: CfgNode) -> list[str]:
    """Lines that say how the config of the results in `cfg.run_dir` differs; none if nothing is there."""
    stored = Path(cfg.run_dir) / 'config.yaml'
    if not stored.is_file():
        return []
    old = _what_it_computes(dict(flatten(read_yaml(stored))))
    new = _what_it_computes(flat_config(cfg))
    changed = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    return [f'  {k}: {old.get(k)!r} there, {new.get(k)!r} now' for k in changed]


def is_finished(cfg: CfgNode) -> bool:
    """Whether the run of `cfg.run_dir` has ended. Changes nothing.

    Raises:
        FileExistsError: if results of another config lie there and `train.overwrite` is False.
    """
    changed = _changed_keys(cfg)
    if changed and not cfg.train.overwrite:
        listed = '\n'.join(changed)
        raise OtherResultsError(
            f'{cfg.run_dir} holds results of another config:\n{listed}\n'
            f'Set out_dir to another folder, or train.overwrite True to delete them.'
        )
    return not changed and (Path(cfg.run_dir) / 'summary.json').is_file()


def start_run_dir(cfg: CfgNode) -> None:
    """Makes `cfg.run_dir`, with the config in it; results of another config are deleted.

    So are half-written files that a killed process left (see :func:`graphgps_ext.files.written`).
    """
    run_dir = Path(cfg.run_dir)
    if _changed_keys(cfg):
        shutil.rmtree(run_dir)
    for left in run_dir.rglob('.[0-9]*.*'):
        left.unlink()
    with written(run_dir / 'config.yaml') as temporary:
        temporary.write_text(cfg.dump(), encoding='utf-8')
