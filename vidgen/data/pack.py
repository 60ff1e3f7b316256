"""Clips decoded once into one file that is mapped into memory, so that a batch never waits for a decoder.

A pack is: 8 bytes of name, the place and length of the header, padding to 4096 bytes; all frames, uint8
[total, h, w, 3]; and the header as JSON, last, because clip lengths are known only after decoding.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vidgen._clips.files import replacing, reported
from vidgen.data.folders import ClipFolder
from vidgen.data.splits import held_out, selected
from vidgen.errors import VidgenError

MAGIC = b"VIDGPACK"
VERSION = 1
START = 4096  # frames begin at a page
HEAD = struct.Struct("<8sQQ")  # magic, place of the header, its length


class Pack:
    """The clips of a packed data set, or of its train or test split.

    labels [n] int64, content_ids and names (n strings each), lengths [n] frames, rates [n] frames per
    second, categories (names of the classes, empty without), size px. Raises VidgenError for a file that is
    no whole pack.
    """

    def __init__(self, path: Path | str, split: str = "all") -> None:
        self.path, self.split = Path(path).expanduser(), split
        self.header = read_header(self.path)
        kept = selected(self.header["content_ids"], self.header["test_contents"], split)
        self.size: int = self.header["size"]
        self.categories: list[str] = self.header["categories"]
        self.content_ids = [self.header["content_ids"][i] for i in kept]
        self.names = [self.header["names"][i] for i in kept]
        self.labels = np.array(self.header["labels"], dtype=np.int64)[kept]
        self.lengths = np.array(self.header["lengths"], dtype=np.int64)[kept]
        self.rates = np.array(self.header["rates"], dtype=np.float64)[kept]
        self.fps = float(np.median(self.rates))
        self._starts = np.array(self.header["starts"], dtype=np.int64)[kept]
        shape = (self.header["frames"], self.size, self.size, 3)
        self._frames = np.memmap(self.path, dtype=np.uint8, mode="r", offset=START, shape=shape)

    def __len__(self) -> int:
        return len(self.labels)

    def clip(self, index: int) -> np.ndarray:
        """Return one whole clip, uint8 [t, h, w, c]."""
        return self.window(index, 0, int(self.lengths[index]))

    def mapped(self, index: int) -> np.ndarray:
        """Return one whole clip as it lies in the file, uint8 [t, h, w, c], read-only and not yet read."""
        first = int(self._starts[index])
        return self._frames[first : first + int(self.lengths[index])]

    def window(self, index: int, start: int, length: int, stride: int = 1) -> np.ndarray:
        """Return `length` frames of a clip from `start` on, `stride` apart, uint8 [t, h, w, c].

        Raises VidgenError if the window reaches beyond the clip.
        """
        last = start + (length - 1) * stride
        if start < 0 or length < 1 or stride < 1 or last >= self.lengths[index]:
            raise VidgenError(
                f"{self.names[index]}: {length} frames from {start} at stride {stride} "
                f"do not fit in {self.lengths[index]} frames."
            )
        first = self._starts[index] + start
        return np.array(self._frames[first : first + (length - 1) * stride + 1 : stride])

    def sample(
        self, rng: np.random.Generator, n: int, length: int, stride: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw n windows: uint8 [n, t, h, w, c] and labels [n].

        Clips are uniform, whatever their length, and so are the starts within a clip. Raises VidgenError if
        the shortest clip is too short.
        """
        span = (length - 1) * stride + 1
        if length < 1 or stride < 1 or span > self.lengths.min():
            shortest = int(self.lengths.argmin())
            raise VidgenError(
                f"{self.names[shortest]}: {self.lengths[shortest]} frames, too short for {length} frames "
                f"at stride {stride}: prepare with --min-frames {span}, or take shorter clips."
            )
        indices = rng.integers(len(self), size=n)
        starts = rng.integers(self.lengths[indices] - span + 1)
        return self.windows(indices, starts, length, stride), self.labels[indices]

    def windows(self, indices: np.ndarray, starts: np.ndarray, length: int, stride: int = 1) -> np.ndarray:
        """Return a window of each of some clips, of which each is long enough: uint8 [n, t, h, w, c]."""
        span = (length - 1) * stride + 1
        assert (starts >= 0).all() and (starts + span <= self.lengths[indices]).all(), (starts, span)
        clips = np.empty((len(indices), length, self.size, self.size, 3), dtype=np.uint8)
        for row, (index, start) in enumerate(zip(indices, starts, strict=True)):
            first = self._starts[index] + start
            clips[row] = self._frames[first : first + span : stride]
        return clips


def pack(
    clips: ClipFolder,
    out: Path | str,
    test_share: float = 0.1,
    tests: list[str] | None = None,
    skip_broken: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Decode all clips into the file `out`, or leave it if it was made from the same files and options.

    tests: contents for testing, instead of a share by hash. Returns a sentence for each clip that was
    skipped, which is only done with `skip_broken`; otherwise the first broken clip raises its VidgenError.
    `progress` is called with the number of clips done. Nothing half-written is left.
    """
    out = Path(out).expanduser()
    fingerprint = _fingerprint(clips, [test_share, tests, skip_broken])
    if out.exists() and (skipped := _same_pack(out, fingerprint)) is not None:
        return skipped
    skipped = []
    with replacing(out) as temporary, reported(out), temporary.open("wb") as file:
        file.write(bytes(START))
        header = _write_frames(clips, file, skip_broken, skipped, progress)
        header["test_contents"] = held_out(header["content_ids"], test_share, tests)
        header |= {"version": VERSION, "fingerprint": fingerprint, "skipped": skipped}
        _write_header(file, header)
    return skipped


def read_header(path: Path) -> dict[str, Any]:
    """Read a pack's header; raises VidgenError unless the file is a whole pack."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD.size)
            if not head.startswith(MAGIC):
                raise VidgenError(f"{path} is no pack: make one with python -m train.prepare.")
            _, place, length = HEAD.unpack(head)
            file.seek(place)
            header = json.loads(file.read(length))
            whole = place == START + header["frames"] * header["size"] ** 2 * 3 and file.read() == b""
    except FileNotFoundError as error:
        raise VidgenError(f"{path} does not exist: make it with python -m train.prepare.") from error
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise VidgenError(
            f"{path} is damaged or cut short: make it again with python -m train.prepare."
        ) from error
    if not whole or header.get("version") != VERSION:
        raise VidgenError(
            f"{path} is damaged or of another version: make it again with python -m train.prepare."
        )
    return header


def batches_per_second(pack: Pack, n: int = 32, length: int = 16, seconds: float = 1.0) -> float:
    """Measure how many random batches of n clips a second the pack gives."""
    rng, count, start = np.random.default_rng(0), 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or count == 0:
        pack.sample(rng, n, length)
        count += 1
    return count / spent


def _write_frames(
    clips: ClipFolder,
    file: BinaryIO,
    skip_broken: bool,
    skipped: list[str],
    progress: Callable[[int], None] | None,
) -> dict[str, Any]:
    """Append the frames of each clip and return the header's lists."""
    columns: dict[str, list] = {
        key: [] for key in ("starts", "lengths", "rates", "labels", "content_ids", "names")
    }
    total = 0
    for index, source in enumerate(clips.sources):
        try:
            frames, fps = clips.read(index)
        except VidgenError as error:
            if not skip_broken:
                raise
            skipped.append(str(error))
        else:
            file.write(np.ascontiguousarray(frames).data)
            row = (total, len(frames), fps, source.label, source.content_id, source.name)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            total += len(frames)
        if progress is not None:
            progress(index + 1)
    if total == 0:
        raise VidgenError(f"None of the {len(clips)} clips can be used; the first: {skipped[0]}")
    return {"size": clips.size, "frames": total, "categories": clips.categories, **columns}


def _write_header(file: BinaryIO, header: dict[str, Any]) -> None:
    place, text = file.tell(), json.dumps(header).encode()
    file.write(text)
    file.seek(0)
    file.write(HEAD.pack(MAGIC, place, len(text)))


def _same_pack(path: Path, fingerprint: str) -> list[str] | None:
    """Return what was skipped in the pack at `path`, or None if its fingerprint is not this one.

    Raises VidgenError for a file that is something else and must not be overwritten.
    """
    try:
        with path.open("rb") as file:
            ours = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise VidgenError(f"{path} cannot be read ({error.strerror}): give another name.") from error
    if not ours:
        raise VidgenError(f"{path} exists and is no pack: give another name or remove it.")
    try:
        header = read_header(path)
    except VidgenError:
        return None
    return header["skipped"] if header["fingerprint"] == fingerprint else None


def _fingerprint(clips: ClipFolder, options: list[Any]) -> str:
    """Hash the options and the content of all files that the pack is made from."""
    told = [VERSION, clips.size, clips.min_frames, clips.fps, clips.categories, options]
    digest = hashlib.sha256(json.dumps(told).encode())
    hashes: dict[Path, bytes] = {}  # several clips may come from one file
    for source in clips.sources:
        digest.update(json.dumps([source.name, source.label, source.content_id]).encode())
        for file in source.files():
            hashes[file] = hashes.get(file) or _file_hash(file)
            digest.update(hashes[file])
    return digest.hexdigest()


def _file_hash(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise VidgenError(
            f"{path} cannot be read ({error.strerror}): allow reading it or remove it."
        ) from error
    return digest.digest()
