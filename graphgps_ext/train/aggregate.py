"""Interim."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from graphgps_ext.train.results import write_json
from graphgps_ext.train.stats import SPLITS


def aggregate(config_dir: Path) -> dict[str, dict[str, float]]:
    """Writes `agg/{train,val,test}/best.json` over all finished runs below `config_dir`, and returns them."""
    summaries = [json.loads(p.read_text()) for p in sorted(config_dir.glob('*/summary.json'))]
    best: dict[str, dict[str, float]] = {}
    for split in SPLITS:
        rows = pd.DataFrame([{'epoch': s['best_epoch'], **s[split]} for s in summaries])
        mean, std = rows.mean(), rows.std(ddof=0)
        best[split] = {'runs': len(rows)}
        for name in rows.columns:
            best[split][name] = round(float(mean[name]), 6)
            best[split][f'{name}_std'] = round(float(std[name]), 6)
        write_json(config_dir / 'agg' / split / 'best.json', best[split])
    return best
