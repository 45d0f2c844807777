"""Damage to the folder of a run: what it has written, finished or killed."""

from __future__ import annotations

import os
from pathlib import Path

from numpy.random import Generator

from faults import damage
from faults.damage import pick
from faults.fault import Fault, Faults
from faults.inputs import STAGES
from faults.world import SCENES, Place, commands_of

CHECKED_ELSEWHERE = ('scores', 'ckpt')  # folders whose damage has modules of its own
SCENES_WITH_RUNS = ('stage 1 done', 'both done', 'stage 1 killed', 'stage 2 killed')


def files_of(run_dir: Path) -> list[Path]:
    """What a run has written, beside scores and checkpoints."""
    return sorted(
        path
        for path in run_dir.rglob('*')
        if path.is_file() and path.relative_to(run_dir).parts[0] not in CHECKED_ELSEWHERE
    )


def _lay(place: Place, draw: Generator) -> tuple[str, str]:
    """Lays a scene and chooses one of its runs."""
    scene = pick(draw, SCENES_WITH_RUNS)
    place.lay(scene)
    return scene, pick(draw, SCENES[scene])


def _commands(scene: str, config: str, draw: Generator) -> tuple[str, ...]:
    """Both stages, or the damaged one alone; the second only where the first is whole."""
    alone = (config,)
    if config == 'spexphormer' or SCENES[scene].get('estimator') == 'killed':
        return pick(draw, [STAGES, alone])
    return pick(draw, [STAGES, ('spexphormer',)])


def _names(path: Path, place: Place) -> tuple[str, ...]:
    return path.name, str(path.relative_to(place.folder))


def bytes_of_a_file(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, damage.BYTES)


def no_file(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, damage.IN_PLACE)


def text_of_a_file(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, damage.TEXT, text=True)


def _file_with(place: Place, draw: Generator, ways: dict[str, damage.Damage], *, text: bool = False) -> Fault:
    scene, config = _lay(place, draw)
    files = files_of(place.run_dir(config))
    path = pick(draw, [f for f in files if not (text and 'tfevents' in f.name)])
    told = ways[pick(draw, ways)](path, draw)
    commands = _commands(scene, config, draw)
    return Fault(f'{scene}: {path.relative_to(place.folder)} {told}', _names(path, place), commands=commands)


def json_of_a_file(place: Place, draw: Generator) -> Fault:
    scene, config = _lay(place, draw)
    files = [f for f in files_of(place.run_dir(config)) if f.suffix == '.json' and f.stat().st_size]
    path = pick(draw, files)
    told = damage.json_damage(path, draw)
    commands = _commands(scene, config, draw)
    return Fault(f'{scene}: {path.relative_to(place.folder)} {told}', _names(path, place), commands=commands)


def another_runs_file(place: Place, draw: Generator) -> Fault:
    scene, config = _lay(place, draw)
    state = SCENES[scene][config]
    origin = pick(draw, ['other seed', 'other data'])
    run_dir, strange = place.run_dir(config), place.strange(origin, config, state)
    shared = [f for f in files_of(run_dir) if (strange / f.relative_to(run_dir)).is_file()]
    path = pick(draw, shared)
    damage.replaced_by(path, strange / path.relative_to(run_dir))
    told = f'{scene}: {path.relative_to(place.folder)} is that of a run with {origin}'
    return Fault(told, _names(path, place), commands=_commands(scene, config, draw))


def another_runs_stats(place: Place, draw: Generator) -> Fault:
    """The records of all splits at once: they fit each other."""
    scene, config = _lay(place, draw)
    origin = pick(draw, ['other seed', 'other data'])
    run_dir, strange = place.run_dir(config), place.strange(origin, config, SCENES[scene][config])
    for split in ('train', 'val', 'test'):
        damage.replaced_by(run_dir / split, strange / split)
    told = f'{scene}: all stats.json of {config} are those of a run with {origin}'
    return Fault(told, ('stats.json', 'train', config), commands=_commands(scene, config, draw))


def another_runs_folder(place: Place, draw: Generator) -> Fault:
    """The whole folder of a run of the same config on other data, in the place of this one's."""
    scene, config = _lay(place, draw)
    damage.replaced_by(place.run_dir(config), place.strange('other data', config, SCENES[scene][config]))
    told = f'{scene}: the run of {config} is one on other data'
    return Fault(told, ('graph.npz', 'x', 'y', 'data', config), commands=_commands(scene, config, draw))


def a_stranger_among_the_runs(place: Place, draw: Generator) -> Fault:
    """A finished run of another config or other data beside this one: no mean may count it."""
    scene, config = _lay(place, draw)
    strange = place.strange(pick(draw, ['other data']), config)
    target = place.results / config / pick(draw, ['1', '7', 'old'])
    damage.replaced_by(target, strange)
    told = f'{scene}: beside the run of {config} lies one on other data, as {target.name}'
    return Fault(told, (target.name, 'graph.npz', 'data'), commands=_commands(scene, config, draw))


def a_damaged_neighbour(place: Place, draw: Generator) -> Fault:
    """A run beside this one whose summary is damaged, or one that has none."""
    scene, config = _lay(place, draw)
    target = place.results / config / '5'
    target.mkdir()
    content = pick(draw, ['', '{', '[]', '{"best_epoch": "x"}', 'null', None])
    if content is not None:
        (target / 'summary.json').write_text(content)
    told = f'{scene}: beside the run of {config} lies one whose summary holds {content!r}'
    return Fault(told, ('5', 'summary.json'), commands=_commands(scene, config, draw))


def missing_folder(place: Place, draw: Generator) -> Fault:
    scene, config = _lay(place, draw)
    folders = sorted(path for path in place.run_dir(config).iterdir() if path.is_dir())
    path = pick(draw, folders)
    damage.replaced_by(path, place.folder / 'graph.npz')
    gone = bool(draw.integers(2))
    if gone:
        path.unlink()
    told = f'{scene}: {path.relative_to(place.folder)} is {"missing" if gone else "a file"}'
    return Fault(
        told,
        (path.name, *(['best.ckpt'] if path.name == 'ckpt' else [])),
        commands=_commands(scene, config, draw),
    )


def run_folder_is_a_file(place: Place, draw: Generator) -> Fault:
    scene, config = _lay(place, draw)
    path = pick(draw, [place.run_dir(config), place.results / config])
    damage.replaced_by(path, place.folder / 'graph.npz')
    told = f'{scene}: {path.relative_to(place.folder)} is a file'
    named = (str(path.relative_to(place.folder)), f'results/{config}')
    return Fault(told, named, commands=_commands(scene, config, draw))


def strange_files(place: Place, draw: Generator) -> Fault:
    """Files of others and half-written ones of killed processes change nothing."""
    scene, config = _lay(place, draw)
    name = pick(
        draw,
        [
            'notes.txt',
            '.123.summary.json',
            'ckpt/.9.last.ckpt',
            '.DS_Store',
            '.scores.partial/layer_0.npy',
            'val/.7.stats.json',
        ],
    )
    path = place.run_dir(config) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"half": ')
    return Fault(
        f'{scene}: {config} has a file {name}', (path.name,), commands=_commands(scene, config, draw)
    )


def moved_results(place: Place, draw: Generator) -> Fault:
    """Results that were moved, or are reached by a link, are the same."""
    scene, _ = _lay(place, draw)
    (place.folder / 'kept').mkdir()
    place.results.rename(place.folder / 'kept' / 'moved')
    linked = bool(draw.integers(2))
    if linked:
        place.results.symlink_to('kept/moved')
    else:
        (place.folder / 'kept' / 'moved').rename(place.results)
        os.utime(place.results)
    told = f'{scene}: the results {"are reached by a link" if linked else "were moved there and back"}'
    return Fault(told, ('results',), commands=commands_of(scene))


FAULTS: Faults = {
    'bytes of a file': bytes_of_a_file,
    'no file': no_file,
    'text of a file': text_of_a_file,
    'JSON of a file': json_of_a_file,
    "another run's file": another_runs_file,
    "another run's stats": another_runs_stats,
    "another run's folder": another_runs_folder,
    'a stranger among the runs': a_stranger_among_the_runs,
    'a damaged neighbour': a_damaged_neighbour,
    'missing folder': missing_folder,
    'run folder is a file': run_folder_is_a_file,
    'strange files': strange_files,
    'moved results': moved_results,
}
