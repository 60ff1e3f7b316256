"""Scores of translations and the card of a translator: what follows scores high, what does not, low."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from train import cards, evaluate_translation, probes_avatars, recyclegan
from train.data.avatars import FACTORS, RANGES, AvatarClips, scaled
from train.evaluate_translation import measure, open_inputs
from vidgen.checkpoint import save_model
from vidgen.errors import VidgenError
from vidgen.evaluation.readers import read_frames
from vidgen.metrics.features import load_judge
from vidgen.metrics.flow import flow_cells, motion_courses
from vidgen.metrics.translation import correlation, estimate, frame_error, motion_agreement
from vidgen.models.recyclegan import RecycleGAN, RecycleGANConfig
from vidgen.session import Session


class TestScores:
    def test_correlation(self) -> None:
        course = np.array([0.0, 1.0, 0.0, 2.0])
        assert correlation(course, 3 * course + 1) == pytest.approx(1)
        assert correlation(course, -course) == pytest.approx(-1)
        assert correlation(course, np.array([1, 2, 3, 4.0])) == pytest.approx(
            np.corrcoef(course, range(4))[0, 1]
        )
        assert np.isnan(correlation(course, np.ones(4)))

    def test_agreement_leaves_out_what_stands_still_and_blames_what_does_not_follow(self) -> None:
        moving, still = np.array([0.0, 1.0, 0.0]), np.zeros(3)
        found = motion_agreement(
            [{"a": moving}, {"a": moving}, {"a": still}], [{"a": moving}, {"a": still}, {"a": moving}]
        )
        assert np.array_equal(found["a"], [1, 0, np.nan], equal_nan=True)
        least = motion_agreement([{"a": 0.1 * moving}], [{"a": moving}], {"a": 0.2})
        assert np.isnan(least["a"]).all()

    def test_an_estimate_holds_its_mean_and_narrows_with_more_clips(self) -> None:
        values = np.random.default_rng(0).normal(0.5, 0.1, 400)
        few, many = estimate(values[:16]), estimate(values)
        assert few.low < few.mean < few.high and few.clips == 16
        assert many.high - many.low < (few.high - few.low) / 2
        assert many.low < 0.5 < many.high
        assert estimate([np.nan, 1.0, 1.0]).mean == 1 and estimate([np.nan, 1.0]).clips == 1
        assert np.isnan(estimate([np.nan]).mean) and estimate([]).clips == 0

    def test_frame_error_does_not_wrap_around(self) -> None:
        dark, light = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4, 3), 255, np.uint8)
        assert frame_error(dark, light) == frame_error(light, dark) == 255


class TestFlow:
    def test_it_sees_a_texture_move_turn_and_open(self) -> None:
        rng = np.random.default_rng(0)
        grain = np.kron(rng.integers(0, 255, (48, 48)), np.ones((4, 4)))[..., None].repeat(3, -1)
        clip = np.stack([grain[20 + t : 148 + t, 30 - t : 158 - t] for t in range(4)]).astype(np.uint8)
        found = motion_courses(clip)
        assert np.allclose(found["head_x"], 1 / 128, atol=0.002)
        assert np.allclose(found["head_y"], -1 / 128, atol=0.002)
        assert np.allclose(found["roll"], 0, atol=0.01)

    def test_it_follows_the_factors_of_avatars(self) -> None:
        clips = AvatarClips(4, 128, 40, split="test", identities="theo")
        changes = [{name: np.diff(clips.factors(i)[name]) for name in FACTORS} for i in range(4)]
        truth = [{"head_y": c["pitch"], "roll": c["roll"], "mouth": c["mouth_open"]} for c in changes]
        found = motion_agreement(truth, [motion_courses(clips.clip(i)) for i in range(4)])
        assert all(np.mean(values) > 0.6 for values in found.values()), found

    def test_a_still_clip_and_a_single_frame(self) -> None:
        still = np.full((3, 64, 64, 3), 99, np.uint8)
        assert all((course == 0).all() and len(course) == 2 for course in motion_courses(still).values())
        assert all(len(course) == 0 for course in motion_courses(still[:1]).values())
        assert len(flow_cells(still[:1])) == 0 and len(flow_cells(still)) == 2 * 64 * 2


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a reader of avatars for two steps."""
    path = tmp_path_factory.mktemp("reader") / "avatars.safetensors"
    options = ["--steps", "2", "--batch", "4", "--test-clips", "2"]
    assert probes_avatars.main([*options, "--out", str(path)]) == 0
    return path


class TestReader:
    def test_it_says_how_good_it_is(self, reader: Path) -> None:
        judge, about = load_judge(reader)
        assert set(about["test"]) == set(FACTORS) and set(about["characters"]) == {"mia", "theo"}
        assert reader.stat().st_size < 1_000_000
        assert "| yaw | " in reader.with_suffix(".md").read_text()
        assert set(read_frames(judge, np.zeros((3, 128, 128, 3), np.uint8))) == set(FACTORS)

    def test_a_frame_is_read_by_itself(self, reader: Path) -> None:
        judge, clip = load_judge(reader)[0], AvatarClips(1, 64, 3).clip(0)
        together, alone = read_frames(judge, clip), read_frames(judge, clip[1:2])
        assert together["yaw"][1] == pytest.approx(alone["yaw"][0], abs=1e-4)

    def test_targets_span_their_ranges(self) -> None:
        ends = {name: np.array(limits) for name, limits in RANGES.items()}
        assert all(np.allclose(value, [-1, 1]) for value in scaled(ends).values())
        frames, targets = probes_avatars.task(0).train(np.random.default_rng(0), 6)
        assert frames.shape == (6, 1, 64, 64, 3) and targets["smile"].shape == (6, 1, 1)

    def test_mistakes_are_told(self, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert probes_avatars.main(["--steps", "1"]) == 2
        assert "--steps is 1, but must be at least 2" in capsys.readouterr().err
        with pytest.raises(VidgenError, match="frames of 64 px, not 96"):
            read_frames(load_judge(reader)[0], np.zeros((1, 96, 96, 3), np.uint8))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Write tiny untrained translators, from theo to mia: one.safetensors and other.safetensors."""
    config = RecycleGANConfig(size=64, width=4, blocks=1, predictor_width=4, reversible=True)
    card = {"preset": "modern", "options": {"loss": "cycle", "size": 64}, "data": "avatars:theo"}
    card |= {"target": "avatars:mia", "steps": 9, "hours": 0.1, "hardware": "a laptop", "revision": "abc"}
    about = {"data": "translation", "title": "Theo to Mia", "fps": 12.5, "licence": "MIT", "card": card}
    for number, name in enumerate(("one", "other")):
        torch.manual_seed(number)
        save_model(tmp_path / f"{name}.safetensors", RecycleGAN(config).eval(), about)
    return tmp_path / "one.safetensors"


class TestEvaluation:
    def test_the_true_translation_scores_best(self) -> None:
        inputs = open_inputs("avatars:theo", "avatars:mia", 64, 30, 4)
        assert inputs.truth is not None
        best, worst = (measure(inputs, clips, None) for clips in (inputs.truth, inputs.truth[::-1]))
        assert np.mean(best["Error"]) == 0 < np.mean(worst["Error"])
        for title in ("Head, sideways", "Head, up and down", "Flow of the face"):
            assert np.mean(best[title]) > 0.7 and np.mean(best[title]) > np.mean(worst[title]) + 0.2

    def test_a_card_states_what_was_measured(self, weights: Path, reader: Path) -> None:
        other = weights.with_name("other.safetensors")
        options = ["--data", "avatars:theo", "--clips", "3", "--frames", "8", "--reader", str(reader)]
        assert evaluate_translation.main(["--model", str(weights), "--against", str(other), *options]) == 0
        card = weights.with_suffix(".md").read_text()
        heads = "| figure | this model | `other` | gain on `other` | another clip |"
        rows = (
            "| Mouth | ",
            "| Cycle error | ",
            "| Error | ",
            "| yaw | ",
            "the true translation",
            "| 0.25 | ",
        )
        for words in (
            "**Data**: Input: avatars:theo. Output: avatars:mia.",
            heads,
            *rows,
            "--a avatars:theo --b avatars:mia --steps 9",
            "--clips 3 --frames 8",
        ):
            assert words in card
        assert weights.with_suffix(".png").exists()
        (row,) = cards.readme_table(weights.parent)[2:]
        assert row.startswith("| [one](weights/one.md) | MIT | ")

    def test_the_way_back_of_the_run_measures_the_cycle_error(
        self, tmp_path: Path, reader: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sizes = {"size": 64, "width": 4, "blocks": 1, "predictor-width": 4, "d-width": 4, "d-layers": 2}
        words = [f"--{name}={value}" for name, value in sizes.items()]
        words += ["--a=avatars:theo", "--b=avatars:mia", "--steps=2", "--save-every=2", "--threads=1"]
        words += [f"--cache={tmp_path / 'cache'}", "--bfloat16=false"]
        for seed, more in enumerate(([], ["--ema=0"], ["--reversible=true"])):
            run = [f"--out={tmp_path / f'run{seed}'}", f"--seed={seed}", *more]
            assert recyclegan.main([*words, *run]) == 0
        path = tmp_path / "run0" / "model.safetensors"
        options = ["--data=avatars:theo", "--clips=3", "--frames=8", f"--reader={reader}"]
        measure = ["--model", str(path), *options]
        assert evaluate_translation.main(measure) == 0
        assert "| Cycle error |" not in path.with_suffix(".md").read_text()
        assert evaluate_translation.main([*measure, "--run", str(tmp_path / "run0")]) == 0
        card = path.with_suffix(".md").read_text()
        assert "| Cycle error | " in card and "--frames 8 --run runs/NAME" in card
        assert "of the way back that the training run kept" in card
        for run, words in (("run1", "run1 did not train this model"), ("none", "none holds no run")):
            assert evaluate_translation.main([*measure, "--run", str(tmp_path / run)]) == 2
            assert words in capsys.readouterr().err
        session = Session(tmp_path / "run1")
        plain = session.translator("model")  # without an average
        whole = evaluate_translation.with_way_back(plain, tmp_path / "run1")
        frames = AvatarClips(1, 64, 2).clip(0)
        np.testing.assert_array_equal(whole.translate(frames), plain.translate(frames))
        assert whole.back(frames).shape == frames.shape
        with pytest.raises(VidgenError, match="has its own way back"):
            evaluate_translation.with_way_back(
                Session(tmp_path / "run2").translator("model"), tmp_path / "run2"
            )

    def test_mistakes_are_told(
        self, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for options, words in (
            (["--data", "avatars:theo", "--clips", "2"], "--clips is 2, but must be at least 3"),
            (["--data", "avatars:theo", "--blends", "2"], "--blends are [2.0]"),
            (["--data", "avatars:bob"], "unknown character 'bob'"),
            (["--data", str(tmp_path / "no.pack")], "no.pack"),
        ):
            assert evaluate_translation.main(["--model", str(weights), *options]) == 2
            assert words in capsys.readouterr().err
        assert not weights.with_suffix(".md").exists()
