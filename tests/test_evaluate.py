"""Judges, measurements and cards, on tiny models and made-up data, end to end."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from train import cards, evaluate, judged, mostganv, prepare, probes
from train.data.avatars import AvatarClips, scaled
from train.mocogan import PRESETS, parse
from train.prepare import _parser
from vidgen.checkpoint import save_model
from vidgen.data.folders import open_clips
from vidgen.data.pack import pack
from vidgen.data.sprites import CELLS_PER_CHARACTER, SpriteClips
from vidgen.errors import VidgenError
from vidgen.evaluation import readers, real
from vidgen.evaluation.generators import made
from vidgen.evaluation.measures import Part, Swap, measured
from vidgen.evaluation.readers import open_reader
from vidgen.evaluation.real import SWAPS, open_real
from vidgen.metrics import scores
from vidgen.metrics.features import load_judge
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.recipe import Recipe
from vidgen.video_io import write_clip

SAMPLES = 6
CARD = {
    "preset": "modern",
    "options": {**PRESETS["modern"], "lr_g": 0.5},
    "data": "shapes",
    "steps": 2000,
    "hours": 0.5,
    "hardware": "a laptop",
    "revision": "abc",
    "parameters": 1234,
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Write a tiny untrained model of shapes."""
    torch.manual_seed(0)
    model = MoCoGAN(MoCoGANConfig(base_width=4, num_labels=2))
    about = {"data": "shapes", "title": "Shapes", "categories": ["vertical", "horizontal"], "licence": "MIT"}
    path = tmp_path / "tiny.safetensors"
    save_model(path, model.eval(), about | {"fps": 16, "clip_length": 16, "card": CARD})
    return path


@pytest.fixture
def actions(tmp_path: Path) -> Path:
    """Pack strips of two classes, bright squares that move right or down, by three people."""
    for label, move in enumerate(((0, 1), (1, 0))):
        (tmp_path / "strips" / str(label)).mkdir(parents=True)
        for person in range(3):
            frames = np.zeros((34, 64, 64, 3), np.uint8)
            for t in range(34):
                y, x = 5 + move[0] * t, 5 + move[1] * t
                frames[t, y : y + 9 + person, x : x + 9] = 200
            strip = np.concatenate(list(frames), axis=1)
            Image.fromarray(strip).save(tmp_path / "strips" / str(label) / f"p{person}.png")
    out = tmp_path / "actions.pack"
    pack(open_clips(tmp_path / "strips", 64, 32), out, tests=["p2"])
    return out


class MadeUpSprites(SpriteClips):
    """Characters of noise, so that no sheet is needed."""

    def __init__(self, root: str, cache: Path, count: int = 1, split: str = "train", seed: int = 0) -> None:
        assert (root, cache.name, count > 0, seed) == ("clone", "data", True, 0)
        wear = {"hair": [], "torso": ["torso/plate/chest_male.png"], "feet": []}
        legs = ["red", "teal", "white"] if split == "train" else ["red", "never seen"]
        self.characters = [
            {"body": ["body/male/dark.png"], "legs": [f"legs/pants/male/{colour}_pants_male.png"], **wear}
            for colour in legs
        ]
        shape = (len(legs), CELLS_PER_CHARACTER, 64, 64, 3)
        self.cells = np.random.default_rng(len(legs)).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "SpriteClips", MadeUpSprites)
    monkeypatch.setattr(real, "SpriteClips", MadeUpSprites)


class TestProbes:
    def test_a_judge_is_trained_tested_on_others_and_written(self, actions: Path, tmp_path: Path) -> None:
        out = tmp_path / "probes" / "actions.safetensors"
        options = ["--steps", "30", "--batch", "8", "--test-clips", "16", "--out", str(out)]
        assert probes.main(["actions", "--data", str(actions), *options]) == 0
        judge, about = load_judge(out)
        assert list(judge.config.heads) == ["category"]
        assert about["held_out"] == "contents p2"
        assert about["test"]["category"] > 0.8
        assert "p2" in out.with_suffix(".md").read_text()

    @pytest.mark.usefixtures("sprites")
    def test_a_judge_of_sprites_reads_what_they_wear(self, tmp_path: Path) -> None:
        out, cache = tmp_path / "judge.safetensors", str(tmp_path / "data")
        options = ["--data", "clone", "--cache", cache, "--steps", "2", "--batch", "4", "--test-clips", "9"]
        assert probes.main(["sprites", *options, "--out", str(out)]) == 0
        judge, about = load_judge(out)
        assert about["known"]["legs"] == ["pants/red_pants", "pants/teal_pants", "pants/white_pants"]
        assert about["known"]["torso"] == ["plate/chest"]
        assert (judge.config.heads["category"], judge.config.heads["legs"]) == (20, 3)

    @pytest.mark.usefixtures("sprites")
    def test_targets_say_what_the_clip_shows(self, tmp_path: Path) -> None:
        clips, targets = judged.sprites("clone", tmp_path / "data").test(np.random.default_rng(0), 12)
        assert clips.shape == (12, 16, 64, 64, 3)
        assert set(targets["legs"]) == {0, judged.UNKNOWN}
        assert (targets["category"] == 4 * targets["action"] + targets["direction"]).all()
        assert np.allclose(np.linalg.norm(targets["pose"], axis=-1), 1, atol=1e-5)
        same_pose = np.isclose(targets["pose"], targets["pose"][:, :1], atol=1e-5).all(-1)
        assert ((clips == clips[:, :1]).all((2, 3, 4)) == same_pose).all()

    def test_a_judge_of_heads_reads_faces_and_how_they_move(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(judged, "HEADS", {"train": 6, "test": 3})
        out = tmp_path / "judge.safetensors"
        options = ["--data", "avatars:random", "--steps", "2", "--batch", "4", "--test-clips", "5"]
        assert probes.main(["heads", *options, "--out", str(out)]) == 0
        reader = open_reader("heads", out)
        assert not reader.names_category
        assert load_judge(out)[1]["test_clips"] == 3
        assert list(reader.motion) == ["pose", "mouth", "gaze"]
        assert "category" not in reader.about
        assert reader.read(np.zeros((2, 16, 64, 64, 3), np.uint8))["skin"].shape == (2, 16, 3)

    def test_targets_of_heads_are_what_draws_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(judged, "HEADS", {"train": 2, "test": 4})
        clips, targets = judged.heads("avatars:random", Path()).test(np.random.default_rng(0), 24)
        assert clips.shape == (24, 16, 64, 64, 3)
        corners = clips[:, 0, 2:6, 2:6].mean((1, 2)) / 127.5 - 1
        assert np.corrcoef(corners.ravel(), targets["backdrop"][:, 0].ravel())[0, 1] > 0.9
        assert (targets["backdrop"] == targets["backdrop"][:, :1]).all(), "the backdrop stays"
        courses = [scaled(AvatarClips(4, 64, 32, 1, "test").factors(index)) for index in range(4)]
        yaws = [course["yaw"][::2] for course in courses]
        assert all(any(np.allclose(yaw, known) for known in yaws) for yaw in targets["pose"][..., 0])
        assert np.abs(targets["mouth"]).max() <= 1
        with pytest.raises(VidgenError, match="give --data avatars:random, not faces"):
            judged.heads("faces", Path())

    def test_a_judge_of_shapes_describes_them(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(judged, "SHAPES", {"train": 50, "test": 50})
        monkeypatch.setattr(readers, "PROBES", tmp_path)
        assert open_reader("shapes").extractor is None
        out = tmp_path / "shapes.safetensors"
        options = ["--data", "shapes", "--steps", "2", "--batch", "4", "--test-clips", "5"]
        assert probes.main(["shapes", *options, "--out", str(out)]) == 0
        reader = open_reader("shapes")
        assert reader.extractor is not None
        assert "shapes.safetensors" in reader.about
        clips, targets = judged.shapes("shapes", Path()).test(np.random.default_rng(0), 6)
        assert reader.extractor.features(clips).shape[0] == 6
        measured = reader.read(clips)
        assert (measured["form"] == targets["form"]).mean() > 0.8
        assert np.abs(measured["colour"] / 127.5 - 1 - targets["colour"][:, 0]).max() < 0.1
        assert np.abs(measured["size"] / 64 - (targets["size"][:, 0] + 1) / 8).max() < 0.03
        assert np.abs(targets["position"]).max() < 1
        with pytest.raises(VidgenError, match="give --data shapes, not pack"):
            judged.shapes("pack", Path())

    def test_a_judge_of_clouds_sees_cover_grain_and_drift(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        sky = cv2.GaussianBlur(rng.random((64, 200)).astype(np.float32), (0, 0), 4)
        wide = np.repeat(np.where(sky > np.median(sky), 220, 40).astype(np.uint8)[..., None], 3, -1)
        (tmp_path / "skies").mkdir()
        for kind, step in (("still", 0), ("drifting", 2)):
            starts = [60 - step * index * (index + 30) // 25 for index in range(20)]  # faster and faster
            frames = [wide[:, start : start + 64] for start in starts]
            Image.fromarray(np.concatenate(frames, 1)).save(tmp_path / "skies" / f"{kind}.png")
        packed = tmp_path / "skies.pack"
        pack(open_clips(tmp_path / "skies", 64, 16), packed, tests=["drifting"])
        out = tmp_path / "clouds.safetensors"
        options = ["--data", str(packed), "--steps", "2", "--batch", "4", "--test-clips", "5"]
        assert probes.main(["clouds", *options, "--out", str(out)]) == 0
        reader = open_reader("clouds", out)
        assert (list(reader.content), list(reader.motion)) == (["colour", "cover", "grain"], ["drift"])
        task, found = judged.clouds(str(packed), Path()), {}
        for kind, draw in (("still", task.train), ("drifting", task.test)):
            clips, targets = draw(np.random.default_rng(1), 40)
            assert (clips[:, 0] != clips[:, -1]).any() == (kind == "drifting")
            found[kind] = targets
            assert clips.shape == (40, 16, 64, 64, 3)
            assert np.abs(targets["colour"].mean(-1) - (clips.mean((2, 3, 4)) / 127.5 - 1)).max() < 1e-5
            white = (clips[..., 0] > judged.WHITE).mean((2, 3))
            assert np.abs(targets["cover"][..., 0] - (2 * white - 1)).max() < 1e-5
        assert np.abs(found["still"]["drift"]).max() < 0.01
        drift, order = found["drifting"]["drift"][..., 0].mean(1), found["drifting"]["order"]
        assert 0 < order.mean() < 1
        assert (drift[order == 0] > 0.5).all() and (drift[order == 1] < -0.5).all(), "backwards it goes back"
        for clip, told in zip(
            clips[:8], found["drifting"]["drift"], strict=False
        ):  # as in the picture itself
            np.testing.assert_allclose(told[:-1], judged.cloud_factors(clip[None])["drift"][0, :-1], atol=0.2)
            assert (told[-1] == told[-2]).all()
        sharp = np.full((1, 16, 64, 64, 3), 90, np.uint8)
        sharp[..., ::2, :] = 120
        assert (
            judged.cloud_factors(sharp)["grain"].min() > judged.cloud_factors(sharp * 0 + 90)["grain"].max()
        )

    def test_mistakes_are_told(
        self, actions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert probes.main(["actions", "--data", str(tmp_path / "none.pack")]) == 2
        assert probes.main(["sprites", "--data", str(tmp_path)]) == 2
        assert probes.main(["actions", "--data", str(actions), "--steps", "1"]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 3
        assert "--steps is 1" in told[2]


def test_a_command_names_options_that_the_preset_took_up_later() -> None:
    """A card of before them was trained without."""
    defaults, presets = mostganv.Options(), {"small": {"amplitudes": True, "batch": 8}}
    card = {"preset": "small", "options": {"batch": 8}}
    assert cards.changed_options(card, defaults, presets) == " --amplitudes False"
    card["options"]["amplitudes"] = True
    assert cards.changed_options(card, defaults, presets) == ""
    assert cards.changed_options({"preset": "small"}, defaults, presets) == "", "nothing is known"


class TestEvaluate:
    def test_the_card_states_what_was_measured(self, weights: Path) -> None:
        assert evaluate.main(["--model", str(weights), "--samples", str(SAMPLES), "--seed", "3"]) == 0
        card = weights.with_suffix(".md").read_text()
        for figure in ("MCS", "ACD (colour)", "Swap error of content", "Nearest training clip", "Diversity"):
            assert f"| {figure} |" in card
        assert f"--samples {SAMPLES} --seed 3" in card
        assert "--preset modern --data shapes --steps 2000 --out runs/shapes --lr-g 0.5\n" in card
        assert hashlib.sha256(weights.read_bytes()).hexdigest() in card
        assert "MIT" in card
        assert str(weights.parent) not in card, "a card must not name the author's folders"
        with Image.open(weights.with_suffix(".png")) as sheet:
            assert sheet.width >= cards.SHEET_MOTIONS * cards.SHEET_FRAMES * 64
            assert sheet.height >= cards.SHEET_CONTENTS * 64

    @pytest.mark.usefixtures("sprites")
    def test_a_judged_model_is_set_beside_real_clips(self, tmp_path: Path) -> None:
        judge = tmp_path / "judge.safetensors"
        data = ["--data", "clone", "--cache", str(tmp_path / "data")]
        probes.main(
            ["sprites", *data, "--steps", "2", "--batch", "4", "--test-clips", "9", "--out", str(judge)]
        )
        path = tmp_path / "people.safetensors"
        model = MoCoGAN(MoCoGANConfig(base_width=4, num_labels=20))
        about = {"data": "sprites", "categories": [str(i) for i in range(20)], "licence": "CC BY-SA 3.0"}
        save_model(path, model.eval(), about | {"credit": "the artists"})
        options = ["--judge", str(judge), "--samples", str(SAMPLES)]
        assert evaluate.main(["--model", str(path), *data, *options]) == 0
        card = path.with_suffix(".md").read_text()
        assert "the artists" in card
        assert "The file does not say how it was trained." in card
        assert "--data clone --samples 6" in card
        for figure in ("MCS", "FVD-c", "FVD-c128", "Nearest training clip"):
            (row,) = [line for line in card.splitlines() if line.startswith(f"| {figure} |")]
            assert row.split("|")[3].strip(), f"{figure} has no value of real clips"

    def test_data_that_no_judge_reads_are_compared_by_the_pixel(self, tmp_path: Path) -> None:
        clips = np.random.default_rng(0).integers(256, size=(6, 20, 16, 16, 3), dtype=np.uint8)
        (tmp_path / "sky").mkdir()
        for number, clip in enumerate(clips):
            write_clip(tmp_path / "sky" / f"{number}.gif", clip, 12)
        packed = tmp_path / "sky.pack"
        pack(open_clips(tmp_path / "sky", 16), packed, tests=["0", "1"])
        path = tmp_path / "drawn.safetensors"
        save_model(
            path, MoCoGAN(MoCoGANConfig(size=16, base_width=4)).eval(), {"data": "sky", "licence": "MIT"}
        )
        assert evaluate.main(["--model", str(path), "--data", str(packed), "--samples", "4"]) == 0
        card = path.with_suffix(".md").read_text()
        stated = [line.split("|")[1].strip() for line in card.splitlines() if line.startswith("| ")]
        assert {"Diversity", "Nearest training clip", "Flicker"} <= set(stated)
        assert not {"MCS", "FVD-c", "FVD-c128", "Swap error of content"} & set(stated)

    def test_recorded_clips_are_compared_as_long_as_they_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        packed, path = tmp_path / "heads.pack", tmp_path / "people.safetensors"
        prepare.main(["avatars:random", "--out", str(packed), "--min-frames", "34", "--count", "30"])
        monkeypatch.setattr(real, "WINDOWS", 9)
        about = {"data": "heads", "licence": "MIT"}
        save_model(path, MoCoGAN(MoCoGANConfig(base_width=4)).eval(), about)
        assert evaluate.main(["--model", str(path), "--data", str(packed), "--samples", "24"]) == 0
        card = path.with_suffix(".md").read_text()
        rows = {line.split("|")[1].strip(): line for line in card.splitlines() if line.startswith("| ")}
        assert "the same of clips of 32 frames" in rows["FVD-c32"], "3 clips, 3 windows of each"
        for figure in ("FVD-c", "FVD-c32", "ACD (content)"):
            own, test, train = (float(part.split("±")[0]) for part in rows[figure].split("|")[2:5])
            assert own != test != train
            assert figure == "ACD (content)" or own > train > test > 0, rows[figure]
        for figure in ("Nearest training clip", "Swap error of content"):
            assert [bool(part.strip()) for part in rows[figure].split("|")[2:5]] == [True, True, False]

    @pytest.mark.parametrize(
        ("lengths", "stride", "longest"),
        [([300], 1, 45), ([40] * 32, 1, 33), ([40] * 32, 2, 17), ([8] * 100 + [90], 1, 7), ([100, 9], 1, 0)],
    )
    def test_enough_windows_are_different(self, lengths: list[int], stride: int, longest: int) -> None:
        assert real._longest(np.array(lengths), stride) == longest

    def test_both_splits_have_clips_of_the_greatest_length(self, tmp_path: Path) -> None:
        (tmp_path / "clips").mkdir()
        for name, frames in (("train", 20), ("test", 300)):
            noise = np.random.default_rng(0).integers(256, size=(frames, 16, 16, 3), dtype=np.uint8)
            write_clip(tmp_path / "clips" / f"{name}.gif", noise, 12)
        pack(open_clips(tmp_path / "clips", 16), tmp_path / "a.pack", tests=["test"])
        opened = open_real("noise", str(tmp_path / "a.pack"), tmp_path, 16, 1)
        assert opened.longest == 20, "of the test clip, 45"

    def test_clips_are_compared_longer_than_they_were_trained(self) -> None:
        drawn = real.open_real("shapes", None, Path(), 16, 1)
        assert evaluate.long_length(None, 16) is None
        assert evaluate.long_length(drawn, 16) == evaluate.LONG
        for longest, length in ((15, None), (16, None), (17, 17), (500, evaluate.LONG)):
            assert evaluate.long_length(replace(drawn, longest=longest), 16) == length

    def test_the_table_repeats_the_card(self, weights: Path) -> None:
        evaluate.main(["--model", str(weights), "--samples", str(SAMPLES)])
        card = weights.with_suffix(".md").read_text()
        (stated,) = [line for line in card.splitlines() if line.startswith("| ACD (colour)")]
        table = cards.readme_table(weights.parent)
        assert len(table) == 3
        assert stated.split("|")[2].strip() in table[2]
        assert "[tiny](weights/tiny.md) | MIT" in table[2]

    def test_mistakes_are_told(
        self, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert evaluate.main(["--model", str(tmp_path / "no.safetensors")]) == 2
        assert evaluate.main(["--model", str(weights), "--samples", "1"]) == 2
        assert evaluate.main(["--model", str(weights), "--kind", "weather"]) == 2
        told = capsys.readouterr().err.splitlines()
        for words, line in zip(("no weights file", "--samples is 1", "no judge"), told, strict=True):
            assert words in line
        assert not weights.with_suffix(".md").exists()

    def test_shapes_take_no_data(
        self, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert evaluate.main(["--model", str(weights), "--data", str(tmp_path), "--samples", "2"]) == 2
        assert f"leave out --data {tmp_path}" in capsys.readouterr().err
        assert not weights.with_suffix(".md").exists()
        assert open_real("shapes", "shapes", tmp_path, 16, 1) is not None

    def test_real_shapes_have_the_size_of_the_model(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        path = tmp_path / "small.safetensors"
        model = MoCoGAN(MoCoGANConfig(32, base_width=4, num_labels=2))
        save_model(path, model.eval(), {"data": "shapes", "categories": ["v", "h"], "clip_length": 8})
        assert evaluate.main(["--model", str(path), "--samples", "2"]) == 0
        (row,) = [x for x in path.with_suffix(".md").read_text().splitlines() if "| Nearest training" in x]
        assert "none" not in row
        assert row.split("|")[3].strip(), "no value of real clips"

    @pytest.mark.parametrize("size", [32, 128])
    def test_real_shapes_are_drawn_at_any_size(self, tmp_path: Path, size: int) -> None:
        shapes = open_real("shapes", None, tmp_path, 4, 1, size)
        rng = np.random.default_rng(0)
        drawn = [
            shapes.train(rng, 2),
            shapes.test(rng, 2),
            *shapes.swaps(rng, 2).values(),
            shapes.labelled(rng, 2)[0],
        ]
        assert {chosen.clips().shape for chosen in drawn} == {(2, 4, size, size, 3)}

    @pytest.mark.parametrize(
        ("data", "given", "how"),
        [
            ("shapes", "shapes", "drawn as training goes"),
            ("sprites", "CLONE", "jrconway3/Universal-LPC-spritesheet"),
            ("actions", "actions.pack", "train.prepare STRIPS --out actions.pack"),
            ("clouds", "clouds.pack", "train.prepare FRAMES --out clouds.pack"),
            ("heads", "heads.pack", "train.prepare avatars:random --out heads.pack"),
            ("mine", "mine.pack", "train.prepare"),
        ],
    )
    def test_the_training_command_of_a_card_can_run(self, data: str, given: str, how: str) -> None:
        text = cards._training({**CARD, "data": data, "options": {**PRESETS["modern"], "bfloat16": False}})
        commands = [line for line in text.splitlines() if line.startswith("python -m ")]
        words = shlex.split(commands[0])
        args, options = parse(words[3:])
        assert (args.data, args.preset, args.steps, str(args.out)) == (given, "modern", 2000, f"runs/{data}")
        assert not options.bfloat16
        assert how in text
        if data == "actions":
            made = _parser().parse_args(shlex.split(commands[1])[3:])
            assert (made.out, made.group, made.fps, made.min_frames) == (given, "every:8", 25, 32)
        if data in ("clouds", "heads"):
            made = _parser().parse_args(shlex.split(commands[1])[3:])
            assert (made.out, bool(made.windows)) == (given, data == "clouds")

    def test_only_one_code_changes_in_a_swap_set(self) -> None:
        class Recorder:
            """A session whose clips are the numbers of their recipes."""

            def render_many(self, recipes: list[Recipe]) -> np.ndarray:
                return np.array([(r.content_seed, r.motion_seed, r.category) for r in recipes])

        parts = list(made(Recorder(), Recipe(), 50, 9, np.random.default_rng(0), part=20))
        assert [len(part.base) for part in parts] == [20, 20, 10]
        clips = {name: np.concatenate([part.clips[name] for part in parts]) for name in SWAPS}
        base = clips["base"]
        assert (np.concatenate([part.asked for part in parts]) == base[:, 2]).all()
        same = {name: (clips[name] == base).mean(0) for name in SWAPS}
        assert same["motion"][0] == same["content"][1] == same["content"][2] == 1
        assert same["motion"][1] == same["content"][0] == 0
        assert (same["other"] < 0.3).all()

    def test_real_shapes_swap_without_error(self, tmp_path: Path) -> None:
        reader, shapes = open_reader("shapes"), open_real("shapes", None, tmp_path, 16, 1)
        clips = {name: c.clips() for name, c in shapes.swaps(np.random.default_rng(0), 40).items()}
        found = measured([Part(clips, reader=reader)], [Swap(reader)])[0]
        assert found["Swap error of content"] < 0.05
        assert found["Swap error of motion"] < 0.1
        independent = {**clips, "motion": clips["other"], "content": clips["other"]}
        moved = measured([Part(independent, reader=reader)], [Swap(reader)])[0]
        assert moved["Swap error of motion"] == pytest.approx(1)
        assert scores.diversity(clips["base"]) > 10

    def test_readme_marks_must_be_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cards, "ROOT", tmp_path)
        (tmp_path / "README.md").write_text("no marks")
        assert evaluate.main(["--readme"]) == 2
        begin, end = cards.MARKS
        (tmp_path / "README.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
        assert evaluate.main(["--readme"]) == 0
        text = (tmp_path / "README.md").read_text()
        assert text.startswith(f"before\n{begin}\n| weights |")
        assert text.endswith(f"{end}\nafter\n")
        assert "old" not in text


@pytest.mark.parametrize("path", sorted(cards.WEIGHTS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_a_card_is_of_the_weights_beside_it(path: Path) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() in path.with_suffix(".md").read_text()
