"""Batches for Lightning: the whole graph, random parts of it, or sampled layers drawn for each epoch."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.imports import pl
from torch_geometric.loader import RandomNodeLoader

from graphgps_ext.loader.neighbor_loader import SparseNeighborLoader, full_batch, node_data
from graphgps_ext.loader.prefetch import Prefetched
from graphgps_ext.sampling import SamplingPlan, stream_key
from graphgps_ext.transform.attention_graph import graph_share, kept_share

# Purposes of draws, so that no draw of one is a draw of another.
TRAINING, EVALUATION, REPORT = range(3)


class _OneBatch(Dataset):
    """A data set of one batch, which is made when it is asked for."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Data:
        return self.make()


def _one_batch_loader(make: Any) -> DataLoader:
    # A generator of its own: loaders are made in the background, and must not disturb torch's.
    return DataLoader(
        _OneBatch(make), batch_size=None, collate_fn=lambda batch: batch, generator=torch.Generator()
    )


class WholeGraphData(pl.LightningDataModule):
    """Full batch on the attention graph: one batch, which stays on the device.

    Args:
        data: the graph.
    """

    reload_every_n_epochs = 0
    report_draws = 1  # there is nothing to draw
    kept_share = 100.0

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.graph = data

    def setup(self, stage: str) -> None:
        """Moves the graph to the device once."""
        # PyG moves in place; the caller's graph stays where it is.
        self.graph = copy.copy(self.graph).to(self.trainer.strategy.root_device)

    def train_dataloader(self) -> DataLoader:
        """The graph."""
        return _one_batch_loader(lambda: self.graph)

    val_dataloader = train_dataloader

    def take_seconds_waiting(self) -> float:
        """None: the batch is always there."""
        return 0.0

    def report_batches(self, draw: int) -> Iterable[Data]:
        """The graph."""
        return [self.graph]


class StreamedData(pl.LightningDataModule):
    """Batches that are functions of (seed, purpose, epoch): other ones in each epoch, equal after a resume.

    The next batch, also that of the next epoch or evaluation, is made while the model computes. Subclasses
    say what the loaders of an epoch are, which take random numbers from a generator of their own.
    """

    reload_every_n_epochs = 1  # a new epoch is a new key, hence a new loader

    def __init__(self) -> None:
        super().__init__()
        self.executor: ThreadPoolExecutor | None = None
        self.batches: dict[tuple[int, int], Prefetched] = {}  # by purpose and epoch

    def training_loader(self, epoch: int) -> DataLoader:
        """The training batches of an epoch."""
        raise NotImplementedError

    def validation_loader(self, epoch: int) -> DataLoader:
        """The batches of an epoch's evaluation."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Starts the background thread, unless there are workers."""
        if cfg.num_workers == 0:
            self.executor = ThreadPoolExecutor(1, thread_name_prefix='batches')

    def teardown(self, stage: str) -> None:
        """Ends the background thread."""
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)

    def train_dataloader(self) -> Prefetched:
        """The training batches of this epoch."""
        return self._batches(TRAINING, self.trainer.current_epoch)

    def val_dataloader(self) -> Prefetched:
        """The batches of this epoch's evaluation."""
        return self._batches(EVALUATION, self.trainer.current_epoch)

    def take_seconds_waiting(self) -> float:
        """Seconds for which an epoch has waited for batches; forgets the epoch."""
        ended = [key for key in self.batches if key[1] <= self.trainer.current_epoch]
        return sum(self.batches.pop(key).seconds_waiting for key in ended)

    def _batches(self, purpose: int, epoch: int) -> Prefetched:
        """The batches of an epoch; when the last of them was made, the first of what comes next is begun."""
        if (purpose, epoch) not in self.batches:
            loader = self.training_loader(epoch) if purpose == TRAINING else self.validation_loader(epoch)
            batches = Prefetched(loader, self.executor, lambda: self._begin_next(purpose, epoch))
            self.batches.setdefault((purpose, epoch), batches)
        return self.batches[purpose, epoch]

    def _begin_next(self, purpose: int, epoch: int) -> None:
        evaluates = (epoch + 1) % self.trainer.check_val_every_n_epoch == 0
        if purpose == TRAINING and evaluates:
            self._batches(EVALUATION, epoch).begin()
        elif epoch + 1 < self.trainer.max_epochs:
            self._batches(TRAINING, epoch + 1).begin()


class PartitionedData(StreamedData):
    """Parts of the graph, each with the edges within it: `train.batch_size` random nodes at a time.

    The graph stays where it is, the parts go to the device. Evaluation sees the whole graph with
    `val.sampler: full_batch`.

    Args:
        data: the graph, plain (see transform.batch.plain_graph).
    """

    report_draws = 1

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.graph = data

    def training_loader(self, epoch: int) -> DataLoader:
        """The parts of the epoch."""
        return self._parts(stream_key(cfg.seed, TRAINING, epoch))

    def validation_loader(self, epoch: int) -> DataLoader:
        """The whole graph, or other parts than those of the training."""
        if cfg.val.sampler == 'full_batch':
            return _one_batch_loader(lambda: self.graph)
        return self._parts(stream_key(cfg.seed, EVALUATION, epoch))

    def report_batches(self, draw: int) -> Iterable[Data]:
        """As for the evaluation."""
        if cfg.val.sampler == 'full_batch':
            return [copy.copy(self.graph)]  # which is moved in place
        return self._parts(stream_key(cfg.seed, REPORT, draw))

    def _parts(self, key: int) -> RandomNodeLoader:
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


class SampledData(StreamedData):
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

    def setup(self, stage: str) -> None:
        """Moves graph, scores and node tensors to the device, unless workers sample on the CPU."""
        super().setup(stage)
        if cfg.num_workers == 0:
            device = self.trainer.strategy.root_device
            self.nodes = self.nodes.to(device)
            self.plan = self.plan.to(device)
        self.plan = self.plan.prepared()

    def report_batches(self, draw: int) -> Iterable[Data]:
        """Batches for the report on the chosen epoch: draw number `draw`, independent of all others."""
        return self._evaluation_loader(stream_key(cfg.seed, REPORT, draw), self._evaluated())

    def training_loader(self, epoch: int) -> DataLoader:
        """Batches of training nodes, or of all nodes with `train.sampler: full_batch`."""
        key = stream_key(cfg.seed, TRAINING, epoch // cfg.spex.resample_every)
        if cfg.train.sampler == 'full_batch':
            return _one_batch_loader(
                lambda: full_batch(self.nodes, self.plan, key, with_backward=self.with_transpose)
            )
        # The order of the seeds changes every epoch, also where draws are kept for several. It is made here:
        # what a loader that shuffles takes from its generator depends on how often its iterator is made.
        order = torch.Generator().manual_seed(stream_key(cfg.seed, TRAINING, epoch))
        seeds = self._indices(self.nodes.train_mask)
        seeds = self._share(seeds[torch.randperm(len(seeds), generator=order)])
        return self._seed_loader(seeds, key, with_backward=self.with_transpose)

    def validation_loader(self, epoch: int) -> DataLoader:
        """Batches of validation and test nodes, with draws of their own."""
        key = stream_key(cfg.seed, EVALUATION, epoch)
        return self._evaluation_loader(key, self._share(self._evaluated()))

    def _evaluation_loader(self, key: int, seeds: Tensor) -> DataLoader:
        if cfg.val.sampler == 'full_batch':
            return _one_batch_loader(lambda: full_batch(self.nodes, self.plan, key, with_backward=False))
        return self._seed_loader(seeds, key, with_backward=False)

    def _evaluated(self) -> Tensor:
        return self._indices(self.nodes.val_mask | self.nodes.test_mask)

    @staticmethod
    def _indices(mask: Tensor) -> Tensor:
        return mask.nonzero().flatten().cpu()

    def _share(self, seeds: Tensor) -> Tensor:
        """The part of this process, all of one length: the last one takes some of the first again."""
        size = -(-len(seeds) // self.trainer.world_size)
        return seeds.repeat(2)[self.trainer.global_rank * size :][:size]

    def _seed_loader(self, input_nodes: Tensor, key: int, *, with_backward: bool) -> SparseNeighborLoader:
        return SparseNeighborLoader(
            self.nodes,
            self.plan,
            key=key,
            input_nodes=input_nodes,
            with_backward=with_backward,
            batch_size=cfg.train.batch_size,
            num_workers=cfg.num_workers,
            generator=torch.Generator(),
        )
