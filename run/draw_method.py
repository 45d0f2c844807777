"""Draws docs/method.png, the picture of the method in the README: python run/draw_method.py [--out FILE]

Nothing in it is made up: the graph is that of the marriages among families of Florence (Padgett & Ansell,
1993), its communities are the classes, and both stages are trained on it with this package, in float64 and
with fixed seeds. Self-loops are left out of the graph: one would not see them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('agg')
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch import Tensor, nn

from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.sampling import sample_neighbors
from graphgps_ext.transform import attention_graph

OUT = Path(__file__).resolve().parent.parent / 'docs' / 'method.png'
SIZE, DPI = (13.0, 4.5), 150  # inches, pixels per inch

EDGES = ('#41698f', '#e8901f')  # of the graph, of the expander
CLASSES = ('#58a678', '#c2587f', '#7a68b3', '#d6b53c', '#4aa3b8')
NETWORK, STAGE, INK = '#b9cbe0', '#f3f5f8', '#263238'

NUM_LAYERS, DEGREE = 2, 2
NARROW, WIDE = 4, 32
EPOCHS, HOLD, DECAY, MINIMUM = 60, 10, 0.97, 0.4  # of the estimator, and of its temperature

Found = dict[str, np.ndarray]


class Network(nn.Module):
    """Linear map, blocks of sparse attention, linear map: one-hot nodes [N, N] to logits [N, classes]."""

    def __init__(self, num_nodes: int, width: int, heads: int, *, estimator: bool) -> None:
        super().__init__()
        self.encoder = nn.Linear(num_nodes, width)
        self.types = nn.Embedding(2, width)
        options = {'norm': 'graph' if estimator else 'batch', 'normalize_values': estimator}
        self.blocks = nn.ModuleList(
            SparseTransformerBlock(width, heads, implementation='torch', **options) for _ in range(NUM_LAYERS)
        )
        self.head = nn.Linear(width, len(CLASSES))

    def forward(
        self, x: Tensor, graphs: Sequence[Any], temperature: float = 1.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the attention weights of each layer; `graphs` are in-neighbours, one for each layer."""
        x, weights = self.encoder(x), []
        for block, graph in zip(self.blocks, graphs, strict=True):
            x, of_layer = block(x, graph, self.types.weight, temperature=temperature, return_weights=True)
            weights.append(of_layer)
        return self.head(x), weights


def train(
    network: Network, graphs: Sequence[Any], y: Tensor, *, annealed: bool
) -> tuple[Tensor, list[Tensor]]:
    """Predicted classes and attention weights after training on all labels."""
    torch.set_num_threads(1)  # the tensors are tiny
    x = torch.eye(len(y), dtype=torch.float64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.001)
    for epoch in range(EPOCHS):
        temperature = max(MINIMUM, DECAY ** max(0, epoch - HOLD)) if annealed else 1.0
        optimizer.zero_grad()
        logits, weights = network(x, graphs, temperature)
        F.cross_entropy(logits, y).backward()
        optimizer.step()
    return logits.argmax(1), weights


def florence() -> nx.Graph:
    """15 families and 20 marriages, the families as numbers."""
    return nx.convert_node_labels_to_integers(nx.florentine_families_graph(), ordering='sorted')


def both_stages() -> Found:
    """What the picture shows: edges of the attention graph, their scores, the drawn ones, the classes."""
    families = florence()
    y = torch.zeros(len(families), dtype=torch.int64)
    for label, community in enumerate(nx.community.greedy_modularity_communities(families)):
        y[list(community)] = label
    edge_index = torch.tensor(list(families.edges)).T
    graph = attention_graph(
        edge_index, len(y), expander_degree=1, expander_algorithm='hamiltonian', self_loops=False
    ).neighbors
    torch.manual_seed(0)
    estimator = Network(len(y), NARROW, 1, estimator=True).double()
    _, weights = train(estimator, [graph] * NUM_LAYERS, y, annealed=True)
    scores = [of_layer[:, 0].float() for of_layer in weights]
    tables = [
        sample_neighbors(graph, of_layer, DEGREE, strategy='weighted', fill='mask', key=layer)
        for layer, of_layer in enumerate(scores)
    ]
    wide = Network(len(y), WIDE, 4, estimator=False).double()
    predicted, _ = train(wide, tables, y, annealed=False)
    last = tables[-1].edge_id
    return {
        'source': graph.source.numpy(),
        'target': np.repeat(np.arange(len(y)), graph.indptr.diff().numpy()),
        'edge_type': graph.edge_type.numpy(),
        'score': scores[-1].numpy(),
        'drawn': last[last >= 0].numpy(),
        'predicted': predicted.numpy(),
    }


def places_of_nodes() -> np.ndarray:
    """[N, 2] places in the unit square."""
    layout = nx.kamada_kawai_layout(florence())
    places = np.array([layout[node] for node in range(len(layout))])
    return (places - places.min(0)) / np.ptp(places, axis=0)


def draw_graph(
    ax: Axes,
    found: Found,
    edges: np.ndarray,
    widths: np.ndarray,
    *,
    bend: float,
    arrows: bool,
    fill: list[str],
) -> None:
    """Edges in the colour of their type, the widest on top: arrows to the target, or plain lines; nodes."""
    places = places_of_nodes()
    for edge, width in sorted(zip(edges, widths, strict=True), key=lambda pair: pair[1]):
        source, target, edge_type = (found[part][edge] for part in ('source', 'target', 'edge_type'))
        arrow = FancyArrowPatch(
            places[source],
            places[target],
            arrowstyle='-|>' if arrows else '-',
            mutation_scale=11,
            shrinkA=5,
            shrinkB=5,
            linewidth=width,
            color=EDGES[edge_type],
            connectionstyle=f'arc3,rad={bend + 0.1 * edge_type}',
        )
        ax.add_patch(arrow)
    ax.scatter(*places.T, s=95, c=fill, edgecolors=INK, linewidths=1.3, zorder=3)
    ax.set(xlim=(-0.07, 1.07), ylim=(-0.07, 1.07))
    ax.axis('off')


def draw_step(ax: Axes, width: int) -> None:
    """An arrow, through a bar for each layer of a network of this width if there is one."""
    ax.add_patch(FancyArrowPatch((0, 0.5), (1, 0.5), arrowstyle='-|>', mutation_scale=24, lw=2.4, color=INK))
    height = 0.1 * width**0.5  # so that 4 and 32 both fit
    for center in np.linspace(0.28, 0.6, NUM_LAYERS if width else 0):
        corner = (center - 0.07, 0.5 - height / 2)
        bar = FancyBboxPatch(corner, 0.14, height, boxstyle='round,pad=0,rounding_size=0.05')
        bar.set(facecolor=NETWORK, edgecolor=INK, linewidth=1.4, zorder=3)
        ax.add_patch(bar)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis('off')


def draw(found: Found) -> Figure:
    """The whole picture, from left to right."""
    figure = plt.figure(figsize=SIZE, dpi=DPI, facecolor='white')
    for left, right, heading in (
        (0.008, 0.462, 'Stage 1: a narrow network scores all edges'),
        (0.538, 0.992, 'Stage 2: a wide network attends to a few'),
    ):
        box = FancyBboxPatch((left, 0.02), right - left, 0.96, boxstyle='round,pad=0,rounding_size=0.012')
        box.set(facecolor=STAGE, edgecolor='none', transform=figure.transFigure, zorder=-1)
        figure.add_artist(box)
        middle = (left + right) / 2
        figure.text(middle, 0.9, heading, ha='center', fontsize=15.5, weight='bold', color=INK)

    def write(middle: float, caption: str) -> None:
        figure.text(middle, 0.175, caption, ha='center', va='top', fontsize=13.5, color=INK)

    num_edges, white = len(found['source']), ['white'] * len(found['predicted'])
    once = np.flatnonzero(found['source'] < found['target'])  # of the two directions of an edge
    every, drawn = np.arange(num_edges), found['drawn']
    predicted = [CLASSES[label] for label in found['predicted']]
    for left, caption, edges, widths, bend, arrows, fill in (
        (0.018, '', once, np.full(len(once), 1.6), 0, False, white),
        (0.285, 'attention scores\n(line width)', every, 0.3 + 6 * found['score'], 0.16, False, white),
        (
            0.551,
            f'K = {DEGREE} in-neighbours\nof each node',
            drawn,
            np.full(len(drawn), 1.6),
            0.16,
            True,
            white,
        ),
        (0.819, 'predicted classes', every[:0], found['score'][:0], 0, False, predicted),
    ):
        ax = figure.add_axes((left, 0.21, 0.163, 0.65))
        draw_graph(ax, found, edges, widths, bend=bend, arrows=arrows, fill=fill)
        write(left + 0.0815, caption)
    for left, caption, width in (
        (0.189, f'narrow network\n(width {NARROW})', NARROW),
        (0.467, 'sample\nby score', 0),
        (0.7245, f'wide network\n(width {WIDE})', WIDE),
    ):
        length = 0.09 if width else 0.066
        draw_step(figure.add_axes((left, 0.21, length, 0.65)), width)
        write(left + length / 2, caption)
    handles = [Line2D([], [], color=color, linewidth=3) for color in EDGES]
    figure.legend(
        handles,
        ['graph', '∪ expander'],
        loc='upper center',
        bbox_to_anchor=(0.0995, 0.197),
        fontsize=13.5,
        frameon=False,
        labelcolor=INK,
        handlelength=1,
        labelspacing=0.25,
    )
    return figure


def main() -> None:
    """Trains both stages and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--out', type=Path, default=OUT, help='the PNG file to write')
    path = parser.parse_args().out
    draw(both_stages()).savefig(path)


if __name__ == '__main__':
    main()
