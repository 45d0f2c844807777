"""What the attention scores say: measures as data frames, figures, and a report. Works on any score store.

A measure takes the scores of any network, and these options:

- `drop_types`: edges of these types are left out, the rest of a row is divided by its sum.
- `block_edges`: about how many edges are worked on at a time, which bounds the memory.
"""

from graphgps_ext.analysis.compare import compare_widths
from graphgps_ext.analysis.concentration import entropy, topk_coverage
from graphgps_ext.analysis.distances import (
    distances,
    layer_agreement,
    network_distance,
    random_weights,
    uniform_weights,
)
from graphgps_ext.analysis.edge_types import mass_by_edge_type
from graphgps_ext.analysis.kept_mass import kept_mass, sampled_kept_mass, suggest_degrees
from graphgps_ext.analysis.measure import Measures, measure
from graphgps_ext.analysis.report import write_report
from graphgps_ext.analysis.runs import Run, find_runs
from graphgps_ext.analysis.tables import confidence_interval, over_runs

__all__ = [
    'Measures',
    'Run',
    'compare_widths',
    'confidence_interval',
    'distances',
    'entropy',
    'find_runs',
    'kept_mass',
    'layer_agreement',
    'mass_by_edge_type',
    'measure',
    'network_distance',
    'over_runs',
    'random_weights',
    'sampled_kept_mass',
    'suggest_degrees',
    'topk_coverage',
    'uniform_weights',
    'write_report',
]
