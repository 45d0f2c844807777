"""What an epoch computes on: the whole graph, random parts of it, or sampled layers drawn for each epoch."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.loader import RandomNodeLoader

from graphgps_ext.loader.neighbor_loader import SparseNeighborLoader, full_batch, node_data
from graphgps_ext.loader.prefetch import Loader, Prefetched
from graphgps_ext.network.layerwise import LayerwiseDraws
from graphgps_ext.sampling import SamplingPlan, signed, stream_key
from graphgps_ext.transform.attention_graph import graph_share, kept_share
from graphgps_ext.transform.batch import to_device, with_index_lists

# Purposes of draws, so that no draw of one is a draw of another.
TRAINING, EVALUATION, REPORT = range(3)


def is_evaluated(epoch: int) -> bool:
    """Whether an evaluation follows the training of this epoch (`train.eval_period`)."""
    return (epoch + 1) % cfg.train.eval_period == 0


class OneBatch:
    """A loader of one batch, which is made when it is asked for."""

    def __init__(self, make: Callable[[], Data]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Data]:
        yield self.make()


class Batches(ABC):
    """Batches that are functions of (seed, purpose, epoch): other ones in each epoch, equal after a resume.

    The next batch, also that of the next epoch or evaluation, is made while the model computes. Subclasses
    say what loads them, with random numbers from a generator of its own.
    """

    report_draws = 1
    kept_share = 100.0

    def __init__(self) -> None:
        self.executor: ThreadPoolExecutor | None = None
        self.streams: dict[tuple[int, int], Prefetched] = {}  # by purpose and epoch

    @abstractmethod
    def loader(self, purpose: int, number: int) -> Loader:
        """Batches for the training or evaluation of epoch `number`, or for draw `number` of the report."""

    def start(self, fabric: Fabric, prepare: Callable[[Data], Data]) -> None:
        """Starts the background thread, unless there are workers, or a GPU makes batches without help.

        Args:
            fabric: devices and precision of the run.
            prepare: puts on a full batch on the device what does not change from step to step.
        """
        self.fabric = fabric
        self.prepare = prepare
        if cfg.num_workers == 0 and not (fabric.device.type == 'cuda' and self.is_whole()):
            self.executor = ThreadPoolExecutor(1, thread_name_prefix='batches')

    def is_whole(self) -> bool:
        """Whether all batches are of the whole graph, and so of the same shapes."""
        return False

    def drawn(self, batch: Data, *, with_backward: bool) -> Data:
        """A batch, complete: where a step draws, it draws here."""
        return batch

    def close(self) -> None:
        """Ends the background thread."""
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)

    def training(self, epoch: int) -> Loader:
        """The training batches of an epoch, in the making."""
        return self._stream(TRAINING, epoch)

    def evaluation(self, epoch: int) -> Loader:
        """The batches of an epoch's evaluation, in the making."""
        return self._stream(EVALUATION, epoch)

    def report(self, draw: int) -> Loader:
        """Batches for the report on the chosen epoch, independent of all others; every process has all."""
        return self.loader(REPORT, draw)

    def take_seconds_waiting(self, epoch: int) -> float:
        """Seconds for which an epoch has waited for batches; forgets the epoch."""
        ended = [key for key in self.streams if key[1] <= epoch]
        return sum((self.streams.pop(key).seconds_waiting for key in ended), 0.0)

    def _stream(self, purpose: int, epoch: int) -> Prefetched:
        """The batches of an epoch; when the last of them was made, the first of what comes next is begun."""
        if (purpose, epoch) not in self.streams:
            batches = self.loader(purpose, epoch)
            stream = Prefetched(batches, self.executor, lambda: self._begin_next(purpose, epoch))
            self.streams.setdefault((purpose, epoch), stream)
        return self.streams[purpose, epoch]

    def _begin_next(self, purpose: int, epoch: int) -> None:
        if purpose == TRAINING and is_evaluated(epoch):
            self._stream(EVALUATION, epoch).begin()
        elif epoch + 1 < cfg.optim.max_epoch:
            self._stream(TRAINING, epoch + 1).begin()


class WholeGraphBatches(Batches):
    """Full batch on the attention graph: one batch, which stays on the device."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.graph = data

    def start(self, fabric: Fabric, prepare: Callable[[Data], Data]) -> None:
        """Moves the graph to the device once."""
        # PyG moves in place; the caller's graph stays where it is.
        graph = to_device(in_precision(copy.copy(self.graph), fabric), fabric.device)
        self.graph = prepare(with_index_lists(graph))

    def is_whole(self) -> bool:
        """Always."""
        return True

    def loader(self, purpose: int, number: int) -> Loader:
        """The graph: there is nothing to draw."""
        return [self.graph]

    def training(self, epoch: int) -> Loader:
        """The graph: there is nothing to make in the background or to wait for."""
        return [self.graph]

    evaluation = training


class RandomParts(Batches):
    """Parts of the graph, each with the edges within it: `train.batch_size` random nodes at a time.

    The graph stays where it is, the parts go to the device. Evaluation sees the whole graph with
    `val.sampler: full_batch`.

    Args:
        data: the graph, plain (see transform.batch.plain_graph).
    """

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.graph = data

    def start(self, fabric: Fabric, prepare: Callable[[Data], Data]) -> None:
        """Gives the graph its precision."""
        super().start(fabric, prepare)
        self.graph = in_precision(copy.copy(self.graph), fabric)

    def loader(self, purpose: int, number: int) -> Loader:
        """Parts, other ones for each purpose, or for the evaluation and the report the whole graph."""
        if purpose != TRAINING and cfg.val.sampler == 'full_batch':
            return OneBatch(lambda: copy.copy(self.graph))  # which is moved in place
        key = stream_key(cfg.seed, purpose, number)
        num_nodes = self.graph.num_nodes
        num_parts = -(-num_nodes // cfg.train.batch_size)
        order = torch.randperm(num_nodes, generator=torch.Generator().manual_seed(key))
        # Ascending within a part, so that its edges stay sorted; the loader's parts have this size.
        parts = [part.sort().values for part in order.split(-(-num_nodes // num_parts))]
        return RandomNodeLoader(
            self.graph,
            num_parts=num_parts,
            sampler=torch.cat(parts).tolist(),
            num_workers=cfg.num_workers,
            generator=torch.Generator(),
        )


class SampledLayers(Batches):
    """Layered batches. Sampling runs where the graph lies: on the training device, unless workers sample on
    the CPU (`num_workers`).

    Args:
        data: the graph.
        plan: what to draw in each layer.
    """

    def __init__(self, data: Data, plan: SamplingPlan) -> None:
        super().__init__()
        self.nodes = node_data(data)
        self.plan = plan
        self.kept_share = kept_share(plan.graph, plan.layer_degrees, cfg.prep.num_virt_node)
        if cfg.gt.local_gnn_type != 'none' and cfg.gt.local_edges == 'graph':
            self.kept_share += graph_share(plan.graph)  # which the local branch reads beside those drawn
        self.report_draws = cfg.spex.eval_draws
        self.with_transpose = cfg.gt.attention_impl != 'torch'  # which alone does not read it

    def start(self, fabric: Fabric, prepare: Callable[[Data], Data]) -> None:
        """Moves graph, scores and node tensors to the device, unless workers sample on the CPU."""
        super().start(fabric, prepare)
        self.nodes = in_precision(self.nodes, fabric)
        if self.plan.edge_attr is not None:
            self.plan = replace(self.plan, edge_attr=in_precision(self.plan.edge_attr, fabric))
        if cfg.num_workers == 0:
            self.nodes = self.nodes.to(fabric.device)
            self.plan = self.plan.to(fabric.device)
        self.plan = self.plan.prepared()
        self.whole = prepare(with_index_lists(self.nodes))

    def is_whole(self) -> bool:
        """Whether all nodes are seeds of each batch."""
        return cfg.train.sampler == cfg.val.sampler == 'full_batch'

    def loader(self, purpose: int, number: int) -> Loader:
        """Batches of training nodes, or of validation and test nodes; of all nodes with `full_batch`.

        With `spex_layerwise` all nodes are evaluated layer by layer.
        """
        sampler = cfg.train.sampler if purpose == TRAINING else cfg.val.sampler
        if purpose == TRAINING:
            key = stream_key(cfg.seed, TRAINING, number // cfg.spex.resample_every)
            mask = self.nodes.train_mask
        else:
            key = stream_key(cfg.seed, purpose, number)
            mask = self.nodes.val_mask | self.nodes.test_mask
        with_backward = self.with_transpose and purpose == TRAINING
        if sampler == 'full_batch':
            if self.draws_late:
                return OneBatch(lambda: self._undrawn(key))
            return OneBatch(lambda: full_batch(self.whole, self.plan, key, with_backward=with_backward))
        if sampler == 'spex_layerwise':
            return OneBatch(lambda: self._layerwise(key, purpose))
        seeds = mask.nonzero().flatten().cpu()
        if purpose == TRAINING:
            # The order of the seeds changes every epoch, also where draws are kept for several. It is made
            # here: what a loader that shuffles takes from its generator depends on how often its iterator is.
            order = torch.Generator().manual_seed(stream_key(cfg.seed, TRAINING, number))
            seeds = seeds[torch.randperm(len(seeds), generator=order)]
        return SparseNeighborLoader(
            self.nodes,
            self.plan,
            key=key,
            input_nodes=seeds if purpose == REPORT else self._share(seeds),
            with_backward=with_backward,
            batch_size=cfg.train.batch_size,
            num_workers=cfg.num_workers,
            generator=torch.Generator(),
        )

    @property
    def draws_late(self) -> bool:
        """Whether steps draw: of the whole graph on a GPU, so that a CUDA graph holds the draws as well."""
        return self.is_whole() and self.plan.graph.indptr.is_cuda

    def _undrawn(self, key: int) -> Data:
        batch = copy.copy(self.whole)
        batch.draw_key = torch.full((), signed(key), dtype=torch.int64, device=self.whole.x.device)
        return batch

    def _layerwise(self, key: int, purpose: int) -> Data:
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        batch = copy.copy(self.whole)
        batch.batch_size = batch.num_nodes
        batch.draws = LayerwiseDraws(self.plan, key, rank, world_size)
        if purpose == EVALUATION and world_size > 1:  # each process has all predictions and counts some
            for split in ('val', 'test'):
                batch[f'{split}_mask'] = batch[f'{split}_mask'][rank::world_size]
                batch.pop(f'{split}_known', None)  # a list for all of them
        return batch

    def drawn(self, batch: Data, *, with_backward: bool) -> Data:
        """The batch with the tables of its key."""
        if 'draw_key' not in batch:
            return batch
        with_backward = with_backward and self.with_transpose
        return full_batch(batch, self.plan, batch.draw_key, with_backward=with_backward)

    def _share(self, seeds: Tensor) -> Tensor:
        """The part of this process, all of one length: the last one takes some of the first again."""
        size = -(-len(seeds) // self.fabric.world_size)
        return seeds.repeat(2)[self.fabric.global_rank * size :][:size]


def in_precision(values: Any, fabric: Fabric) -> Any:
    """A tensor, or the tensors of a PyG `Data` in place, as `train.precision 64-true` wants its input.

    Fabric's own conversion does not look into a `Data`; of the other precisions none changes the input.
    """
    if fabric.strategy.precision.precision != '64-true':
        return values
    if isinstance(values, Tensor):
        return values.double()
    if 'attention_edge_attr' in values:  # one for each layer, into which PyG does not look
        values.attention_edge_attr = values.attention_edge_attr.map(Tensor.double)
    keys = [key for key, value in values if isinstance(value, Tensor) and value.is_floating_point()]
    return values.apply(Tensor.double, *keys)
