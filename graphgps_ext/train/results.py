"""Result folders: what a run writes, what its results belong to, and when it counts as finished.

    <out_dir>/<config name>/<run id>/   config.yaml, inputs.json, {train,val,test}/stats.json, checkpoints,
                                        TensorBoard events, for stage 1 scores/, and at the end summary.json
                                        and checksums.json
    <out_dir>/<config name>/agg/        see :mod:`graphgps_ext.train.aggregate`

`stats.json` and `best.json` keep GraphGym's schema (JSON lines; `_std` beside each mean).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_geometric.graphgym.config import set_cfg
from yacs.config import CfgNode

from graphgps_ext import scores
from graphgps_ext.config.tree import flatten, read_yaml
from graphgps_ext.errors import ConfigError, DataError, MissingFileError, OtherResultsError
from graphgps_ext.files import delete, written
from graphgps_ext.fingerprints import fingerprint
from graphgps_ext.train.lock import LOCK
from graphgps_ext.train.stats import SPLITS

CONFIG, INPUTS, SUMMARY, CHECKSUMS = 'config.yaml', 'inputs.json', 'summary.json', 'checksums.json'
MANIFEST = f'scores/{scores.MANIFEST}'

# Keys that may differ between a run and its continuation: where it runs and where its data lie, or what the
# data say. What the data and the attention scores are is told by their fingerprints.
PLACE_KEYS = (
    'accelerator', 'devices', 'num_threads', 'num_workers', 'print', 'out_dir', 'run_dir', 'cfg_dest',
    'dataset.dir', 'dataset.path', 'dataset.hash_again', 'dataset.edge_dim', 'spex.estimator',
    'train.overwrite', 'train.run_id', 'train.auto_resume', 'tensorboard_each_run', 'tensorboard_agg',
    'gpu_mem', 'params', 'share', 'run_multiple_splits', 'gt.attention_impl', 'train.cuda_graphs', 'view_emb',
    'benchmark', 'prep.cache_dir', 'prep.cache_gb',
)  # fmt: skip
# Which key points to what a fingerprint is of.
_KEYS_OF_INPUTS = {
    'split': 'dataset.split_mode',
    'scores': 'spex.estimator',
    'estimator': 'spex.estimator',
}
_ANEW = 'train.overwrite True deletes it and trains anew'


def write_json(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all, and not if it stands there already: the place may be read-only."""
    text = json.dumps(content, indent=2) + '\n'
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with written(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        MissingFileError: if there is no such file.
        DataError: if it holds something else.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is damaged ({type(error).__name__}: {error})') from None
    if not isinstance(content, dict):
        raise DataError(f'{path} is damaged: it holds no JSON object')
    return content


def flat_config(cfg: CfgNode) -> dict[str, Any]:
    """The config as one level of dotted keys."""
    return {key: list(x) if isinstance(x, tuple) else x for key, x in flatten(cfg)}


def what_it_computes(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Of the keys of :func:`flat_config`, those on which the numbers of a run depend."""
    return {k: v for k, v in flat.items() if k not in PLACE_KEYS and k.split('.')[0] not in PLACE_KEYS}


def shared_settings(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The keys in which runs agree that differ only in seed, split and place.

    Args:
        flat: of :func:`flat_config`.
    """
    varied = ('seed', 'dataset.split_index', 'dataset.split_seed')
    return {key: value for key, value in what_it_computes(flat).items() if key not in varied}


def config_hash(flat: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of the :func:`shared_settings`."""
    return short_hash(shared_settings(flat))


def short_hash(content: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of keys and values, in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def hyper_parameters(cfg: CfgNode) -> dict[str, Any]:
    """What runs are compared by, and of the other keys those that differ from the defaults."""
    defaults = CfgNode()
    set_cfg(defaults)
    default = flat_config(defaults)
    chosen = what_it_computes(flat_config(cfg))
    always = ('model.type', 'dataset.name', 'dataset.split_', 'seed', 'gt.', 'prep.', 'spex.', 'optim.')
    return {k: v for k, v in chosen.items() if k.startswith(always) or v != default.get(k)}


def identity(cfg: CfgNode, inputs: Mapping[str, str]) -> str:
    """What tells a run from others: a hash of its config and of what it is computed from."""
    return fingerprint(
        json.dumps(what_it_computes(flat_config(cfg)), sort_keys=True), json.dumps(inputs, sort_keys=True)
    )


def read_inputs(run_dir: Path) -> dict[str, str]:
    """The fingerprints of what the results in a folder were computed from."""
    return read_json(run_dir / INPUTS)


def differences(cfg: CfgNode, inputs: Mapping[str, str] | None) -> list[str]:
    """Lines that say how the results in `cfg.run_dir` differ from those asked for; none if there are none.

    Args:
        cfg: the config.
        inputs: fingerprints of what it would be computed from; None: not looked at.

    Raises:
        DataError: if it cannot be told what the results there belong to.
    """
    run_dir = Path(cfg.run_dir)
    if not holds_results(run_dir):
        return []
    try:
        if not (run_dir / CONFIG).is_file():
            raise MissingFileError(f'{run_dir / CONFIG} is missing')
        old = what_it_computes(dict(flatten(read_yaml(run_dir / CONFIG))))
        if not old:
            raise DataError(f'{run_dir / CONFIG} is empty')
        old_inputs = read_inputs(run_dir)
        for name in (CONFIG, INPUTS):
            _verify(run_dir, name)
    except (ConfigError, DataError, MissingFileError) as error:
        raise DataError(
            f'{error}: it cannot be told what the results in {run_dir} belong to; {_ANEW}'
        ) from None
    new = what_it_computes(flat_config(cfg))
    changed = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    lines = [f'  {k}: {old.get(k)!r} there, {new.get(k)!r} now' for k in changed]
    now = old_inputs if inputs is None else inputs
    others = sorted(k for k in {*old_inputs, *now} if old_inputs.get(k) != now.get(k))
    lines += [
        f'  {k} have changed: fingerprint {old_inputs.get(k)} there, {now.get(k)} now '
        f'(key {_KEYS_OF_INPUTS.get(k, "dataset.path or dataset.dir")})'
        for k in others
    ]
    return lines


def holds_results(run_dir: Path) -> bool:
    """Whether anything of a run lies in a folder."""
    parts = (CONFIG, SUMMARY, CHECKSUMS, 'ckpt', *SPLITS)
    return any((run_dir / part).exists() for part in parts)


def refuse_others(cfg: CfgNode, inputs: Mapping[str, str] | None = None) -> None:
    """Refuses to go on where results of something else lie (see :func:`differences`).

    Raises:
        OtherResultsError: if they do; each difference is named.
        DataError: if what lies there is damaged.
    """
    if lines := differences(cfg, inputs):
        listed = '\n'.join(lines)
        raise OtherResultsError(
            f'{cfg.run_dir} holds results of another config or of other data, '
            f'by its {CONFIG} and {INPUTS}:\n{listed}\n'
            f'Set out_dir to another folder, or train.overwrite True to delete them.'
        )


def finish(run_dir: Path) -> None:
    """Marks a run as finished: writes the checksums of all that it promised."""
    names = [CONFIG, INPUTS, SUMMARY, *(f'{split}/stats.json' for split in SPLITS)]
    names += [MANIFEST] if (run_dir / MANIFEST).is_file() else []
    present = [name for name in names if (run_dir / name).is_file()]  # without an evaluation there is no val/
    write_json(run_dir / CHECKSUMS, {name: _checksum(run_dir / name) for name in present})


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def has_ended(run_dir: Path) -> bool:
    """Whether a run has come to its end there; its files may have been damaged since."""
    return (run_dir / CHECKSUMS).is_file()


def check_finished(run_dir: Path, *, hash_again: bool = False) -> None:
    """Looks whether everything that a finished run promised is there and whole.

    Args:
        run_dir: its folder.
        hash_again: hash attention scores, whatever is remembered of them; the other files always are.

    Raises:
        MissingFileError: if a file is not there.
        DataError: if one is damaged.
    """
    recorded = read_json(run_dir / CHECKSUMS)
    if SUMMARY not in recorded:
        raise DataError(f'{run_dir / CHECKSUMS} is damaged: it does not list {SUMMARY}')
    for name in recorded:
        _verify(run_dir, name)
    if MANIFEST in recorded:
        scores.verify(run_dir / 'scores', hash_again=hash_again)


def _verify(run_dir: Path, name: str) -> None:
    """Compares a file of a finished run with its checksum; those of other runs have none."""
    path = run_dir / name
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    if has_ended(run_dir) and _checksum(path) != read_json(run_dir / CHECKSUMS).get(name):
        raise DataError(f'{path} is damaged: it does not have its checksum in {run_dir / CHECKSUMS}')


def read_summary(run_dir: Path) -> dict[str, Any]:
    """`summary.json` of a finished run.

    Raises:
        MissingFileError: if the run is not finished.
        DataError: if the file is damaged.
    """
    if not has_ended(run_dir):
        raise MissingFileError(f'{run_dir} holds no finished run: {CHECKSUMS} is missing')
    _verify(run_dir, SUMMARY)
    return read_json(run_dir / SUMMARY)


def clear(run_dir: Path) -> None:
    """Deletes everything in a run folder but its lock."""
    for path in run_dir.iterdir():
        if path.name != LOCK:
            delete(path)
