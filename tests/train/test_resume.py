"""A run that is killed, at any moment, ends as if it had not been."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import runs
import torch

from graphgps_ext.scores import store
from graphgps_ext.train import checkpoint, fit, report, stats

EPOCHS = 5
LONG = {'optim.max_epoch': EPOCHS}
MINI_BATCH = {'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor', 'train.batch_size': 50}
VARIANTS: dict[str, dict[str, Any]] = {
    'every epoch': {'train.ckpt_period': 1},
    'every third epoch': {'train.ckpt_period': 3},
    'mini-batches': {'train.ckpt_period': 3, **MINI_BATCH},
    'shared draws': {'train.ckpt_period': 3, 'spex.resample_every': 2, 'train.eval_period': 2},
}


# --- how a process dies: called in it, before main.py ---


def die(how: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), how)


def die_in_training_step(epoch: int, how: int = signal.SIGKILL) -> None:
    """Ends in the training step of an epoch, with the numbers of the epochs before it on the disk."""
    step = fit.train_step

    def train_step(training: Any, batch: Any, **kwargs: Any) -> None:
        step(training, batch, **kwargs)
        if training.epoch == epoch:
            die(how)

    fit.train_step = train_step


def die_between_records(epoch: int) -> None:
    """Ends when the record of the training nodes is written, and half of that of the validation nodes."""
    write = stats.Stats.write

    def write_half(self: stats.Stats) -> None:
        if self.lines['train'] > epoch:
            self._kept['val'] = [b'{"epoch": 3, "lo']
            write(self)
            die()
        write(self)

    stats.Stats.write = write_half  # type: ignore[method-assign]


def die_in_checkpoint(name: str, epoch: int) -> None:
    """Ends while a checkpoint is written."""
    save = torch.save

    def torch_save(content: dict[str, Any], file: BinaryIO) -> None:
        if file.name.endswith(name) and content['epoch'] >= epoch:
            file.write(b'half of a checkpoint')
            file.flush()
            die()
        save(content, file)

    checkpoint.torch.save = torch_save


def die_in_scores() -> None:
    """Ends after the first layer of the scores."""
    write = store.write_array

    def write_array(file: Path, array: Any) -> None:
        write(file, array)
        if file.name == 'layer_0.npy':
            die()

    store.write_array = write_array


def die_before_summary() -> None:
    """Ends when all is computed and the summary is about to be written."""
    report.write_json = lambda path, content: die()


# --- the tests ---


@pytest.fixture(scope='module')
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished stage 1 for the runs of stage 2; not to be changed."""
    return runs.run('estimator', tmp_path_factory.mktemp('estimator'))


@pytest.fixture(scope='module')
def uninterrupted(
    estimator: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """The result of a run that nobody has disturbed."""
    known: dict[str, dict[str, Any]] = {}

    def result_of(stage: str, changes: dict[str, Any]) -> dict[str, Any]:
        name = f'{stage} {changes}'
        if name not in known:
            folder = runs.run(stage, tmp_path_factory.mktemp('whole'), named(stage, estimator, changes))
            known[name] = runs.result(folder / '0')
        return known[name]

    return result_of


def named(stage: str, estimator: Path, changes: dict[str, Any]) -> dict[str, Any]:
    return {**LONG, **changes, **({'spex.estimator': estimator} if stage == 'spexphormer' else {})}


def variants_of(stage: str) -> list[tuple[str, str]]:
    only_stage_2 = ('mini-batches', 'shared draws')
    return [(stage, name) for name in VARIANTS if stage == 'spexphormer' or name not in only_stage_2]


def run_dir_of(out_dir: Path, stage: str) -> Path:
    return out_dir / runs.CONFIGS[stage].stem / '0'


@pytest.mark.parametrize(('stage', 'variant'), variants_of('estimator') + variants_of('spexphormer'))
def test_run_killed_in_every_epoch_ends_as_one_that_was_not(
    tmp_path: Path, estimator: Path, uninterrupted: Any, stage: str, variant: str
) -> None:
    changes = VARIANTS[variant]
    for epoch in range(EPOCHS):
        code, output = runs.run_elsewhere(
            stage,
            tmp_path,
            named(stage, estimator, changes),
            functools.partial(die_in_training_step, epoch),
        )
        assert code == -signal.SIGKILL, output
        assert not (run_dir_of(tmp_path, stage) / 'summary.json').exists()
    runs.run(stage, tmp_path, named(stage, estimator, changes))
    assert runs.result(run_dir_of(tmp_path, stage)) == uninterrupted(stage, changes)


MOMENTS: dict[str, Callable[[], None]] = {
    'between records': functools.partial(die_between_records, 3),
    'in the best checkpoint': functools.partial(die_in_checkpoint, 'best.ckpt', 1),
    'in the last checkpoint': functools.partial(die_in_checkpoint, 'last.ckpt', 2),
    'in the scores': die_in_scores,
    'before the summary': die_before_summary,
}


@pytest.mark.parametrize(
    ('stage', 'moment', 'variant'),
    [
        *[(stage, 'between records', 'every third epoch') for stage in ('estimator', 'spexphormer')],
        *[(stage, 'in the best checkpoint', 'every epoch') for stage in ('estimator', 'spexphormer')],
        *[(stage, 'in the last checkpoint', 'every epoch') for stage in ('estimator', 'spexphormer')],
        *[('estimator', 'in the scores', variant) for variant in ('every epoch', 'every third epoch')],
        ('estimator', 'before the summary', 'every epoch'),  # training is not to begin again
        ('spexphormer', 'before the summary', 'every third epoch'),
    ],
)
def test_run_killed_while_it_writes_ends_as_one_that_was_not(
    tmp_path: Path, estimator: Path, uninterrupted: Any, stage: str, moment: str, variant: str
) -> None:
    changes = VARIANTS[variant]
    code, output = runs.run_elsewhere(stage, tmp_path, named(stage, estimator, changes), MOMENTS[moment])
    assert code == -signal.SIGKILL, output
    run_dir = run_dir_of(tmp_path, stage)
    assert not (run_dir / 'summary.json').exists()
    assert moment == 'before the summary' or not (run_dir / 'scores').exists()
    runs.run(stage, tmp_path, named(stage, estimator, changes))
    assert runs.result(run_dir) == uninterrupted(stage, changes)
    assert not [name for name in runs.files_in(run_dir) if name.startswith('.') or '/.' in name]


@pytest.mark.parametrize('stage', ['estimator', 'spexphormer'])
def test_interrupted_run_exits_and_resumes(
    tmp_path: Path, estimator: Path, uninterrupted: Any, stage: str
) -> None:
    changes = VARIANTS['every epoch']
    interrupt = functools.partial(die_in_training_step, 3, signal.SIGINT)
    code, output = runs.run_elsewhere(stage, tmp_path, named(stage, estimator, changes), interrupt)
    assert code == 130 and 'Traceback' not in output
    run_dir = run_dir_of(tmp_path, stage)
    assert len(runs.stats(run_dir, 'train')) == 3
    assert not (run_dir / 'summary.json').exists() and not (run_dir / 'scores').exists()
    runs.run(stage, tmp_path, named(stage, estimator, changes))
    assert f'resuming from {run_dir / "ckpt" / "last.ckpt"}' in (run_dir / 'logging.log').read_text()
    assert runs.result(run_dir) == uninterrupted(stage, changes)


@pytest.mark.parametrize('stage', ['estimator', 'spexphormer'])
def test_interrupted_run_may_be_moved(
    tmp_path: Path, estimator: Path, uninterrupted: Any, stage: str
) -> None:
    changes = VARIANTS['every epoch']
    # The best epoch may be among those before the move: it has to be remembered.
    late = functools.partial(die_in_training_step, EPOCHS - 1)
    runs.run_elsewhere(stage, tmp_path / 'here', named(stage, estimator, changes), late)
    shutil.move(tmp_path / 'here', tmp_path / 'there')
    runs.run(stage, tmp_path / 'there', named(stage, estimator, changes))
    assert runs.result(run_dir_of(tmp_path / 'there', stage)) == uninterrupted(stage, changes)


def test_a_run_whose_best_checkpoint_was_deleted_says_so(tmp_path: Path) -> None:
    changes = VARIANTS['every epoch']
    runs.run('estimator', tmp_path, changes)
    run_dir = run_dir_of(tmp_path, 'estimator')
    for name in ('summary.json', 'ckpt/best.ckpt'):
        (run_dir / name).unlink()
    message = runs.refusal('estimator', tmp_path, changes)
    assert message.startswith(
        f'error: {run_dir / "ckpt" / "best.ckpt"}, the best epoch by validation, is gone'
    )
    assert message.endswith(f'train.overwrite True deletes {run_dir} and trains anew')
    shutil.rmtree(run_dir / 'ckpt')
    runs.run('estimator', tmp_path, changes)
    assert (run_dir / 'summary.json').is_file()


def test_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    changes = VARIANTS['every epoch']
    runs.run('estimator', tmp_path, changes)
    run_dir = run_dir_of(tmp_path, 'estimator')
    (run_dir / 'summary.json').unlink()
    for name in ('last.ckpt', 'best.ckpt'):
        torch.save({'epoch': 3, 'pytorch-lightning_version': '2.6.6'}, run_dir / 'ckpt' / name)
    message = runs.refusal('estimator', tmp_path, changes)
    assert message.startswith(
        f'error: {run_dir / "ckpt" / "last.ckpt"} was written by another version of graphgps_ext, which this '
        f'one cannot continue'
    )


def test_full_disk_while_scores_are_written(
    tmp_path: Path, uninterrupted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {**LONG, **VARIANTS['every epoch']}
    write = store.write_array

    def write_array(file: Path, array: Any) -> None:
        if file.name == 'layer_1.npy':
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, array)

    with monkeypatch.context() as patch:
        patch.setattr(store, 'write_array', write_array)
        message = runs.refusal('estimator', tmp_path, changes)
    run_dir = run_dir_of(tmp_path, 'estimator')
    assert 'attention scores were not written (the disk is full)' in message
    assert f'{run_dir / "scores"} needs ' in message and 'choose another out_dir' in message
    assert not [name for name in runs.files_in(run_dir) if 'scores' in name or name == 'summary.json']
    runs.run('estimator', tmp_path, changes)  # room was made
    assert runs.result(run_dir) == uninterrupted('estimator', VARIANTS['every epoch'])
