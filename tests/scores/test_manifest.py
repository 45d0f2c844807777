"""What a manifest may hold, and what is made of one that holds something else."""

from dataclasses import replace

import pytest
from toy_store import rewrite

from graphgps_ext import scores
from graphgps_ext.errors import DataError

HUGE = 10**30

CONTENTS = {
    'cut': (b'{"format_version": 2', r'Expecting'),
    'a list': (b'[1, 2]', r'no mapping but \[1, 2\]'),
    'a number': (b'3', 'no mapping but 3'),
    'empty': (b'', 'Expecting value'),
    'fields missing': (b'{"format_version": 2}', r"fields are missing or too many: \['check', 'checksums'"),
    'no version': (b'{}', 'format_version is None'),
    'a text for the version': (b'{"format_version": "2"}', "format_version is '2'"),
    'truth for the version': (b'{"format_version": true}', 'format_version is True'),
    'depth': (b'[' * 100_000, 'recursion'),
    'depth of mappings': (b'{"a":' * 100_000, 'recursion'),
    'UTF-16': ('{"format_version": 2}'.encode('utf-16'), "'utf-8' codec can't decode"),
    'latin-1': ('{"format_version": "ü"}'.encode('latin-1'), "'utf-8' codec can't decode"),
    'a byte order mark': ('\ufeff{}'.encode(), 'BOM'),
    'NUL': (b'{"format_version": 2\0}', 'Expecting'),
    'no number': (b'{"format_version": 2, "temperature": NaN}', 'NaN is no number'),
    'digits': (b'{"format_version": ' + b'9' * 5000 + b'}', 'integer string'),
    'a key twice': (b'{"format_version": 2, "format_version": 2}', 'stands there twice'),
    'size': (b' ' * ((1 << 20) + 1), r'more than 1,048,576 bytes'),
}


@pytest.mark.parametrize('content, message', CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_manifest_is_refused(saved, content, message):
    (saved / 'manifest.json').write_bytes(content)
    for read in (scores.load, scores.verify, scores.read_manifest):
        with pytest.raises(DataError, match=rf'manifest\.json is damaged: .*{message}.*run stage 1') as error:
            read(saved)
        assert len(str(error.value)) < len(str(saved)) + 700


def test_a_huge_manifest_is_not_read_whole(saved):
    with (saved / 'manifest.json').open('wb') as file:
        file.truncate(1 << 40)  # a hole, of no size on the disk
    with pytest.raises(DataError, match='more than 1,048,576 bytes'):
        scores.load(saved)


@pytest.mark.parametrize(
    'version, age', [(1, 'an older'), (-1, 'an older'), (3, 'a newer'), (HUGE, 'a newer')], ids=str
)
def test_another_format_is_refused(saved, version, age):
    rewrite(saved, format_version=version)
    message = rf'was written by {age} version of graphgps_ext, in format {version}; .* format 2: run stage 1'
    with pytest.raises(DataError, match=message):
        scores.load(saved)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(num_nodes='4'), "num_nodes needs an integer of 64 bits, got '4'"),
        (dict(num_edges=6.0), r'num_edges needs an integer of 64 bits, got 6\.0'),
        (dict(seed=True), 'seed needs an integer of 64 bits, got True'),
        (dict(epoch=None), 'fields are missing'),
        (dict(epoch=[]), r'epoch needs an integer of 64 bits, got \[\]'),
        (dict(num_nodes=HUGE), r'num_nodes needs an integer of 64 bits, got 10{30} '),
        (dict(num_nodes=-1), 'num_nodes needs to be at least 0, got -1'),
        (dict(num_edges=-6), 'num_edges needs to be at least 0, got -6'),
        (dict(num_layers=0), 'num_layers needs to be at least 1, got 0'),
        (dict(num_layers=10**9), 'checksums needs those of the graph and of 1000000000 layers'),
        (dict(num_layers=2), 'checksums needs those of the graph and of 2 layers'),
        (dict(temperature='0.5'), "temperature needs a finite number, got '0.5'"),
        (dict(metric_value=10**400), 'metric_value needs a finite number, got 1000'),
        (dict(dataset=3), 'dataset needs a text, got 3'),
        (dict(split={'a': {}}), r"split needs a text, got \{'a': \{\}\}"),
        (dict(versions='2'), "versions needs texts by name, got '2'"),
        (dict(versions={'torch': 2}), r"versions needs texts by name, got \{'torch': 2\}"),
        (dict(colour='red'), r"fields are missing or too many: \['colour'\]"),
        (dict(width='4', seed='0'), "width needs an integer of 64 bits, got '4'; seed needs"),
    ],
)
def test_values_of_a_wrong_kind_are_named(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(DataError, match=rf'manifest\.json is damaged: .*{message}.*run stage 1 again'):
        scores.load(saved)


@pytest.mark.parametrize('changes', [dict(num_nodes=(1 << 62)), dict(num_edges=(1 << 62)), dict(num_edges=7)])
def test_sizes_of_other_arrays_are_refused(saved, changes):
    rewrite(saved, **changes)
    with pytest.raises(DataError, match=r'(indptr|source)\.npy needs shape \(\d+,\) and dtype'):
        scores.load(saved)


def test_a_value_that_was_changed_by_hand_is_noticed(saved):
    file = saved / 'manifest.json'
    file.write_text(file.read_text().replace('"metric_value": 0.875', '"metric_value": 0.975'))
    with pytest.raises(DataError, match=r'manifest\.json is damaged: its checksum is another'):
        scores.load(saved)


def test_the_manifest_of_another_store_is_refused(saved, tmp_path, graph, layers, manifest):
    scores.save(tmp_path / 'other', graph, layers[::-1], replace(manifest, seed=1))
    (tmp_path / 'other' / 'manifest.json').replace(saved / 'manifest.json')
    with pytest.raises(DataError, match=r'layer_0\.npy is damaged'):
        scores.load(saved)


def test_equal_scores_have_an_equal_identity_whatever_else_is_said_of_them(tmp_path, graph, layers, manifest):
    def identity(name: str, layers: list, **changes: object) -> str:
        written = scores.save(tmp_path / name, graph, layers, replace(manifest, **changes))
        assert scores.verify(tmp_path / name) == written == scores.load(tmp_path / name).manifest
        return written.identity

    first = identity('first', layers)
    again = dict(epoch=3, metric_value=0.1, versions={'python': '4'}, split='in other words')
    assert identity('again', [layer.clone() for layer in layers], **again) == first
    swapped = identity('swapped', [layers[1], layers[0], layers[2]])
    fewer = identity('fewer', layers[:2], num_layers=2)
    assert len({first, swapped, fewer}) == 3
    with pytest.raises(ValueError, match='once they are saved'):
        _ = manifest.identity


@pytest.mark.parametrize('changes', [dict(metric_value=float('nan')), dict(seed='0')])
def test_a_manifest_that_could_not_be_read_is_not_written(tmp_path, graph, layers, manifest, changes):
    with pytest.raises(ValueError, match=f'{next(iter(changes))} needs'):
        scores.save(tmp_path / 'scores', graph, layers, replace(manifest, **changes))
    assert not any(tmp_path.iterdir())
