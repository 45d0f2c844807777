"""`{train,val,test}/stats.json` of a run, in GraphGym's schema: a line of JSON for each epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphgps_ext.errors import DataError
from graphgps_ext.files import naming, written

SPLITS = ('train', 'val', 'test')


def stats_file(run_dir: Path, split: str) -> Path:
    """Where the epochs of a split stand."""
    return run_dir / split / 'stats.json'


def read_stats(run_dir: Path, split: str) -> list[dict[str, Any]]:
    """The epochs of a split; a last line cut short by a kill is dropped."""
    path = stats_file(run_dir, split)
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


class Stats:
    """The three files in the making: only ever added to, and known by number of lines and hash.

    Lines are kept until :meth:`write`, which comes before every checkpoint.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.lines = dict.fromkeys(SPLITS, 0)
        self.hashes = {split: hashlib.sha256() for split in SPLITS}
        self._kept: dict[str, list[bytes]] = {split: [] for split in SPLITS}

    def append(self, split: str, record: Mapping[str, Any]) -> None:
        """Adds an epoch."""
        line = f'{json.dumps(record)}\n'.encode()
        self._kept[split].append(line)
        self.lines[split] += 1
        self.hashes[split].update(line)

    def write(self) -> None:
        """Writes the epochs that have been added since."""
        for split, lines in self._kept.items():
            if lines:
                path = stats_file(self.run_dir, split)
                path.parent.mkdir(parents=True, exist_ok=True)
                with naming(path), path.open('ab') as file:
                    file.write(b''.join(lines))
                lines.clear()

    def state(self) -> dict[str, tuple[int, str]]:
        """Number of lines and their hash, written or not, for a checkpoint."""
        return {split: (self.lines[split], self.hashes[split].hexdigest()) for split in SPLITS}

    def begin(self) -> None:
        """Forgets the epochs of a run of which no checkpoint was written."""
        for split in SPLITS:
            stats_file(self.run_dir, split).unlink(missing_ok=True)

    def go_on(self, state: Mapping[str, tuple[int, str]]) -> None:
        """Takes up the files at an earlier :func:`state`: what was added later is dropped.

        Raises:
            DataError: if the lines up to there are not those that were written; then nothing has changed.
        """
        kept = {}
        for split, (number, wanted) in state.items():
            path = stats_file(self.run_dir, split)
            lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
            kept[split] = b''.join(lines[:number])
            if len(lines) < number or hashlib.sha256(kept[split]).hexdigest() != wanted:
                raise DataError(f'{path} is damaged: the first {number} epochs in it are not those recorded')
        for split, content in kept.items():
            path = stats_file(self.run_dir, split)
            if path.is_file() and path.stat().st_size > len(content):
                with written(path) as temporary:
                    temporary.write_bytes(content)
            self.lines[split] = state[split][0]
            self.hashes[split] = hashlib.sha256(content)
