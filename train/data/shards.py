"""Clips of tar shards as a stream, for data beyond one disk: each process reads shards of its own.

Which clips a step sees depends on (seed, step, part of the batch) alone, as train.distributed asks. Each
epoch puts the shards in another order and deals them to the parts, so no two processes read the same one. A
part's clips come in blocks, each read in the shards' order and then shuffled as a whole. By the counts in the
index, a run that resumes finds its block, and reads anew at most one shard and one block; webdataset's own
shuffle could only be played again from the start. So webdataset writes the tar files, opens files and URLs,
and reads samples from them; their order is ours.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from train.data.sources import Batch, is_mirrored, to_video
from train.data.tars import INDEX, Clip, Shard, read_index, read_shard, webdataset
from train.distributed import Team
from vidgen.errors import VidgenError

BLOCK = 256  # clips that are shuffled together
SHARDS, CLIPS = 101, 102  # of an epoch, that random numbers shuffle


def holds_shards(path: str) -> bool:
    """Tell whether --data means shards: a URL, a pattern with braces, or a folder of tar files."""
    found = Path(path).expanduser()
    if found.exists():
        return (found / INDEX).exists() or (found.is_dir() and any(found.glob("*.tar")))
    return "://" in path or "{" in path


class ShardSource:
    """Clips of shards; the references show the same subject, in other clips where the block has any.

    path: a folder that `write_shards` made, its URL, or several by a pattern as webdataset has them
    (disk{1..4}/clips). team: between whose parts the shards are divided. block: clips that are shuffled
    together; for each part, a batch and less than three times as many are in memory. Raises VidgenError where
    folders do not belong together, clips are too short, or shards too few.
    """

    def __init__(
        self,
        path: str,
        length: int,
        stride: int,
        team: Team | None = None,
        split: str = "train",
        block: int = BLOCK,
    ) -> None:
        folders = _folders(path)
        indices = [read_index(folder) for folder in folders]
        _check_alike(folders, indices)
        first, self.team, self.block = indices[0], team or Team(), block
        self.path, self.name = path, Path(folders[0]).name
        self.size, self.categories, self._about = first["size"], first["categories"], first["about"]
        self.fps = float(np.median([index["fps"] for index in indices]))
        self.length, self.stride = length, stride
        self.mirrors = not self.categories or bool(self._about.get("mirrored_pairs"))
        self.shards = [
            Shard(f"{folder.rstrip('/')}/{shard['name']}", shard["clips"])
            for folder, index in zip(folders, indices, strict=True)
            for shard in index[split]["shards"]
        ]
        for index in indices:
            if shortest := index[split]["shortest"]:
                self._check_length(path, shortest["name"], shortest["frames"], length)
        self._check_parts()
        self._streams: dict[tuple[int, int, int], _Stream] = {}
        self._worker = ThreadPoolExecutor(1, "shards")

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:
        """Draw n clips: those of a step where rng comes from [seed, step, part], and any of some shards
        otherwise.
        """
        pool, first = self._pool(rng, n)
        chosen, alike = pool[first : first + n], defaultdict(list)
        for clip in pool:
            alike[self._subject(clip)].append(clip)
        video = np.stack([self._window(rng, clip, length) for clip in chosen])
        others = [[_frame(rng, alike[self._subject(clip)]) for _ in range(references)] for clip in chosen]
        labels = torch.tensor([clip.label for clip in chosen])
        return Batch(to_video(video), labels, to_video(np.stack(others)))

    def about(self) -> dict[str, Any]:
        """Describe the data."""
        own = {"categories": self.categories, "fps": self.fps / self.stride, "clip_length": self.length}
        return own | self._about

    def _pool(self, rng: np.random.Generator, n: int) -> tuple[list[Clip], int]:
        """Give the clips that are in memory, and which of them is the first of the batch."""
        place = rng.bit_generator.seed_seq.entropy
        if not isinstance(place, Sequence) or len(place) != 3:
            clips = list(itertools.islice(self._clips(rng.permutation(len(self.shards))), max(self.block, n)))
            return [clips[i] for i in rng.choice(len(clips), n, replace=n > len(clips))], 0
        self._check_parts()
        seed, step, part = place
        key, position = (seed, part, self.team.parts), step * n
        if any(parts != self.team.parts for _, _, parts in self._streams):
            self._streams.clear()
        if key not in self._streams:
            self._streams[key] = _Stream(lambda place: self._blocks(*key, place), self._worker, position)
        return self._streams[key].take(position, n)

    def _blocks(self, seed: int, part: int, parts: int, position: int) -> tuple[int, Iterator[list[Clip]]]:
        """Find the block with the clip at `position` of a part's stream: where it begins, and it and all
        that follow.
        """
        start = 0
        for epoch in itertools.count():
            clips = sum(self.shards[i].clips for i in self._order(seed, epoch, part, parts))
            if start + clips > position:
                number = (position - start) // self.block
                return start + number * self.block, self._read(seed, part, parts, epoch, number)
            start += clips
        raise AssertionError

    def _read(self, seed: int, part: int, parts: int, epoch: int, first: int) -> Iterator[list[Clip]]:
        """Read a part's blocks, from one of an epoch on."""
        while True:
            clips = self._clips(self._order(seed, epoch, part, parts), first * self.block)
            for number in itertools.count(first):
                if not (block := list(itertools.islice(clips, self.block))):
                    break
                np.random.default_rng([CLIPS, seed, epoch, part, number]).shuffle(block)
                yield block
            epoch, first = epoch + 1, 0

    def _order(self, seed: int, epoch: int, part: int, parts: int) -> np.ndarray:
        """List the shards that a part reads in an epoch."""
        return np.random.default_rng([SHARDS, seed, epoch]).permutation(len(self.shards))[part::parts]

    def _clips(self, order: Iterable[int], skip: int = 0) -> Iterator[Clip]:
        for shard in (self.shards[i] for i in order):
            if skip < shard.clips:
                yield from itertools.islice(read_shard(shard, self.size), skip, None)
            skip = max(skip - shard.clips, 0)

    def _subject(self, clip: Clip) -> tuple[str, bool]:
        return clip.content, is_mirrored(clip.name, self._about)

    def _window(self, rng: np.random.Generator, clip: Clip, length: int) -> np.ndarray:
        self._check_length(clip.shard, clip.name, len(clip.frames), length)
        span = (length - 1) * self.stride + 1
        start = int(rng.integers(len(clip.frames) - span + 1))
        return clip.frames[start : start + span : self.stride]

    def _check_length(self, place: str, name: str, frames: int, length: int) -> None:
        if frames < (need := (length - 1) * self.stride + 1):
            raise VidgenError(
                f"{place}: {name} has {frames} frames; {length} frames at stride {self.stride} need {need}."
            )

    def _check_parts(self) -> None:
        team = self.team
        if len(self.shards) < team.parts:
            raise VidgenError(
                f"{self.path} has {len(self.shards)} shards, but a batch has {team.parts} parts (processes: "
                f"{team.size}, --accumulate {team.accumulate}) that need shards of their own: make smaller."
            )


class _Stream:
    """One part's clips, without end; a worker reads the next block while this one is used.

    blocks: given a position, where its block begins, and it and all that follow.
    """

    def __init__(
        self,
        blocks: Callable[[int], tuple[int, Iterator[list[Clip]]]],
        worker: ThreadPoolExecutor,
        position: int,
    ) -> None:
        self.blocks, self.worker = blocks, worker
        self._seek(position)

    def take(self, position: int, n: int) -> tuple[list[Clip], int]:
        """Give the blocks that hold the n clips from `position` on, and which clip of them is the first."""
        if not self.first <= position <= self._end():
            self._seek(position)
        while self.held and position >= self.first + len(self.held[0]):
            self.first += len(self.held.popleft())
        while self._end() < position + n:
            self.held.append(self.ahead.result())
            self.ahead = self.worker.submit(next, self.rest)
        return list(itertools.chain(*self.held)), position - self.first

    def _seek(self, position: int) -> None:
        self.first, self.rest = self.blocks(position)
        self.held: deque[list[Clip]] = deque()
        self.ahead: Future[list[Clip]] = self.worker.submit(next, self.rest)

    def _end(self) -> int:
        return self.first + sum(len(block) for block in self.held)


def _frame(rng: np.random.Generator, clips: list[Clip]) -> np.ndarray:
    frames = clips[rng.integers(len(clips))].frames
    return frames[rng.integers(len(frames))]


def _folders(path: str) -> list[str]:
    found = Path(path).expanduser()
    if found.exists():
        return [str(found)]
    try:
        places = webdataset().shardlists.expand_urls(path)
    except ValueError as error:
        raise VidgenError(f"{path} is no pattern of folders: {error}.") from error
    return [place if "://" in place else str(Path(place).expanduser()) for place in places]


def _check_alike(folders: list[str], indices: list[dict[str, Any]]) -> None:
    """Refuse folders that differ in size or classes, or of which one tests what another trains on."""
    for folder, index in zip(folders, indices, strict=True):
        for key in ("size", "categories"):
            if index[key] != indices[0][key]:
                raise VidgenError(
                    f"{folders[0]} and {folder} differ in {key}: {indices[0][key]}, {index[key]}."
                )
    train, test = (
        {name: f for f, i in zip(folders, indices, strict=True) for name in i[split]["contents"]}
        for split in ("train", "test")
    )
    if shared := sorted(train.keys() & test.keys()):
        raise VidgenError(
            f"'{shared[0]}' is for training in {train[shared[0]]} and for testing in {test[shared[0]]}: "
            "prepare the clips of one content together."
        )
