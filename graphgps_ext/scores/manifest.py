"""The manifest of a score store: what the scores belong to, where they come from, and their checksums."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, get_type_hints

from graphgps_ext.errors import DataError, MissingFileError
from graphgps_ext.files import write_bytes
from graphgps_ext.fingerprints import fingerprint
from graphgps_ext.provenance import versions
from graphgps_ext.scores.checksums import GRAPH_FILES, layer_file
from graphgps_ext.scores.files import AGAIN, open_file

FORMAT_VERSION = 2
MANIFEST = 'manifest.json'
_CHECK = 'check'  # the field that holds the checksum of the others
_LARGEST = 1 << 20  # bytes; a layer takes 60

# Which config key settles a field; a difference is reported with it.
KEYS = {
    'dataset': 'dataset.name',
    'num_nodes': 'dataset.name, dataset.path or prep.num_virt_node',
    'num_edges': 'prep.exp, prep.exp_deg, prep.add_self_loops or prep.num_virt_node',
    'num_layers': 'gt.layers, or spex.allow_fewer_layers to use the first of more, or spex.score_layers',
    'graph_fingerprint': 'dataset.name, dataset.path or prep.*',
    'features_fingerprint': 'dataset.path or dataset.dir',
    'labels_fingerprint': 'dataset.path or dataset.dir',
    'split_fingerprint': 'dataset.split_mode, dataset.split_seed or dataset.split_index',
    'split': 'dataset.split_mode, dataset.split_seed or dataset.split_index',
    'expander_algorithm': 'prep.exp_algorithm',
    'expander_degree': 'prep.exp_deg',
    'expander_seed': 'prep.exp_seed',
    'width': 'gt.dim_hidden',
    'seed': 'spex.estimator_seed',
}


@dataclass(frozen=True)
class Manifest:
    """What the scores belong to and where they come from.

    Args:
        dataset: name of the data set.
        num_nodes: rows of the attention graph, virtual nodes included.
        num_edges: E, edges of the attention graph.
        num_layers: L.
        graph_fingerprint: :func:`~graphgps_ext.scores.graph_fingerprint` of the attention graph.
        features_fingerprint: of the node features that the estimator was trained on.
        labels_fingerprint: of the labels that it was trained on.
        split_fingerprint: :func:`~graphgps_ext.scores.split_fingerprint` of the masks that it was trained on.
        split: the same in words, such as `random, seed 0`.
        estimator: hash of the estimator's config, the same for all seeds and splits.
        expander_algorithm: `permutation` or `hamiltonian`.
        expander_degree: r; 0 = no expander.
        expander_seed: seed of the expander's draw.
        width: hidden channels of the estimator.
        seed: run seed of the estimator.
        epoch: the chosen epoch.
        temperature: τ of that epoch, at which the scores were taken.
        metric: name of the validation metric.
        metric_value: its value at that epoch.
        checksums: of each array, by the name of its file; :func:`~graphgps_ext.scores.save` fills them in.
        versions: of Python, torch, torch_geometric and graphgps_ext.
        format_version: of this folder's format.
    """

    dataset: str
    num_nodes: int
    num_edges: int
    num_layers: int
    graph_fingerprint: str
    features_fingerprint: str
    labels_fingerprint: str
    split_fingerprint: str
    split: str
    estimator: str
    expander_algorithm: str
    expander_degree: int
    expander_seed: int
    width: int
    seed: int
    epoch: int
    temperature: float
    metric: str
    metric_value: float
    checksums: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=versions)
    format_version: int = FORMAT_VERSION

    @property
    def identity(self) -> str:
        """Fingerprint of all that draws depend on: the arrays, not how, when and how well they were made."""
        if not self.checksums:
            raise ValueError('scores have an identity once they are saved')
        return fingerprint(*(f'{name} {checksum}' for name, checksum in sorted(self.checksums.items())))


def missing(path: Path) -> MissingFileError:
    """What to raise where no scores are."""
    return MissingFileError(f'no attention scores in {path}: run stage 1 first (key spex.estimator)')


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` with a checksum of its own."""
    content = asdict(manifest)
    write_bytes(folder / MANIFEST, json.dumps({**content, _CHECK: _check(content)}, indent=2).encode())


def read_manifest(path: Path) -> Manifest:
    """The manifest of the scores in the folder `path`; the arrays are not looked at.

    Raises:
        FileNotFoundError: if there are no scores.
        ValueError: if the manifest is damaged or of another format.
    """
    file = path / MANIFEST
    try:
        with open_file(file) as stream:
            content = stream.read(_LARGEST + 1)
    except MissingFileError:
        raise missing(path) from None
    try:
        if len(content) > _LARGEST:
            raise ValueError(f'more than {_LARGEST:,} bytes')
        found = json.loads(
            content.decode('utf-8'), object_pairs_hook=_no_key_twice, parse_constant=_no_number
        )
        if not isinstance(found, dict):
            raise ValueError(f'no mapping but {shortened(found)}')
        version = found.get('format_version')
        if type(version) is int and version == FORMAT_VERSION:
            return _manifest(found)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{file} is damaged: {str(error)[:500]} ({AGAIN})') from None
    if type(version) is not int:
        raise DataError(f'{file} is damaged: format_version is {shortened(version)} ({AGAIN})')
    age = 'an older' if version < FORMAT_VERSION else 'a newer'
    raise DataError(
        f'{file} was written by {age} version of graphgps_ext, in format {shortened(version)}; '
        f'this one reads format {FORMAT_VERSION}: {AGAIN}'
    )


def refuse_differences(
    manifest: Manifest, wanted: Mapping[str, object], title: str, advice: str = ''
) -> None:
    """Name every field that is not as wanted, with the key that settles it.

    Raises:
        ValueError: if there is any.
    """
    unknown = wanted.keys() - {f.name for f in fields(Manifest)}
    if unknown:
        raise TypeError(f'a manifest has no {", ".join(sorted(unknown))}')
    differences = [
        f'\n  {name}: wanted {value}, got {getattr(manifest, name)} (key {KEYS.get(name, "spex.estimator")})'
        for name, value in wanted.items()
        if getattr(manifest, name) != value
    ]
    if differences:
        raise DataError(f'{title}:{"".join(differences)}' + (f'\n{advice}' if advice else ''))


def refuse_faults(manifest: Manifest) -> None:
    """Refuse values of wrong types, sizes that are none, and checksums of other files than the arrays.

    Raises:
        ValueError: that names all of them.
    """
    kinds = get_type_hints(Manifest)
    values = {f.name: getattr(manifest, f.name) for f in fields(Manifest)}
    faults = [
        f'{name} needs {_KINDS.get(kinds[name], "texts by name")}, got {shortened(value)}'
        for name, value in values.items()
        if not _is_a(value, kinds[name])
    ]
    faults += [
        f'{name} needs to be at least {least}, got {shortened(values[name])}'
        for name, least in (('num_nodes', 0), ('num_edges', 0), ('num_layers', 1))
        if _is_a(values[name], int) and values[name] < least
    ]
    if not faults and not _names_its_arrays(manifest):
        faults = [f'checksums needs those of the graph and of {manifest.num_layers} layers']
    if faults:
        raise ValueError('; '.join(faults))


_KINDS = {int: 'an integer of 64 bits', float: 'a finite number', str: 'a text'}


def _is_a(value: object, kind: object) -> bool:
    if kind is int:
        return type(value) is int and abs(value) < 1 << 63
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]
    if kind is str:
        return isinstance(value, str)
    return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())


def _names_its_arrays(manifest: Manifest) -> bool:
    if len(manifest.checksums) != len(GRAPH_FILES) + manifest.num_layers:  # a number of layers may be absurd
        return False
    return {*manifest.checksums} == {*GRAPH_FILES, *map(layer_file, range(manifest.num_layers))}


def _manifest(content: dict[str, Any]) -> Manifest:
    """What was read, or a ValueError."""
    names = {*(f.name for f in fields(Manifest)), _CHECK}
    if names != content.keys():
        raise ValueError(f'fields are missing or too many: {shortened(sorted(names ^ content.keys()))}')
    check = content.pop(_CHECK)
    if check != _check(content):
        raise ValueError('its checksum is another')
    manifest = Manifest(**content)
    refuse_faults(manifest)
    return manifest


def _check(content: Mapping[str, object]) -> str:
    return fingerprint(json.dumps(content, sort_keys=True))


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f'a field stands there twice, of {shortened([key for key, _ in pairs])}')
    return content


def _no_number(text: str) -> float:
    raise ValueError(f'{text} is no number')
