"""Under which names a config file appears: its data set and its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ESTIMATOR = 'estimator'


@dataclass(frozen=True)
class Name:
    """A config in tables, figures and TensorBoard; also its folder, `<data set>/<model>`."""

    dataset: str
    model: str

    def __str__(self) -> str:
        return f'{self.dataset}/{self.model}'


def name_of(path: Path, dataset_name: str) -> Name:
    """The name of a file `configs/<Model>/<dataset>-<Model>.yaml`, and what comes nearest for any other.

    `actor-GCN.yaml` in any folder is model GCN on actor. The two stages stand in one folder, whose name is
    that of the model: `Spexphormer/actor-spexphormer.yaml` is Spexphormer, and
    `Spexphormer/actor-estimator.yaml` is Spexphormer-estimator.

    Args:
        path: the config file.
        dataset_name: `dataset.name` of the config, for files without a data set in their name.
    """
    dataset, dash, tail = path.stem.rpartition('-')
    folder = path.resolve().parent.name
    whole_tail = f'-{folder}'
    if path.stem.lower().endswith(whole_tail.lower()):  # a model's name may have dashes of its own
        return Name(path.stem[: -len(whole_tail)], folder)
    if not dash:
        return Name(dataset_name.lower(), path.stem)
    if tail == ESTIMATOR:
        return Name(dataset, f'{folder}-{ESTIMATOR}')
    if folder.lower().startswith(tail.lower()):  # SpexphormerPlus/actor-spexphormer.yaml
        return Name(dataset, folder)
    return Name(dataset, tail)


def name_of_result(config_name: str, dataset_name: str) -> Name:
    """The name of results that no benchmark made: `<out_dir>/<config name>/<run id>` of run/main.py.

    Args:
        config_name: name of the config file without its suffix.
        dataset_name: `dataset.name` of the config.
    """
    tail = config_name.rpartition('-')[2]
    folder = 'Spexphormer' if tail in (ESTIMATOR, 'spexphormer') else tail
    return name_of(Path(folder) / f'{config_name}.yaml', dataset_name)
