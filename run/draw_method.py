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

import networkx as nx
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch import Tensor, nn

from graphgps_ext.graph import Graph
from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.sampling import sample_neighbors
from graphgps_ext.transform import attention_graph

OUT = Path(__file__).resolve().parent.parent / 'docs' / 'method.png'
EDGES = ('#41698f', '#e8901f')  # of the graph, of the expander
CLASSES = ('#58a678', '#c2587f', '#7a68b3')
NETWORK, STAGE, INK = '#b9cbe0', '#f3f5f8', '#263238'
NUM_LAYERS, DEGREE, NARROW, WIDE = 2, 2, 4, 32
EPOCHS, HOLD, DECAY, MINIMUM = 60, 10, 0.97, 0.4  # of the training, and of the estimator's temperature


class Network(nn.Module):
    """Linear map, blocks of sparse attention, linear map: one-hot nodes [N, N] to logits [N, classes]."""

    def __init__(self, num_nodes: int, width: int, heads: int, **options: Any) -> None:
        super().__init__()
        self.encoder = nn.Linear(num_nodes, width)
        self.types = nn.Embedding(2, width)
        self.blocks = nn.ModuleList(
            SparseTransformerBlock(width, heads, implementation='torch', **options) for _ in range(NUM_LAYERS)
        )
        self.head = nn.Linear(width, len(CLASSES))

    def forward(self, x: Tensor, graphs: Sequence[Graph], temperature: float) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the attention weights of each layer; `graphs` are in-neighbours, one for each layer."""
        x, weights = self.encoder(x), []
        for block, graph in zip(self.blocks, graphs, strict=True):
            x, of_layer = block(x, graph, self.types.weight, temperature=temperature, return_weights=True)
            weights.append(of_layer)
        return self.head(x), weights


def train(
    network: Network, graphs: Sequence[Graph], y: Tensor, *, annealed: bool
) -> tuple[Tensor, list[Tensor]]:
    """Predicted classes [N] and attention weights of each layer after training on all labels."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.001)
    for epoch in range(EPOCHS):
        temperature = max(MINIMUM, DECAY ** max(0, epoch - HOLD)) if annealed else 1.0
        optimizer.zero_grad()
        logits, weights = network(torch.eye(len(y), dtype=torch.float64), graphs, temperature)
        F.cross_entropy(logits, y).backward()
        optimizer.step()
    return logits.argmax(1), weights


def both_stages(families: nx.Graph) -> tuple[pd.DataFrame, Tensor]:
    """What the picture shows: a row for each edge of the attention graph, and the predicted classes [N]."""
    torch.set_num_threads(1)  # the tensors are tiny
    y = torch.zeros(len(families), dtype=torch.int64)
    for label, community in enumerate(nx.community.greedy_modularity_communities(families)):
        y[list(community)] = label
    edge_index = torch.tensor(list(families.edges)).T
    graph = attention_graph(
        edge_index, len(y), expander_degree=1, expander_algorithm='hamiltonian', self_loops=False
    ).neighbors
    torch.manual_seed(0)
    estimator = Network(len(y), NARROW, 1, norm='graph', normalize_values=True)
    _, weights = train(estimator.double(), [graph] * NUM_LAYERS, y, annealed=True)
    scores = [of_layer[:, 0].float() for of_layer in weights]
    tables = [
        sample_neighbors(graph, of_layer, DEGREE, strategy='weighted', fill='mask', key=layer)
        for layer, of_layer in enumerate(scores)
    ]
    predicted, _ = train(Network(len(y), WIDE, 4).double(), tables, y, annealed=False)
    source, target = graph.edge_index().numpy()
    edges = pd.DataFrame({'source': source, 'target': target, 'type': graph.edge_type, 'score': scores[-1]})
    return edges.assign(drawn=edges.index.isin(tables[-1].edge_id.flatten().numpy())), predicted


def draw_graph(
    ax: Axes,
    places: np.ndarray,
    edges: pd.DataFrame,
    *,
    width: float | pd.Series = 1.6,
    bend: float = 0.0,
    arrow: str = '-',
    nodes: str | list[str] = 'white',
) -> None:
    """Edges in the colour of their type, the widest on top; nodes at `places` [N, 2] in the unit square."""
    for edge in edges.assign(width=width).sort_values('width', kind='stable').itertuples():
        ends = (places[edge.source], places[edge.target])
        line = FancyArrowPatch(*ends, arrowstyle=arrow, mutation_scale=11, shrinkA=5, shrinkB=5)
        line.set(linewidth=edge.width, color=EDGES[edge.type])
        line.set_connectionstyle('arc3', rad=bend + 0.1 * edge.type)
        ax.add_patch(line)
    ax.scatter(*places.T, s=95, c=nodes, edgecolors=INK, linewidths=1.3, zorder=3)
    ax.set(xlim=(-0.07, 1.07), ylim=(-0.07, 1.07))


def draw_step(ax: Axes, width: int = 0) -> None:
    """An arrow, through a bar for each layer of a network of this width if there is one."""
    ax.add_patch(FancyArrowPatch((0, 0.5), (1, 0.5), arrowstyle='-|>', mutation_scale=24, lw=2.4, color=INK))
    height = 0.1 * width**0.5  # so that 4 and 32 both fit
    for left in np.linspace(0.21, 0.53, NUM_LAYERS if width else 0):
        rounded = 'round,pad=0,rounding_size=0.05'
        bar = FancyBboxPatch((left, 0.5 - height / 2), 0.14, height, rounded, fc=NETWORK, ec=INK, lw=1.4)
        ax.add_patch(bar).set_zorder(3)


def draw(families: nx.Graph, edges: pd.DataFrame, predicted: Tensor) -> Figure:
    """The whole picture, from left to right."""
    figure = Figure(figsize=(13, 4.5), dpi=150)
    axes = figure.subplots(1, 7, width_ratios=(9, 5, 9, 3.9, 9, 5, 9))
    figure.subplots_adjust(left=0.018, right=0.982, bottom=0.21, top=0.86, wspace=0.1)
    for left, heading in (
        (0.008, 'Stage 1: a narrow network scores all edges'),
        (0.538, 'Stage 2: a wide network attends to a few'),
    ):
        rounded = 'round,pad=0,rounding_size=0.012'
        box = FancyBboxPatch((left, 0.02), 0.454, 0.96, rounded, fc=STAGE, ec='none', zorder=-1)
        box.set_transform(figure.transFigure)
        figure.add_artist(box)
        figure.text(left + 0.227, 0.9, heading, ha='center', fontsize=15.5, weight='bold', color=INK)
    places = np.array([place for _, place in sorted(nx.kamada_kawai_layout(families).items())])
    places = (places - places.min(0)) / np.ptp(places, axis=0)
    draw_graph(axes[0], places, edges[edges['source'] < edges['target']])  # once, not in both directions
    draw_step(axes[1], NARROW)
    draw_graph(axes[2], places, edges, width=0.3 + 6 * edges['score'], bend=0.16)
    draw_step(axes[3])
    draw_graph(axes[4], places, edges[edges['drawn']], bend=0.16, arrow='-|>')
    draw_step(axes[5], WIDE)
    draw_graph(axes[6], places, edges[:0], nodes=[CLASSES[label] for label in predicted])
    captions = (
        '', f'narrow network\n(width {NARROW})', 'attention scores\n(line width)', 'sample\nby score',
        f'K = {DEGREE} in-neighbours\nof each node', f'wide network\n(width {WIDE})', 'predicted classes',
    )  # fmt: skip
    for ax, caption in zip(axes, captions, strict=True):
        ax.axis('off')
        ax.text(0.5, -0.05, caption, ha='center', va='top', fontsize=13.5, color=INK, transform=ax.transAxes)
    axes[0].legend(
        [Line2D([], [], color=color, linewidth=3) for color in EDGES], ['graph', '∪ expander'],
        loc='upper center', bbox_to_anchor=(0.5, -0.01), fontsize=13.5, frameon=False, labelcolor=INK,
        handlelength=1, labelspacing=0.25,
    )  # fmt: skip
    return figure


def main() -> None:
    """Trains both stages and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--out', type=Path, default=OUT, help='the PNG file to write')
    path = parser.parse_args().out
    families = nx.convert_node_labels_to_integers(nx.florentine_families_graph(), ordering='sorted')
    draw(families, *both_stages(families)).savefig(path)


if __name__ == '__main__':
    main()
