"""Clips in tar shards, read as a stream: for data beyond one disk, or behind a URL.

A folder of shards holds train-00000.tar, ..., test-00000.tar, ... and, written last, shards.json: how many clips
each shard has, and what a pack's header says. A clip is two members, NUMBER.npy (uint8 [t, h, w, 3]) and
NUMBER.json (label, content, name, fps).

Which clips a step sees depends on (seed, step, part of the batch) alone, as train.distributed asks. Each epoch
puts the shards in another order and deals them to the parts, so no two processes read the same one. A part's
clips come in blocks, each read in the shards' order and then shuffled as a whole. By the counts in the index, a
run that resumes finds its block and opens the shard in which it begins; webdataset's own shuffle could only be
played again from the start. So webdataset writes the tar files, opens files and URLs, and reads samples from
them; their order is ours.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from train.data.sources import Batch, described, is_mirrored, to_video
from train.distributed import Team
from vidgen._clips.files import replacing, reported
from vidgen.data.folders import ClipFolder
from vidgen.data.splits import held_out, selected
from vidgen.errors import VidgenError

INDEX = "shards.json"
VERSION = 1
BLOCK = 256  # clips that are shuffled together; a part of the batch holds at most three blocks and its clips
RUN = 4  # clips of one content that stay together in a shard, so that they find each other in a block
AGAIN = "make the shards again with python -m train.prepare --shards."


@dataclass(frozen=True)
class Shard:
    """A tar file, by path or URL, and how many clips it holds."""

    url: str
    clips: int


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as it lies in a shard: frames uint8 [t, h, w, c]."""

    frames: np.ndarray
    label: int
    content: str
    name: str
    fps: float
    shard: str


def write_shards(
    clips: ClipFolder,
    out: Path,
    megabytes: float,
    test_share: float = 0.1,
    tests: list[str] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Write clips into the folder `out` as shards of about `megabytes`, each whole or not at all.

    tests: contents for testing, instead of a share by hash. progress: is called with the number of clips done.
    Raises VidgenError for a folder with tar files that are not from here.
    """
    ids, done = clips.content_ids, itertools.count(1)
    held = held_out(ids, test_share, tests)
    with reported(out):
        out.mkdir(exist_ok=True)
        if list(out.glob("*.tar")) and not (out / INDEX).exists():
            raise VidgenError(f"{out} holds other tar files: give another folder.")
        (out / INDEX).write_text(json.dumps({"unfinished": True}))
    index, rates = {"version": VERSION, "size": clips.size, "categories": clips.categories}, []
    for split in ("train", "test"):
        kept = selected(ids, held, split) if held or split == "train" else []
        order, shards, rows = deque(_mixed(kept, ids)), [], []
        while order:
            name = f"{split}-{len(shards):05}.tar"
            written = _write_shard(out / name, clips, order, 1e6 * megabytes, lambda: progress(next(done)))
            shards.append({"name": name, "clips": len(written)})
            rows += written
        index[split] = {
            "shards": shards,
            "clips": len(rows),
            "frames": sum(row["frames"] for row in rows),
            "shortest": min(rows, key=lambda row: row["frames"], default=None),
            "contents": sorted({row["content"] for row in rows}),
        }
        rates += [row["fps"] for row in rows]
    index |= {"fps": float(np.median(rates)), "about": described(out)}
    with replacing(out / INDEX) as temporary, reported(out / INDEX):
        temporary.write_text(json.dumps(index, indent=1))
        names = {shard["name"] for split in ("train", "test") for shard in index[split]["shards"]}
        for old in out.glob("*.tar"):
            if old.name not in names:
                old.unlink()


def _mixed(kept: Sequence[int], ids: Sequence[str]) -> list[int]:
    """Order clips at random, the same at each call, in runs of up to RUN clips of one content."""
    rng, of_content = np.random.default_rng(0), defaultdict(list)
    for index in rng.permutation(kept):
        of_content[ids[index]].append(int(index))
    runs = [own[i : i + RUN] for own in of_content.values() for i in range(0, len(own), RUN)]
    rng.shuffle(runs)
    return [index for run in runs for index in run]


def _write_shard(
    path: Path, clips: ClipFolder, order: deque[int], limit: float, progress: Callable[[], object]
) -> list[dict[str, Any]]:
    """Write the next clips of `order` until there are `limit` bytes; returns what each of them is."""
    rows, size = [], 0
    with replacing(path) as temporary, reported(path), temporary.open("wb") as file:
        with _webdataset().TarWriter(file, mtime=0) as tar:
            while order and size < limit:
                frames, fps = clips.read(index := order.popleft())
                source = clips.sources[index]
                about = {"label": source.label, "content": source.content_id, "name": source.name}
                about |= {"fps": fps, "frames": len(frames)}
                size += tar.write({"__key__": f"{index:08}", "npy": frames, "json": about})
                rows.append(about)
                progress()
    return rows


def holds_shards(path: str) -> bool:
    """Tell whether --data means shards: a URL, a pattern with braces, or a folder of tar files."""
    found = Path(path).expanduser()
    if found.exists():
        return (found / INDEX).exists() or (found.is_dir() and any(found.glob("*.tar")))
    return "://" in path or "{" in path


def read_index(folder: str) -> dict[str, Any]:
    """Read what is said of the shards in a folder, by path or URL; raises VidgenError where that is missing."""
    place = f"{folder.rstrip('/')}/{INDEX}"
    with _reading(place):
        with _webdataset().gopen(place) as file:
            text = file.read()
        index = json.loads(text)
    if not isinstance(index, dict) or index.get("version") != VERSION:
        raise VidgenError(f"{place} is not finished, or of another version: {AGAIN}")
    return index


def read_shard(shard: Shard, size: int) -> Iterator[Clip]:
    """Read the clips of a shard one after the other; raises VidgenError unless they are whole, and all there."""
    wds, count = _webdataset(), 0
    with _reading(shard.url), wds.gopen(shard.url) as stream:
        files = wds.tariterators.tar_file_expander([{"url": shard.url, "stream": stream}])
        for sample in wds.tariterators.group_by_keys(files):
            about, frames = json.loads(sample["json"]), np.load(io.BytesIO(sample["npy"]))
            if frames.dtype != np.uint8 or frames.shape[1:] != (size, size, 3):
                shape = " x ".join(map(str, frames.shape[1:]))
                raise VidgenError(f"{shard.url}: {about['name']} has frames of {shape}, not of {size} px.")
            yield Clip(frames, about["label"], about["content"], about["name"], about["fps"], shard=shard.url)
            count += 1
    if count != shard.clips:
        raise VidgenError(f"{shard.url} holds {count} clips, but {INDEX} says {shard.clips}: {AGAIN}")


class ShardSource:
    """Clips of shards; the references show the same subject, in other clips where the block has any.

    path: a folder that `write_shards` made, its URL, or several by a pattern as webdataset has them
    (disk{1..4}/clips). team: between whose parts the shards are divided. block: clips that are shuffled together.
    Raises VidgenError where folders do not belong together, clips are too short, or shards too few.
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
        for epoch in itertools.count(epoch):
            clips = self._clips(self._order(seed, epoch, part, parts), first * self.block)
            for number in itertools.count(first):
                if not (block := list(itertools.islice(clips, self.block))):
                    break
                np.random.default_rng([seed, epoch, part, number]).shuffle(block)
                yield block
            first = 0

    def _order(self, seed: int, epoch: int, part: int, parts: int) -> np.ndarray:
        """List the shards that a part reads in an epoch."""
        return np.random.default_rng([seed, epoch]).permutation(len(self.shards))[part::parts]

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
                f"{self.path} has {len(self.shards)} shards, but the batch has {team.parts} parts (processes: "
                f"{team.size}, --accumulate {team.accumulate}), and each needs its own: make smaller shards."
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
        places = _webdataset().shardlists.expand_urls(path)
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


@contextmanager
def _reading(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error.args[0] if error.args else error)).rstrip(".")
        raise VidgenError(f"{place} cannot be read ({reason}).") from error
    except (tarfile.TarError, zlib.error, EOFError, ValueError, KeyError, TypeError) as error:
        raise VidgenError(f"{place} is damaged, cut short or of another kind: {AGAIN}") from error


def _webdataset() -> ModuleType:
    try:
        import webdataset
    except ImportError as error:
        raise VidgenError("Shards need webdataset: pip install -e '.[train]'.") from error
    return webdataset
