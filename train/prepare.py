"""Turn videos, frame strips or folders of frames into one pack, or tar shards, to train on.

    python -m train.prepare INPUT --out PACK [--size 64] [--min-frames 16] [--names wave,bend]

INPUT is a folder of videos, animations, frame strips (one image = square frames side by side) or folders of
frames, with a sub-folder for each class, or none; or, with --dataset, a data set of the papers as it comes
(--list-datasets). Videos are split at cuts. What is broken, too short or there twice is left out, and said.
A time-lapse of clouds or water becomes many clips by --windows. --shards writes, instead of a pack, a folder
of tar files, which a trainer reads as a stream; several folders, on several disks, can be one data set.
The same command again goes on where it was stopped, and does nothing if nothing has changed. Which clips are
for testing is decided once, here, by what they show (--group), and stands in the pack.

The Weizmann actions as the authors of MoCoGAN give them are 72 numbered strips in folders 0, 1, 3, 4. Seen
side by side: 0 is a one-hand wave, 1 a two-hand wave, 3 a jumping jack, 4 a bend; each run of eight numbers
is one person (four actions, each followed by its mirror image), though persons 0, 1, 3 and 6 wear other
clothes for the jumping jack. Persons 5 and 6 share a jacket, so 2 and 7 are the better ones to hold out:

    python -m train.prepare actions --out actions.pack --min-frames 32 --group every:8 --tests 2,7 --fps 25 \\
        --names "one-hand wave,two-hand wave,jumping jack,bend"
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from train import command
from train.data import preparing
from train.data.datasets import DATASETS, LPC, described, open_dataset
from train.data.heads import WORD, Heads
from train.data.shots import Plan
from train.data.tars import read_index, write_shards
from train.data.windows import HELD_OUT, Windows
from vidgen.data.folders import LAYOUTS, ClipFolder, open_clips
from vidgen.data.pack import Pack, batches_per_second, pack
from vidgen.errors import VidgenError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 if the pack is there, 2 after a mistake, which is told in one sentence."""
    options = _parser().parse_args(argv)
    return command.run(lambda: prepare(options))


def prepare(options: argparse.Namespace) -> None:
    """Find the clips, pack them and say what there is."""
    if options.input.startswith(WORD):
        prepare_heads(options)
        return
    if options.performances != 1:
        raise VidgenError(f"--performances is about drawn heads: give INPUT as {WORD}random, or drop it.")
    if options.windows:
        prepare_windows(options)
        return
    tests = options.tests
    if options.dataset:
        if options.names or options.group != "stem" or options.layout != "auto":
            raise VidgenError(
                "--dataset knows classes, contents and layout: drop --names, --group, --layout."
            )
        known = DATASETS.get(options.dataset)
        clips, held = open_dataset(
            options.dataset, Path(options.input).expanduser(), options.size, options.min_frames
        )
        tests = tests or held
    else:
        known = None
        clips = open_clips(
            options.input,
            options.size,
            options.min_frames,
            names=options.names,
            group=options.group,
            test_share=options.test_share,
            tests=tests,
            layout=options.layout,
            fps=options.fps,
        )
    plan = Plan(
        size=options.size,
        min_frames=options.min_frames,
        fps=options.fps or clips.fps,
        faces=options.faces or bool(known and known.faces),
        cuts=not options.keep_cuts,
        piece=known.piece if known else 0,
        skip=known.skip if known else 0,
    )
    with tqdm(total=len(clips), desc="decoding", unit="clip", disable=None) as bar:
        told = preparing.prepare(
            clips,
            Path(options.out).expanduser(),
            plan,
            test_share=options.test_share,
            tests=tests,
            jobs=options.jobs,
            shards=options.shards,
            progress=bar.update,
        )
    for sentence in told:
        sys.stderr.write(f"left out: {sentence}\n")
    _report(options, len(told))


def prepare_windows(options: argparse.Namespace) -> None:
    """Pack the windows of one recording and say what there is."""
    if options.dataset or options.faces or options.names or options.tests or options.group != "stem":
        raise VidgenError(
            "--windows cuts up one recording: drop --dataset, --faces, --names, --tests, --group."
        )
    source, share = Path(options.input).expanduser(), options.test_share
    clips = Windows(source, options.size, options.windows, share, options.min_frames, options.fps)
    _write(clips, options, [HELD_OUT] if share else [], "cutting")


def prepare_heads(options: argparse.Namespace) -> None:
    """Draw heads, pack them and say what there is."""
    if options.windows or options.dataset or options.faces or options.names or options.tests:
        raise VidgenError(f"{WORD} draws heads: drop --windows, --dataset, --faces, --names, --tests.")
    name = options.input.removeprefix(WORD)
    clips = Heads(name, options.count, options.size, options.min_frames, options.performances)
    _write(clips, options, clips.tests, "drawing")


def _write(clips: ClipFolder, options: argparse.Namespace, tests: list[str], doing: str) -> None:
    out = Path(options.out).expanduser()
    with tqdm(total=len(clips), desc=doing, unit="clip", disable=None) as bar:
        if options.shards:
            write_shards(clips, out, options.shards, tests=tests, progress=lambda _: bar.update())
        else:
            pack(clips, out, tests=tests, progress=lambda _: bar.update())
    _report(options, 0)


def _report(options: argparse.Namespace, skipped: int) -> None:
    if options.shards:
        _report_shards(options.out, skipped)
    else:
        _report_pack(Pack(options.out), skipped)


def _report_shards(folder: str, skipped: int) -> None:
    index = read_index(str(Path(folder).expanduser()))
    train, test = index["train"], index["test"]
    sys.stdout.write(
        f"{folder}: {train['clips']} clips in {len(train['shards'])} shards, {test['clips']} for testing in "
        f"{len(test['shards'])}, {skipped} left out; {index['size']} px; "
        f"classes: {', '.join(index['categories']) or 'none'}.\n"
    )


def _report_pack(packed: Pack, skipped: int) -> None:
    tests = set(packed.header["test_contents"])
    held = sum(content in tests for content in packed.content_ids)
    classes = ", ".join(packed.categories) or "none"
    length = min(16, int(packed.lengths.min()))
    sys.stdout.write(
        f"{packed.path}: {len(packed)} clips ({held} for testing, {skipped} left out) of "
        f"{packed.lengths.min()} to {packed.lengths.max()} frames at {packed.size} px; "
        f"{len(set(packed.content_ids))} contents; classes: {classes}; "
        f"{batches_per_second(packed, length=length):.0f} batches of 32 clips of {length} frames a second.\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m train.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("input", help="folder of videos, frame strips or folders of frames")
    parser.add_argument("--out", required=True, help="the pack to write, or the folder for shards")
    parser.add_argument(
        "--shards",
        type=float,
        metavar="MB",
        default=0,
        help="write tar files of about so many MB, not a pack",
    )
    parser.add_argument(
        "--dataset", choices=[*DATASETS, LPC[0]], help="INPUT is this data set, in its own layout"
    )
    parser.add_argument(
        "--list-datasets", action=_List, nargs=0, help="say where the papers' data sets are to be had"
    )
    parser.add_argument("--size", type=int, default=64, help="px of a frame's side (64)")
    parser.add_argument("--min-frames", type=int, default=16, help="shorter shots are left out (16)")
    parser.add_argument(
        "--names", type=_listed, help="names of the classes, in the order of their folders: a,b,c"
    )
    parser.add_argument(
        "--group", default="stem", help="what a clip shows: stem, every:K, or a regular expression"
    )
    parser.add_argument("--test-share", type=float, default=0.1, help="share of contents held out (0.1)")
    parser.add_argument("--tests", type=_listed, help="the contents held out, instead of a share: a,b")
    parser.add_argument(
        "--layout", choices=LAYOUTS, default="auto", help="what images are, if they do not tell"
    )
    parser.add_argument(
        "--fps", type=float, help="of strips and frames, which rarely say theirs (12); of videos, at most"
    )
    parser.add_argument("--faces", action="store_true", help="crop to the largest face, which is followed")
    parser.add_argument(
        "--count", type=int, default=400, help="faces to draw where INPUT is avatars:random (400)"
    )
    parser.add_argument(
        "--performances",
        type=int,
        default=1,
        help="clips of each training face among these, with different motions (1)",
    )
    parser.add_argument(
        "--windows",
        type=int,
        metavar="PX",
        help="INPUT is one long recording: cut it into windows of so many px, the lowest ones for testing",
    )
    parser.add_argument("--keep-cuts", action="store_true", help="do not split videos at cuts")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="clips decoded at once (all cores)"
    )
    return parser


class _List(argparse.Action):
    """Print the data sets, and stop."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        sys.stdout.write(described())
        parser.exit()


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
