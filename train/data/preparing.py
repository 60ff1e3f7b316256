"""Many clips decoded at once into shots beside the pack to be, so that a stopped run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from train.data.shots import Plan, Rate, frames_of, shots
from train.data.tars import open_folder, read_index, write_shards
from vidgen._clips.files import check_output, reported
from vidgen.data.folders import ClipFolder, Source
from vidgen.data.pack import Pack, pack
from vidgen.errors import VidgenError


class Shots(ClipFolder):
    """Shots that are decoded already; places: for each, its first frame in its file."""

    def __init__(self, clips: ClipFolder, sources: list[Source], places: list[dict[str, Any]]) -> None:
        super().__init__(sources, clips.categories, clips.size, clips.min_frames, clips.fps)
        self.places = places

    def read(self, index: int) -> tuple[np.ndarray, float]:
        """Give a shot, uint8 [t, h, w, c], and its frames per second."""
        place, frame = self.places[index], self.size**2 * 3
        count, offset = place["frames"] * frame, place["start"] * frame
        pixels = np.fromfile(self.sources[index].path, np.uint8, count, offset=offset)
        return pixels.reshape(-1, self.size, self.size, 3), place["fps"]


def prepare(
    clips: ClipFolder,
    out: Path,
    plan: Plan,
    *,
    test_share: float = 0.1,
    tests: list[str] | None = None,
    jobs: int = 1,
    shards: float = 0,
    progress: Callable[[], object] = lambda: None,
) -> list[str]:
    """Decode clips by `jobs` threads, split them into shots and pack them; nothing is done twice.

    shards: write tar shards of so many MB into the folder `out`, instead of a pack. progress: is called after
    each clip. Returns a sentence for each clip that is left out: broken, too short, or the same as another.
    Raises VidgenError where none is left.
    """
    if shards:
        open_folder(out, shards)
    else:
        check_output(out)
    states = [_state(source) for source in clips.sources]
    rest = [(source.label, source.content_id) for source in clips.sources]
    asked = [states, rest, clips.categories, test_share, tests, *([shards] if shards else [])]
    digest = _digest(asked, plan)
    done, parts = (out.with_name(f".{out.name}.{ending}") for ending in ("done", "parts"))
    if (told := _known(done, digest, out)) is not None:
        return told
    with reported(parts):
        parts.mkdir(exist_ok=True)
    targets = [parts / f"{_digest(state, plan)[:24]}.json" for state in states]
    with ThreadPoolExecutor(jobs) as threads:
        pairs = zip(clips.sources, targets, strict=True)
        futures = [threads.submit(_decode, source, target, plan) for source, target in pairs]
        try:
            for future in as_completed(futures):
                future.result()
                progress()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
    found, told = _gather(clips, targets, plan)
    if shards:
        write_shards(found, out, shards, test_share, tests)
    else:
        pack(found, out, test_share, tests)
    with reported(done):
        done.write_text(json.dumps({"digest": digest, "told": told}))
    shutil.rmtree(parts, ignore_errors=True)
    return told


def _decode(source: Source, target: Path, plan: Plan) -> None:
    """Write a clip's shots and then, whole or not at all, what they are; or what is wrong with the clip."""
    if target.exists():
        return
    with reported(target):
        try:
            about = _write_shots(source.path, target.with_suffix(".bin"), plan)
        except VidgenError as error:
            about = {"error": str(error), "shots": []}
        part = target.with_suffix(".part")
        part.write_text(json.dumps(about))
        os.replace(part, target)


def _write_shots(path: Path, target: Path, plan: Plan) -> dict[str, Any]:
    rate, found, start, longest = Rate(path, plan.fps), [], 0, 0
    plan = replace(plan, cuts=plan.cuts and not rate.still)  # pictures are put together by hand
    with target.open("wb") as file:
        for shot in shots(frames_of(path, plan, rate), plan):
            longest = max(longest, len(shot))
            if len(shot) >= plan.min_frames:
                file.write(shot.data)
                digest = hashlib.sha256(shot.data).hexdigest()
                found.append({"start": start, "frames": len(shot), "hash": digest})
                start += len(shot)
    if not found:
        what = "with a face on" if plan.faces else "without a cut"
        has = f"{longest} frames {what}" if plan.faces or longest < len(rate.times) else f"{longest} frames"
        raise VidgenError(f"{path} has {has}, but {plan.min_frames} are needed.")
    fps = rate.measured()
    return {"error": None, "shots": [shot | {"fps": fps} for shot in found]}


def _gather(clips: ClipFolder, parts: list[Path], plan: Plan) -> tuple[Shots, list[str]]:
    """Collect the shots of all clips, each one once, and say what is left out."""
    sources, places, told, seen = [], [], [], {}
    for source, part in zip(clips.sources, parts, strict=True):
        about = json.loads(part.read_text())
        told += [about["error"]] if about["error"] else []
        for number, shot in enumerate(about["shots"]):
            several = len(about["shots"]) > 1
            name = f"{source.name}#{number + 1}" if several else source.name
            if twin := seen.get(shot["hash"]):
                told.append(f"{name} is the same as {twin}.")
                continue
            seen[shot["hash"]] = name
            content = f"{source.content_id}#{number + 1}" if plan.piece else source.content_id
            sources.append(Source(part.with_suffix(".bin"), name, source.label, content))
            places.append(shot)
    if not sources:
        raise VidgenError(f"None of the {len(clips)} clips can be used; the first: {told[0]}")
    return Shots(clips, sources, places), told


def _state(source: Source) -> list[Any]:
    """Tell the files of a clip as they are now, by size and time."""
    try:
        files = [(str(path.resolve()), path.stat()) for path in source.files()]
    except OSError as error:
        raise VidgenError(f"{source.path} cannot be read ({error.strerror}): allow reading it.") from error
    return [source.name, [[path, found.st_size, found.st_mtime_ns] for path, found in files]]


def _digest(told: list[Any], plan: Plan) -> str:
    return hashlib.sha256(json.dumps([told, asdict(plan)]).encode()).hexdigest()


def _known(done: Path, digest: str, out: Path) -> list[str] | None:
    """Give what was told when the same pack was made; None where it has to be made."""
    try:
        known = json.loads(done.read_text())
        whole = read_index(str(out)) if out.is_dir() else len(Pack(out))
        return known["told"] if known["digest"] == digest and whole else None
    except (OSError, ValueError, KeyError, VidgenError):
        return None
