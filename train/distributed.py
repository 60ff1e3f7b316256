"""One training step on one process or on many: `torchrun --nproc-per-node 8 -m train.mocogan ...`.

A step's batch has parts: as many as there are processes, times `--accumulate`. Each part draws its clips and
its noise from (seed, step, part), goes through the networks by itself, and the parts' gradients are averaged
before the optimiser steps. So what a run computes depends on the number of parts alone: two processes, or one
that takes two parts in turn, give the same losses. Batch norm and the discriminator's statistics over clips
see one part in every arrangement, and the running statistics that the parts leave are averaged, so no norm
has to look into other processes (SyncBatchNorm); a part should hold enough clips for them, 8 or more.

Plain torch.distributed, neither DistributedDataParallel nor accelerate: both watch a module's `forward`,
while these trainers call parts of their networks, take gradients by hand and share one forward pass between
two optimisers. An average of gradients before each step is all that it takes, and the states of the networks
keep their names, so that a run may go on with another number of processes.
"""

from __future__ import annotations

import datetime
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vidgen.errors import VidgenError

TIMEOUT = datetime.timedelta(minutes=30)  # for an answer: the first process may write files meanwhile
OPENING = datetime.timedelta(days=2)  # for the first process to pack the data
LOST = "Another process of this run was lost; the same command goes on from the last checkpoint."
APART = 1 << 40  # between the seeds of two parts; steps and seeds stay below


def part_seed(seed: int, index: int, part: int = 0) -> int:
    """Give the seed of torch's random numbers for one part of step `index`."""
    return seed * 1_000_003 + index + APART * part


class Team:
    """The processes of a run, as one of them sees it; by itself, a run of one process and one part.

    rank: which process this is. size: how many there are. accumulate: parts that each takes in turn. store:
    what all processes reach, of torch.distributed; None where there is one.
    """

    def __init__(self, rank: int = 0, size: int = 1, accumulate: int = 1, store: Any = None) -> None:
        self.rank, self.size, self.accumulate, self.store = rank, size, accumulate, store
        self._round, self._rounds, self._openings = 0, 1, 0
        self._rehearsing = False

    @property
    def leads(self) -> bool:
        """Tell whether this process writes the files."""
        return self.rank == 0

    @property
    def part(self) -> int:
        """Number the part that is being computed."""
        return self._round * self.size + self.rank

    @property
    def parts(self) -> int:
        """Count the parts of a step."""
        return self.size * self.accumulate

    def share(self, batch: int) -> int:
        """Give the clips of one part; raises VidgenError where the batch cannot be divided."""
        if batch % self.parts:
            raise VidgenError(
                f"A batch of {batch} cannot be divided into {self.parts} parts (processes: {self.size}, "
                f"--accumulate {self.accumulate}): choose a multiple."
            )
        return batch // self.parts

    def alternate(
        self,
        seed: int,
        index: int,
        begin: Callable[[int], Any],
        updates: Sequence[Callable[[Any], dict[str, float]]],
        modules: Sequence[nn.Module],
    ) -> dict[str, float]:
        """Take step `index`: each update in turn, over this process's parts; returns their mean losses.

        begin: draws and renders a part, given its number. updates: each takes what `begin` gave, adds its
        gradients between `clear` and `apply`, and returns its losses. modules: whose running statistics are
        averaged. With `accumulate`, a part is rendered again for each update rather than kept.
        """
        own = self._own()
        modules = modules if self.parts > 1 else []  # one part leaves its own statistics
        start, random, log = _buffers(modules), {}, {}
        made = None
        for number, update in enumerate(updates):
            before, left = _buffers(modules), []
            for self._round, part in enumerate(own):
                self._rounds = len(own)
                if number == 0 or len(own) > 1:
                    made = None  # frees the part before
                    torch.manual_seed(part_seed(seed, index, part))
                    _set_buffers(modules, start)
                    made = begin(part)
                if number and len(own) > 1:
                    _set_buffers(modules, before)
                    _set_random(random[part])
                for name, loss in update(made).items():
                    log[name] = log.get(name, 0.0) + loss / len(own)
                random[part] = _random()
                left.append(_buffers(modules))
            self._settle(modules, left)
        self._round, self._rounds = 0, 1
        return log

    def _own(self) -> range:
        own = range(self.rank, self.parts, self.size)
        return own[:2] if self._rehearsing else own

    def _settle(self, modules: Sequence[nn.Module], left: list[list[Tensor]]) -> None:
        """Average the running statistics that the parts left."""
        if not modules:
            return
        means = [torch.stack(of_all).sum(0) for of_all in zip(*left, strict=True)]
        floats = [mean for mean in means if mean.is_floating_point()]
        self._average(floats, len(left) * (1 if self._rehearsing else self.size))
        counts = zip(means, left[-1], strict=True)  # of batches: alike in all parts
        _set_buffers(modules, [mean if mean.is_floating_point() else last for mean, last in counts])

    def clear(self, optimizer: torch.optim.Optimizer) -> None:
        """Begin an update: forget the gradients of the last, but not those of this update's other parts."""
        if self._round == 0:
            optimizer.zero_grad(set_to_none=True)

    def apply(self, optimizer: torch.optim.Optimizer) -> None:
        """End an update: after the last part, average the gradients and take the optimiser's step."""
        if self._round + 1 < self._rounds:
            return
        if self.parts > 1:
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            gradients = [p.grad for p in weights if p.grad is not None]
            self._average(gradients, self.parts)
        optimizer.step()

    def _average(self, tensors: Sequence[Tensor], count: int) -> None:
        """Add tensors up over the processes and divide them by `count`, in place, all in one message."""
        if not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        if self.size > 1 and not self._rehearsing:
            with _reaching():
                dist.all_reduce(flat)
        flat /= count
        for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def gathered(self, own: Tensor) -> dict[int, Tensor]:
        """Give each part of the batch that is being computed, here or elsewhere: its number -> its tensor."""
        if self.size == 1 or self._rehearsing:
            return {self.part: own}
        every = [torch.empty_like(own) for _ in range(self.size)]
        with _reaching():
            dist.all_gather(every, own.contiguous())
        return dict(enumerate(every, self._round * self.size))

    def mean(self, losses: dict[str, float]) -> dict[str, float]:
        """Average the losses over the processes."""
        if self.size == 1:
            return losses
        values = torch.tensor(list(losses.values()), dtype=torch.float64)
        with _reaching():
            dist.all_reduce(values)
        return dict(zip(losses, (values / self.size).tolist(), strict=True))

    def largest(self, value: int) -> int:
        """Give the largest of the processes' values."""
        if self.size == 1:
            return value
        held = torch.tensor(value)
        with _reaching():
            dist.all_reduce(held, dist.ReduceOp.MAX)
        return int(held)

    def from_first(self, value: Any) -> Any:
        """Give all processes what the first one has."""
        if self.size == 1:
            return value
        held = [value]
        with _reaching():
            dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first process open something, and write its cache, before the others do."""
        self._openings += 1
        name = f"opening {self._openings}"
        if self.store and not self.leads:
            with _reaching():
                self.store.wait([name], OPENING)
        yield
        if self.store and self.leads:
            self.store.set(name, "done")

    def tells(self) -> bool:
        """Tell whether this process is the first to say why the run ends: once is enough."""
        try:
            return self.store is None or self.store.add("told", 1) == 1
        except RuntimeError:
            return True

    @contextmanager
    def rehearsal(self, accumulate: int) -> Iterator[None]:
        """Take steps as if with `accumulate`, by this process alone, which computes two parts at most."""
        usual = self.accumulate
        self.accumulate, self._rehearsing = accumulate, True
        try:
            yield
        finally:
            self.accumulate, self._rehearsing = usual, False
            self._round, self._rounds = 0, 1


@contextmanager
def joined(device: str, accumulate: int = 1) -> Iterator[tuple[Team, str]]:
    """Join the processes that torchrun started, if it did; gives the team and this process's device.

    Of the sentences that a run ends with, the first process to have one says it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team(accumulate=accumulate), device
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    store, rank, size = next(dist.rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=dist.PrefixStore("group", store),
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    team = Team(rank, size, accumulate, store)
    signal.signal(signal.SIGTERM, _stopped)
    try:
        yield team, device
    except VidgenError as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not team.tells():
            raise SystemExit(2) from error
        raise
    dist.destroy_process_group()


def _stopped(_number: int, _frame: FrameType | None) -> None:
    """Answer torchrun, which stops all processes when one is lost."""
    raise VidgenError(LOST)


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise VidgenError(LOST) from error


def _buffers(modules: Sequence[nn.Module]) -> list[Tensor]:
    return [buffer.clone() for module in modules for buffer in module.buffers()]


def _set_buffers(modules: Sequence[nn.Module], values: list[Tensor]) -> None:
    """Set running statistics, behind autograd's back: a norm that trains does not go back through them."""
    targets = [buffer for module in modules for buffer in module.buffers()]
    for target, value in zip(targets, values, strict=True):
        target.data.copy_(value)


def _random() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None


def _set_random(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
