"""Measure retargeting as a user meets it: python tests/bench_retarget.py [--model NAME] [--memory]

Makes films of a talking face and prints JSON. For each picture size: frames a second of the whole path
(decode, follow the face, crop, translate, encode), with and without the translator's work, and milliseconds
of processor time a frame. Without a model a stand-in takes --cost milliseconds a frame. With --memory: the
peak memory of a long film against a short one, each in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

# Before numpy and torch: idle threads that spin take the other core away.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from films import Inverter, peak_memory, talking, write_film

from vidgen.retarget import RetargetOptions, Translator, retarget
from vidgen.session import Session

SIZES = ((640, 480), (1280, 720), (1920, 1080))
RATE = 25
BUFFER = bytes(2**18)


class StandIn(Inverter):
    """Take so many milliseconds of one core for each frame, without holding Python's lock."""

    def __init__(self, size: int, cost: float) -> None:
        super().__init__(size)
        self.cost = cost

    def translate(self, frames: np.ndarray) -> np.ndarray:
        end = time.perf_counter() + len(frames) * self.cost / 1000
        while time.perf_counter() < end:
            hashlib.sha256(BUFFER).digest()
        return super().translate(frames)


def make_film(path: Path, width: int, height: int, seconds: float) -> Path:
    """Write a film with sound, by repeating four seconds as often as needed."""
    piece = write_film(path.with_stem("piece"), talking(4 * RATE, height, width, height * 3 // 4))
    with av.open(str(path), "w") as target:
        with av.open(str(piece)) as source:
            stream = target.add_stream_from_template(source.streams.video[0])
            base = source.streams.video[0].time_base
        for repeat in range(round(seconds / 4)):
            with av.open(str(piece)) as source:
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts += round(4 * repeat / base)
                        packet.dts += round(4 * repeat / base)
                        packet.stream = stream
                        target.mux(packet)
    piece.unlink()
    return path


def measure_speed(translator: Translator, film: Path, runs: int) -> dict[str, float]:
    """Retarget a film some times and keep the best: frames a second, processor milliseconds a frame."""
    best, least = 0.0, float("inf")
    for _ in range(runs):
        begin = time.process_time()
        report = retarget(translator, film, film.with_name("out.mp4"), RetargetOptions(crop="auto"))
        best = max(best, report.frames_per_second)
        least = min(least, (time.process_time() - begin) / report.frames)
    return {"frames_per_second": round(best, 1), "processor_ms": round(1000 * least, 2)}


def measure_sizes(translator: Translator, seconds: float, runs: int) -> dict[str, dict]:
    """Measure the whole path, and the same with a translator that costs nothing, for each size."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for width, height in SIZES:
            film = make_film(Path(folder) / f"{height}.mp4", width, height, seconds)
            figures[f"{width}x{height}"] = {
                "whole": measure_speed(translator, film, runs),
                "around_the_model": measure_speed(Inverter(translator.size), film, runs),
            }
    return figures


def measure_memory(options: argparse.Namespace) -> dict[str, float]:
    """Return the peaks of a short and a long film in MiB, and their ratio."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (options.short, options.long):
            film = make_film(Path(folder) / f"{seconds}.mp4", 320, 240, seconds)
            more = ["--model", options.model] if options.model else []
            command = [sys.executable, __file__, "--peak", str(film), *more]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[f"{seconds} s"] = round(int(done.stdout) / 1024, 1)
    short, long = peaks.values()
    return {"peak_MiB": peaks, "ratio": round(long / short, 3)}


def translator_of(options: argparse.Namespace) -> Translator:
    """Load the named translator with two threads, or make the stand-in."""
    if options.model:
        return Session(threads=options.threads).translator(options.model)
    return StandIn(128, options.cost)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="name of a translator; without it a stand-in")
    parser.add_argument("--cost", type=float, default=20, help="ms a frame that the stand-in takes")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="compare a long film with a short one")
    parser.add_argument("--short", type=int, default=12, help="seconds of the short film")
    parser.add_argument("--long", type=int, default=600, help="seconds of the long film")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    translator = translator_of(options)
    if options.peak:
        retarget(
            translator if options.model else Inverter(128), options.peak, options.peak.with_name("out.mp4")
        )
        sys.stdout.write(f"{peak_memory()}\n")
        return 0
    figures = (
        measure_memory(options)
        if options.memory
        else measure_sizes(translator, options.seconds, options.runs)
    )
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
