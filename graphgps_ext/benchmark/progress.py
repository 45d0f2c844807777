"""What a user sees while a benchmark runs: one bar with the time left, and a line for each run that ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from tqdm import tqdm

from graphgps_ext.benchmark.plan import Run
from graphgps_ext.errors import UserError
from graphgps_ext.train.finished import read_run

BAR = '{percentage:3.0f}% |{bar:20}| {desc}'


class Progress:
    """The bar, and the estimate of the time left.

    A run is estimated by what other runs of its config took, before that by the epochs it has done.

    Args:
        runs: all runs.
        done: names of those finished before.
        out: the folder of the benchmark.
        jobs: number of processes at a time.
    """

    def __init__(self, runs: Sequence[Run], done: set[str], out: Path, jobs: int) -> None:
        self.out, self.jobs = out, jobs
        self.total, self.ended = len(runs), len(done)
        self.seconds: dict[str, list[float]] = {}  # config → seconds of its runs
        self.width = max((len(str(run)) for run in runs), default=0)
        datasets = {run.config.name.dataset for run in runs}
        self.shared = f'{datasets.pop()}/' if len(datasets) == 1 else ''
        self.shown = 0.0
        self.bar = tqdm(total=self.total, initial=self.ended, bar_format=BAR, disable=None, leave=False)

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text)

    def done(self, run: Run, seconds: float) -> None:
        """A run has ended well."""
        self.ended += 1
        self.seconds.setdefault(str(run.config.name), []).append(seconds)
        try:
            found = read_run(run.folder(self.out))
        except UserError as error:
            self.say(f'{self._count()} {run!s:{self.width}}  {error}')
            return
        summary = found.summary
        cost = f'{summary["seconds_per_epoch"]:.3f} s/epoch, {summary["peak_rss_mb"]:.0f} MB'
        cost += f', GPU {summary["peak_gpu_mb"]:.0f} MB' if summary['peak_gpu_mb'] else ''
        result = f'test {found.metric} {summary["test"][found.metric]:.4f}'
        self.say(f'{self._count()} {run!s:{self.width}}  {result}  {clock(seconds)}, {cost}')

    def failed(self, run: Run, reason: str) -> None:
        """A run has failed, or cannot start."""
        self.ended += 1
        self.say(f'{self._count()} {run!s:{self.width}}  FAILED: {reason}')

    def _count(self) -> str:
        return f'[{self.ended:{len(str(self.total))}}/{self.total}]'

    def show(self, running: Sequence[tuple[Run, float]], waiting: Sequence[Run]) -> None:
        """Brings the bar up to date, at most once a second.

        Args:
            running: runs with the time (`time.monotonic`) of their start.
            waiting: runs that have not started.
        """
        now = time.monotonic()
        if self.bar.disable or now - self.shown < 1:
            return
        self.shown = now
        shares = [self._share(run) for run, _ in running]
        self.bar.n = self.ended + sum(shares)
        left = self._seconds_left([(run, now - start) for run, start in running], shares, waiting)
        told = 'time left not known yet' if left is None else f'about {clock(left)} left'
        pairs = zip(running, shares, strict=True)
        # The tail of the line is lost on a narrow terminal: what all runs share is not said.
        names = ', '.join(f'{str(run).removeprefix(self.shared)} {share:.0%}' for (run, _), share in pairs)
        self.bar.set_description_str(f'{self.ended}/{self.total} runs, {told}: {names}')

    def _share(self, run: Run) -> float:
        """Share of the epochs done."""
        path = run.folder(self.out) / 'train' / 'stats.json'
        try:
            lines = path.read_bytes().count(b'\n')
        except OSError:
            return 0.0
        return min(1.0, lines / run.config.cfg.optim.max_epoch)

    def _seconds_left(
        self, running: Sequence[tuple[Run, float]], shares: Sequence[float], waiting: Sequence[Run]
    ) -> float | None:
        """Estimate of the seconds left; None before anything is known."""
        known = {name: median(seconds) for name, seconds in self.seconds.items()}
        for (run, elapsed), share in zip(running, shares, strict=True):
            if share > 0.05:
                known.setdefault(str(run.config.name), elapsed / share)
        if not known:
            return None
        other = mean(known.values())
        left = [max(0.0, known.get(str(run.config.name), other) - elapsed) for run, elapsed in running]
        ahead = sum(known.get(str(run.config.name), other) for run in waiting)
        return max((sum(left) + ahead) / self.jobs, max(left, default=0.0))

    def close(self) -> None:
        """Removes the bar."""
        self.bar.close()


def clock(seconds: float) -> str:
    """A duration in words: 42 s, 3:05 min, 2:00 h."""
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60}:{whole % 60:02d} min'
    return f'{whole // 3600}:{whole % 3600 // 60:02d} h'
