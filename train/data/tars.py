"""Tar shards on disk or behind a URL: written whole, read clip by clip.

A folder of shards holds train-00000.tar, ..., test-00000.tar, ... and, finished last, shards.json: how many
clips each shard has, and what a pack's header says. A clip is two members, NUMBER.npy (uint8 [t, h, w, 3])
and NUMBER.json (label, content, name, fps, frames).
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from train.data.sources import described
from vidgen._clips.files import check_output, replacing, reported
from vidgen.data.folders import ClipFolder
from vidgen.data.splits import held_out, selected
from vidgen.errors import VidgenError

INDEX = "shards.json"
VERSION = 1
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


def open_folder(out: Path, megabytes: float) -> None:
    """Make the folder that shards of this size are to be written into.

    Raises VidgenError for a folder with tar files that are not from here, or that cannot be written.
    """
    webdataset()
    if megabytes <= 0:
        raise VidgenError(f"--shards is {megabytes:g}; it must be above 0.")
    with reported(out):
        out.mkdir(exist_ok=True)
    if any(out.glob("*.tar")) and not (out / INDEX).exists():
        raise VidgenError(f"{out} holds other tar files: give another folder.")
    check_output(out / INDEX)


def write_shards(
    clips: ClipFolder,
    out: Path,
    megabytes: float,
    test_share: float = 0.1,
    tests: list[str] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Write clips into the folder `out` as shards of about `megabytes`, each whole or not at all.

    tests: contents for testing, instead of a share by hash. progress: is called with the number of clips
    done. Raises VidgenError where `open_folder` does.
    """
    ids, done = clips.content_ids, itertools.count(1)
    held = held_out(ids, test_share, tests)
    open_folder(out, megabytes)
    with reported(out):
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
    with (
        replacing(path) as temporary,
        reported(path),
        temporary.open("wb") as file,
        webdataset().TarWriter(file, mtime=0) as tar,
    ):
        while order and size < limit:
            frames, fps = clips.read(index := order.popleft())
            source = clips.sources[index]
            about = {"label": source.label, "content": source.content_id, "name": source.name}
            about |= {"fps": fps, "frames": len(frames)}
            size += tar.write({"__key__": f"{index:08}", "npy": frames, "json": about})
            rows.append(about)
            progress()
    return rows


KEYS = {"size", "categories", "train", "test", "fps", "about"}  # of an index
SPLIT = {"shards", "clips", "shortest", "contents"}  # of each split in it


def read_index(folder: str) -> dict[str, Any]:
    """Read what is said of the shards in a folder, by path or URL; raises VidgenError where it is missing."""
    place = f"{folder.rstrip('/')}/{INDEX}"
    with _reading(place):
        with webdataset().gopen(place) as file:
            text = file.read()
        index = json.loads(text)
    if not isinstance(index, dict) or index.get("version") != VERSION:
        raise VidgenError(f"{place} is not finished, or of another version: {AGAIN}")
    if not (index.keys() >= KEYS and all(index[split].keys() >= SPLIT for split in ("train", "test"))):
        raise VidgenError(f"{place} is damaged: {AGAIN}")
    return index


def read_shard(shard: Shard, size: int) -> Iterator[Clip]:
    """Read a shard's clips one after the other; raises VidgenError unless they are whole, and all there."""
    wds, count = webdataset(), 0
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


@contextmanager
def _reading(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error.args[0] if error.args else error)).rstrip(".")
        raise VidgenError(f"{place} cannot be read ({reason}).") from error
    except (tarfile.TarError, zlib.error, EOFError, ValueError, KeyError, TypeError) as error:
        raise VidgenError(f"{place} is damaged, cut short or of another kind: {AGAIN}") from error


def webdataset() -> ModuleType:
    """Import webdataset; raises VidgenError, with the remedy, where it is not installed."""
    try:
        import webdataset as found
    except ImportError as error:
        raise VidgenError("Shards need webdataset: pip install -e '.[train]'.") from error
    return found
