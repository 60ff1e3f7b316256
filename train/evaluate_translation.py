"""Measure a translator and write its card: `python -m train.evaluate_translation --model FILE --data DATA`.

DATA is a pack of `train.prepare` (its test split: people that no training saw) or avatars:NAME (test clips).
Motion is measured in input and output alike by optical flow (`vidgen/metrics/flow.py`) and compared in each
clip. Into avatars, it is read off the output by `weights/probes/avatars.safetensors` as well; from avatars to
avatars, the true motion and the true translation are known. --against measures other models, such as an
ablation, on the same clips. --run names the run that trained FILE, whose way back does not ship: it measures
the cycle error. Written: FILE's card (.md) and contact sheet (.png).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from train import cards, cards_translation, checkpoints
from train.data.avatars import CHARACTERS, RANGES, AvatarClips
from train.data.triplets import AVATARS
from train.probes_avatars import LEAST_SHARE
from vidgen.catalogue import read_header
from vidgen.data.pack import Pack
from vidgen.errors import VidgenError
from vidgen.evaluation.readers import PROBES, read_frames
from vidgen.evaluation.translators import COURSES, WHOLE, Motion, Values, agreement, motion_of
from vidgen.metrics.features import Judge, load_judge
from vidgen.metrics.scores import flicker
from vidgen.metrics.translation import frame_error, motion_agreement
from vidgen.models.recyclegan import RecycleGAN
from vidgen.retarget import Painter, Translator
from vidgen.session import Session
from vidgen.translator import FrameTranslator

# The reader's factor that changes with each course of the flow.
FACTORS = {"head_x": "yaw", "head_y": "pitch", "roll": "roll", "mouth": "mouth_open", "eyes": "blink"}
Courses = dict[str, np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """Clips to translate, uint8 [t, h, w, c] each and all equally long, and what is known of them."""

    clips: list[np.ndarray]
    about: str
    factors: list[Courses] | None = None  # of avatars
    truth: list[np.ndarray] | None = None  # the true translations
    motions: list[Motion] = field(default_factory=list)  # by flow

    def __post_init__(self) -> None:
        self.motions.extend(motion_of(clip) for clip in self.clips)


def open_inputs(data: str, target: str, size: int, frames: int, count: int) -> Inputs:
    """Take clips to measure on: windows of a pack's test split, or an avatar's test clips."""
    if data.startswith(AVATARS):
        return _avatars(data.removeprefix(AVATARS), target.removeprefix(AVATARS), size, frames, count)
    pack = Pack(data, "test")
    if pack.size != size:
        raise VidgenError(f"{data} holds frames of {pack.size} px; the model takes {size}.")
    long = [index for index in range(len(pack)) if pack.lengths[index] >= frames]
    if not long:
        raise VidgenError(f"{data} has no test clip of {frames} frames: give fewer as --frames.")
    people = sorted({pack.content_ids[index] for index in long})
    clips = [
        pack.window(index, int(start), frames)
        for index in long
        for start in _starts(int(pack.lengths[index]), frames, max(count // len(long), 1))
    ]
    return Inputs(clips, f"{len(people)} identities of the test split that no training saw")


def _starts(length: int, frames: int, count: int) -> np.ndarray:
    """Place up to `count` windows evenly, without overlap."""
    count = min(count, length // frames)
    return np.linspace(0, length - frames, count).astype(int)


def _avatars(name: str, target: str, size: int, frames: int, count: int) -> Inputs:
    source = AvatarClips(count, size, frames, split="test", identities=name)
    truth = None
    if target in CHARACTERS:
        true = AvatarClips(count, size, frames, split="test", identities=target)
        truth = [true.clip(i) for i in range(count)]
    clips, factors = ([part(i) for i in range(count)] for part in (source.clip, source.factors))
    return Inputs(clips, f"the avatar {name}, in motions of the test split", factors, truth)


def measure(inputs: Inputs, outputs: list[np.ndarray], reader: Judge | None) -> Values:
    """Measure outputs, uint8 [t, h, w, c] each, against their inputs."""
    values = agreement(inputs.motions, [motion_of(clip) for clip in outputs])
    if reader is not None:
        values |= _read(inputs, [read_frames(reader, clip) for clip in outputs])
    values["Flicker"] = np.array([flicker(clip) for clip in outputs])
    if inputs.truth is not None:
        pairs = zip(outputs, inputs.truth, strict=True)
        values["Error"] = np.array([frame_error(made, true) for made, true in pairs])
    return values


def _read(inputs: Inputs, found: list[Courses]) -> Values:
    """Compare what is read off avatars with the input's factors or, where it shows a person, the change of
    what is read with the input's flow.
    """
    if inputs.factors is not None:
        least = {name: LEAST_SHARE * (high - low) for name, (low, high) in RANGES.items()}
        agreed = motion_agreement(inputs.factors, found, least)
        return {f"Read: {name}": values for name, values in agreed.items()}
    changes = [{flow: np.diff(course[name]) for flow, name in FACTORS.items()} for course in found]
    agreed = motion_agreement([motion.courses for motion in inputs.motions], changes)
    return {f"Read: {FACTORS[flow]}": values for flow, values in agreed.items()}


def with_way_back(translator: FrameTranslator, run: Path) -> FrameTranslator:
    """Complete a translator with the generator back, G_X, of the run that trained it; VidgenError where the
    run trained others.
    """
    if translator.reversible:
        raise VidgenError("This model's file has its own way back: leave out --run.")
    if not checkpoints.exists(run):
        raise VidgenError(f"{run} holds no run: it has no {checkpoints.LAST}.")
    state = checkpoints.load_state(run)["trainer"]
    given = translator.model.state_dict()
    last = {f"forth.{name}": value for name, value in state["g_y"].items()}
    last |= {f"predictor.{name}": value for name, value in state["p_y"].items()}
    if not any(_alike(given, kept) for kept in (state["average"], last)):
        raise VidgenError(f"{run} did not train this model: its weights are others.")
    whole = RecycleGAN(dataclasses.replace(translator.model.config, reversible=True))
    whole.load_state_dict(given | {f"reverse.{name}": value for name, value in state["g_x"].items()})
    return FrameTranslator(whole, str(translator.device))


def _alike(given: dict[str, torch.Tensor], kept: dict[str, torch.Tensor]) -> bool:
    """Tell whether the weights of a file, in half precision, are those of a run."""
    return all(name in kept and torch.equal(value.half(), kept[name].half()) for name, value in given.items())


def measure_model(path: Path, translator: Translator, inputs: Inputs, reader: Judge | None) -> Values:
    """Translate all clips with a model and measure, also the way back where there is one."""
    outputs, errors = [], []
    for clip in tqdm(inputs.clips, desc=path.stem, unit="clip"):
        outputs.append(translator.translate(clip))
        if translator.reversible:
            errors.append(frame_error(translator.back(outputs[-1]), clip))
    values = measure(inputs, outputs, reader)
    if errors:
        values["Cycle error"] = np.array(errors)
    shifted = measure(inputs, outputs[1:] + outputs[:1], None)
    return values | {f"Chance: {title}": shifted[title] for title in (*COURSES.values(), WHOLE)}


def measure_blends(translator: Translator, inputs: Inputs, blends: list[float]) -> dict[float, Values]:
    """Measure outputs that the predictor steadies, with each weight of its frame."""
    found = {}
    for blend in tqdm(blends, desc="blends"):
        found[blend] = measure(
            inputs, [Painter(translator, blend).paint(clip)["result"] for clip in inputs.clips], None
        )
    return found


def evaluate(args: argparse.Namespace) -> None:
    """Measure, then write the card and the contact sheet."""
    for name in ("clips", "frames"):
        if getattr(args, name) < 3:
            raise VidgenError(f"--{name} is {getattr(args, name)}, but must be at least 3.")
    if any(not 0 < blend <= 1 for blend in args.blends):
        raise VidgenError(f"--blends are {args.blends}, but each must be above 0 and at most 1.")
    about = read_header(args.model)["about"]
    target = str(about.get("card", {}).get("target", ""))
    models = [args.model, *args.against]
    translators = {path: Session(path.parent, threads=args.threads).translator(str(path)) for path in models}
    if args.run is not None:
        translators[args.model] = with_way_back(translators[args.model], args.run)
    size = translators[args.model].size
    for path, translator in translators.items():
        if translator.size != size:
            raise VidgenError(f"{path.name} takes {translator.size} px and {args.model.name} {size} px.")
    inputs = open_inputs(args.data, target, size, args.frames, args.clips)
    reader = load_judge(args.reader)[0] if target.startswith(AVATARS) else None
    found = {
        path: measure_model(path, translator, inputs, reader) for path, translator in translators.items()
    }
    marks = {"the input itself": {"Flicker": np.array([flicker(clip) for clip in inputs.clips])}}
    if inputs.truth is not None:
        marks["the true translation"] = measure(inputs, inputs.truth, reader)
    blends = measure_blends(translators[args.model], inputs, args.blends)
    options = cards_translation.Measured(
        inputs.about, args.clips, args.frames, args.data, args.run is not None
    )
    figures = cards_translation.Figures(found, marks, blends, options)
    sheet = cards_translation.contact_sheet(translators[args.model], _shown(args, inputs))
    cards_translation.write_card(args.model, figures, sheet)


def _shown(args: argparse.Namespace, inputs: Inputs) -> list[np.ndarray | Path]:
    """Choose what the contact sheet shows: the clips asked for, else avatars or, of people, only those whose
    licence lets them be shown; never a pack's.
    """
    examples = sorted((cards.WEIGHTS / "examples").glob("*.mp4"))
    return list(args.sheet) or (examples if inputs.factors is None else list(inputs.clips[:3]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a mistake, which is told in one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate_translation", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", type=Path, required=True, help="a translator's weights file")
    parser.add_argument("--data", required=True, help="a pack of train.prepare, or avatars:NAME")
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="models to compare with")
    parser.add_argument("--run", type=Path, help="the run that trained the model: its way back is measured")
    parser.add_argument("--clips", type=int, default=24, help="to measure on, at most (24)")
    parser.add_argument("--frames", type=int, default=60, help="of each clip (60)")
    parser.add_argument("--blends", type=float, nargs="*", default=[0.25, 0.5], help="weights to compare")
    parser.add_argument("--sheet", type=Path, nargs="*", default=[], help="videos that may be shown")
    parser.add_argument("--reader", type=Path, default=PROBES / "avatars.safetensors")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        evaluate(args)
        if args.model.resolve().parent == cards.WEIGHTS:
            cards.write_readme_table()
    except VidgenError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
