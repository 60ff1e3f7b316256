"""Out of memory, answered: how many parts of the batch, one after the other, would have fitted."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import torch

from train.checkpoints import tell
from train.distributed import Team
from vidgen.errors import VidgenError

Step = Callable[[int], object]


def is_full(error: BaseException) -> bool:
    """Tell whether an error says that there is no memory left, on a GPU or beside it."""
    full = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return full or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def fitting(
    step: Step, team: Team, batch: int, indices: list[int], first: int = 1, fewest: int = 1
) -> int | None:
    """Find the least `accumulate`, from `first` on, with which steps fit in memory; None where none does.

    The steps are taken for real, by this process alone: the trainer's state is spoilt. fewest: clips that a
    part must have.
    """
    for accumulate in _choices(batch // team.size, first, fewest):
        gc.collect()
        torch.cuda.empty_cache()
        if _fits(step, team, accumulate, indices):
            return accumulate
    return None


def advice(step: Step, team: Team, batch: int, index: int, fewest: int = 1) -> VidgenError:
    """Word what to do after step `index` did not fit in memory."""
    clips = team.share(batch)
    found = fitting(step, team, batch, [index], team.accumulate + 1, fewest)
    remedy = (
        f"no smaller parts of {fewest} clip(s) or more do: take narrower networks, smaller frames or "
        "shorter clips."
        if found is None
        else f"{batch // team.size // found} do: add --accumulate {found}, or --batch auto, and --revise."
    )
    return VidgenError(f"Out of memory at step {index + 1}: {clips} clips at a time do not fit; {remedy}")


def choose(trainer: object, team: Team, batch: int, steps: int) -> None:
    """Set the team to as few parts as fit in memory, and leave the trainer as it was."""
    fewest = fewest_clips(trainer)
    if batch // team.size < fewest:
        raise VidgenError(
            f"This recipe compares {fewest} clips with each other, and a process has {batch // team.size}: "
            "choose a larger --batch, or fewer processes."
        )
    state = _copied(trainer.state())
    # The first step, and a late one that has all losses, also those of every sixteenth step.
    found = fitting(trainer.step, team, batch, sorted({0, (steps - 1) // 16 * 16}), team.accumulate, fewest)
    trainer.load(state)
    if found is None:
        raise VidgenError(
            f"Out of memory with {fewest} clip(s) at a time: take narrower networks or smaller frames."
        )
    team.accumulate = team.largest(found)
    if team.leads:
        parts = f"{team.share(batch)} at a time (--accumulate {team.accumulate})"
        tell(f"--batch auto: {batch} clips a step, {parts}.")


def fewest_clips(trainer: object) -> int:
    """Say how many clips a part of the batch must have, where the trainer compares them with each other."""
    return getattr(trainer, "fewest", 1)


def _choices(clips: int, first: int, fewest: int) -> Iterator[int]:
    """List the numbers of parts that divide a process's clips, into parts of no fewer than `fewest`."""
    return (number for number in range(first, clips // fewest + 1) if clips % number == 0)


def _fits(step: Step, team: Team, accumulate: int, indices: list[int]) -> bool:
    with team.rehearsal(accumulate):
        try:
            for index in indices:
                step(index)
        except (RuntimeError, MemoryError) as error:
            if not is_full(error):
                raise
            return False
    return True


def _copied(state: object) -> object:
    """Copy a nested state to the processor's memory."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(value) for value in state)
    return state
