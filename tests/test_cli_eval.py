"""python -m vidgen eval: what is asked for is measured, by what is said, or one sentence says why not."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from train import probes
from vidgen import __main__ as cli
from vidgen.checkpoint import save_model
from vidgen.data import sprites
from vidgen.data.folders import open_clips
from vidgen.data.pack import pack
from vidgen.evaluation import command, generators, readers, report, translators
from vidgen.evaluation.measures import Diversity, Frechet, Memorisation, Meters, Part, measured
from vidgen.evaluation.readers import Extractor, fitted, open_i3d, open_reader
from vidgen.evaluation.real import Chosen, averaged, open_real
from vidgen.evaluation.statistics import gaussian_of, user_cache
from vidgen.metrics import scores
from vidgen.metrics.features import Judge, JudgeConfig
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.models.recyclegan import RecycleGAN, RecycleGANConfig
from vidgen.session import Session
from vidgen.video_io import write_clip

SIZE, SAMPLES = 16, 6
Run = Callable[..., tuple[int, str, str]]


class TinyI3D(nn.Module):
    """A detector that is called as the published one: means of colour, and of its change."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        """Describe clips [n, c, t, h, w] in 0..255."""
        if rescale:
            x = 2 * x / 255 - 1
        if resize:
            x = nn.functional.interpolate(x, [x.size(2), 8, 8], mode="trilinear")
        if not return_features:
            return x.mean([1, 2, 3, 4]).unsqueeze(1)
        change = x[:, :, 1:] - x[:, :, :-1]
        return torch.cat([x.mean([2, 3, 4]), change.abs().mean([2, 3, 4])], 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make tiny models, a pack and a detector."""
    folder = tmp_path_factory.mktemp("models")
    for name, seed in (("tiny", 0), ("other", 1)):
        torch.manual_seed(seed)
        model = MoCoGAN(MoCoGANConfig(SIZE, base_width=8, num_labels=2, clip_length=8))
        for value in model.image.parameters():
            value.data.mul_(6)  # new weights draw grey on grey
        save_model(folder / f"{name}.safetensors", model, {"categories": ["a", "b"], "data": "shapes"})
    config = RecycleGANConfig(size=32, width=4, blocks=1, reversible=True)
    save_model(folder / "there.safetensors", RecycleGAN(config), {"title": "There and back"})
    torch.jit.script(TinyI3D()).save(folder / "i3d.pt")
    made_clips(folder / "clips", SIZE)
    pack(open_clips(folder / "clips", SIZE), folder / "clips.pack")
    return folder


def made_clips(folder: Path, size: int, frames: int = 12) -> None:
    """Write four videos of noise that moves."""
    folder.mkdir()
    for index in range(4):
        picture = np.random.default_rng(index).integers(0, 256, (size, size, 3), dtype=np.uint8)
        clip = np.stack([np.roll(picture, t, axis=1) for t in range(frames)])
        write_clip(folder / f"{index}.gif", clip, 12)


@pytest.fixture
def run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Give a function that runs eval in an empty folder: (code, standard output, error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cli, "open_session", lambda device, threads: Session(folder, device, threads))

    def call(*argv: object) -> tuple[int, str, str]:
        code = cli.main(["eval", *(str(word) for word in argv)])
        return code, *capsys.readouterr()

    return call


def report_of(run: Run, *argv: object) -> dict:
    code, _, error = run(*argv, "--json", "out.json")
    assert code == 0, error
    return json.loads(Path("out.json").read_text())


class TestGenerators:
    def test_all_that_can_be_is_measured_and_says_how(self, run: Run) -> None:
        code, text, error = run(
            "--model",
            "tiny",
            "--data",
            "shapes",
            "--samples",
            SAMPLES,
            "--json",
            "out.json",
            "--sheet",
            "n.png",
        )
        assert code == 0, error
        told = json.loads(Path("out.json").read_text())
        figures = told["figures"]
        names = {"ACD (colour)", "MCS", "Swap error of content", "Swap error of motion", "Diversity"}
        assert names | {"Nearest training clip", "Flicker"} <= set(figures)
        assert told["seeds"] == [0, 1, 2]
        assert told["left_out"] == {}
        assert figures["FVD-c"]["extractor"].startswith("shapes.safetensors")
        for name, figure in figures.items():
            assert len(figure["values"]) == 3 and figure["clips"] == SAMPLES, name
            assert figure["real"] is not None and figure["extractor"], name
            assert figure["real_spread"] is not None, name
            assert f"{name}  " in text
        assert figures["Nearest training clip"]["split"] == "train"
        values = figures["Diversity"]["values"]
        assert figures["Diversity"]["mean"] == pytest.approx(np.mean(values))
        assert (
            figures["Diversity"]["spread"] == pytest.approx(np.std(values, ddof=1)) and len(set(values)) == 3
        )
        with Image.open("n.png") as sheet:
            assert sheet.size == (SIZE * 8, SAMPLES * (2 * SIZE + report.GAP) - report.GAP)

    def test_a_judge_reads_and_describes(self, run: Run, folder: Path, tmp_path: Path) -> None:
        heads = {"category": 2, "hat": 3}
        config = JudgeConfig(16, 8, 8, heads, {"pose": 2}, ("hat",), ("category", "pose"))
        about = {"steps": 1, "revision": "a", "test_clips": 1, "held_out": "b", "test": {"category": 0.5}}
        torch.manual_seed(0)
        probes.write_judge(Judge(config), about, tmp_path / "judge.safetensors")
        told = report_of(
            run, "--model", "tiny", "--data", folder / "clips.pack", "--judge", "judge.safetensors",
            "--samples", SAMPLES,
        )  # fmt: skip
        assert told["left_out"] == {}
        for name in ("FVD-c", "ACD (content)", "MCS", "Swap error of motion", "content: hat", "motion: pose"):
            assert told["figures"][name]["extractor"].startswith("judge.safetensors "), name
        assert (told["figures"]["FVD-c"]["split"], told["figures"]["MCS"]["real"]) == ("test", 0.5)
        assert told["figures"]["MCS"]["real_spread"] is None, "the judge's test is one"
        assert told["figures"]["FVD-c"]["mean"] > 0 < told["figures"]["ACD (content)"]["mean"]

    def test_seed_and_samples_are_heeded(self, run: Run) -> None:
        same = ["--model", "tiny", "--data", "shapes", "--metrics", "diversity"]
        first = report_of(run, *same, "--samples", 4)["figures"]["Diversity"]
        again = report_of(run, *same, "--samples", 4)["figures"]["Diversity"]
        later = report_of(run, *same, "--samples", 4, "--seed", 1)["figures"]["Diversity"]
        more = report_of(run, *same, "--samples", 5)["figures"]["Diversity"]
        assert first == again
        assert later["values"][:2] == first["values"][1:] and later["values"][2] not in first["values"]
        assert (first["clips"], more["clips"]) == (4, 5)

    def test_published_fvd_is_of_the_users_detector(self, run: Run, folder: Path) -> None:
        told = report_of(
            run, "--model", "tiny", "--data", folder / "clips.pack", "--i3d", folder / "i3d.pt",
            "--samples", 5, "--metrics", "fvd", "--split", "train", "--lengths", 8, 12,
        )  # fmt: skip
        assert set(told["figures"]) == {"FVD8", "FVD12"}
        for figure in told["figures"].values():
            assert figure["extractor"].startswith("i3d.pt ") and figure["split"] == "train"
            assert figure["mean"] > 0 and figure["clips"] == 5
        told = report_of(
            run, "--model", "tiny", "--data", "shapes", "--i3d", folder / "i3d.pt", "--samples", 2,
            "--metrics", "fvd",
        )  # fmt: skip
        assert set(told["figures"]) == {"FVD16", "FVD128"}

    def test_lengths_that_the_data_do_not_have_are_left_out_unless_asked_for(
        self, run: Run, folder: Path
    ) -> None:
        same = [
            "--model",
            "tiny",
            "--data",
            folder / "clips.pack",
            "--i3d",
            folder / "i3d.pt",
            "--samples",
            2,
        ]
        told = report_of(run, *same)
        assert "no test clip of 128 frames" in told["left_out"]["FVD128"]
        code, _, error = run(*same, "--lengths", 128)
        assert code == 2 and "no test clip of 128 frames" in error

    def test_another_models_figures_within_the_spread_are_a_tie(self, run: Run) -> None:
        same = ["--data", "shapes", "--samples", SAMPLES, "--metrics", "diversity", "mcs"]
        report_of(run, "--model", "other", *same)
        code, text, _ = run("--model", "other", *same, "--seed", 3, "--against", "out.json")
        assert code == 0
        (row,) = [line for line in text.splitlines() if line.startswith("Diversity")]
        assert "  tie  " in row

    def test_a_folder_is_packed_once_and_statistics_are_kept(
        self, run: Run, folder: Path, tmp_path: Path
    ) -> None:
        same = ["--model", "tiny", "--data", folder / "clips", "--i3d", folder / "i3d.pt", "--samples", 3]
        same += ["--metrics", "fvd", "--lengths", 8]
        first = report_of(run, *same, "--cache", "mine")
        kept = sorted((tmp_path / "mine" / "statistics").iterdir())
        assert len(kept) == 3 and len(list((tmp_path / "mine").glob("*.pack"))) == 1
        stamps = [path.stat().st_mtime_ns for path in kept]
        assert report_of(run, *same, "--cache", "mine") == first
        assert [path.stat().st_mtime_ns for path in kept] == stamps
        assert not (tmp_path / "cache").exists()
        report_of(run, *same)
        assert user_cache() == tmp_path / "cache" / "vidgen" and (user_cache() / "statistics").is_dir()

    def test_without_a_network_there_is_no_fvd(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "PROBES", Path("nowhere"))
        code, _, error = run("--model", "tiny", "--data", "shapes", "--metrics", "fvd")
        assert code == 2
        assert "fvd cannot be measured: no network describes clips of shapes" in error

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--samples", 1], "--samples is 1"),
            (["--seed", -1], "--seed is -1"),
            (["--metrics", "beauty"], "has no beauty; of it can be measured: fvd, acd"),
            (["--metrics", "cycle"], "has no cycle"),
            (["--i3d", "none.pt"], "no file none.pt"),
            (["--i3d", "{folder}/clips.pack"], "not a readable TorchScript"),
            (["--i3d", "{folder}/i3d.pt", "--metrics", "mcs"], "leave it out"),
            (["--i3d", "{folder}/i3d.pt", "--lengths", 1], "--lengths has 1 frames"),
            (["--lengths", 16], "give its detector"),
            (["--judge", "none.safetensors"], "no judge none.safetensors"),
            (["--sheet", "a.png", "--metrics", "mcs"], "measure memorisation too"),
            (["--sheet", "no/a.png"], "no folder"),
            (["--json", "no/a.json"], "no folder"),
            (["--against", "none.json"], "is not a report"),
            (["--threads", 0], "cannot be 0 threads"),
            (["--data", "nowhere.pack"], "nowhere.pack does not exist"),
            (["--model", "nobody"], "no model 'nobody'"),
        ],
    )
    def test_mistakes_are_one_sentence(
        self, run: Run, folder: Path, tmp_path: Path, words: list[object], told: str
    ) -> None:
        given = [str(word).format(folder=folder) for word in words]
        code, text, error = run("--model", "tiny", "--data", "shapes", *given)
        assert (code, text, error.count("\n")) == (2, "", 1)
        assert told in error
        assert list(tmp_path.iterdir()) == []

    def test_the_commands_of_the_readme_parse(self) -> None:
        text = (readers.PROBES.parents[1] / "README.md").read_text(encoding="utf-8")
        lines = text.split("<!-- commands: eval -->\n```bash\n")[1].split("```")[0].splitlines()
        assert len(lines) == 4
        for line in lines:
            assert line.startswith("python -m vidgen ")
            assert cli.parse(line.split()[3:]).command == "eval"

    def test_every_metric_is_in_the_help(self, run: Run) -> None:
        _, text, _ = run("--help")
        assert all(f" {name}" in " ".join(text.split()) for name in command.METRICS)


class TestTranslators:
    def test_motion_flicker_and_the_way_back(self, run: Run, tmp_path: Path) -> None:
        made_clips(tmp_path / "faces", 32)
        told = report_of(run, "--model", "there", "--data", "faces", "--samples", 2, "--split", "train")
        figures = told["figures"]
        assert {*translators.COURSES.values(), translators.WHOLE, "Flicker", "Cycle error"} == set(figures)
        assert (
            figures["Flicker"]["real"] > 0 < figures["Flicker"]["real_spread"]
            and len(figures["Cycle error"]["values"]) == 3
        )
        assert figures["Flicker"]["split"] == "train" and figures["Mouth"]["extractor"] == "optical flow"
        few = report_of(
            run,
            "--model",
            "there",
            "--data",
            "faces",
            "--samples",
            2,
            "--metrics",
            "flicker",
            "--split",
            "train",
        )
        assert few["figures"] == {"Flicker": figures["Flicker"]}

    def test_a_perfect_translator_follows_and_a_frozen_one_does_not(self, tmp_path: Path) -> None:
        made_clips(tmp_path / "faces", 32)
        pack(open_clips(tmp_path / "faces", 32), tmp_path / "faces.pack")
        data = translators.Pack(tmp_path / "faces.pack", "train")

        class Copy:
            size = 32

            def translate(self, frames: np.ndarray) -> np.ndarray:
                return frames

            back = translate

        class Frozen(Copy):
            def translate(self, frames: np.ndarray) -> np.ndarray:
                return np.repeat(frames[:1], len(frames), 0)

        good, bad = (translators.measure(one, data, 3)[0].values for one in (Copy(), Frozen()))
        assert np.allclose(good["Head, sideways"], 1) and np.allclose(good[translators.WHOLE], 1)
        assert max(bad["Head, sideways"]) < 0.5 and max(bad["Flicker"]) == 0
        assert good["Cycle error"] == [0, 0, 0] and min(bad["Cycle error"]) > 0

    @pytest.mark.parametrize("flag", ["--i3d", "--judge", "--sheet"])
    def test_options_of_generators_are_refused(self, run: Run, flag: str) -> None:
        code, _, error = run("--model", "there", "--data", "shapes", flag, "a")
        assert code == 2 and f"leave out {flag}" in error


class TestMemory:
    def test_it_does_not_grow_with_the_number_of_clips(self) -> None:
        clip = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
        means = Extractor("means", "", lambda clips: clips.reshape(len(clips), -1)[:, ::97].astype(float))

        def peak(parts: int) -> int:
            def drawn(count: int) -> Iterator[np.ndarray]:
                return (np.stack([np.roll(clip, i * 64 + j) for j in range(64)]) for i in range(count))

            real = scores.Gaussian(means.features(next(drawn(1))))
            kept = [Diversity(), Meters(), Memorisation(drawn(parts)), Frechet("FVD", means, lambda: real)]
            tracemalloc.start()
            measured((Part({"base": clips}) for clips in drawn(parts)), kept)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

        assert peak(24) < 1.1 * peak(8)

    def test_large_clips_come_a_few_at_a_time(self) -> None:
        assert generators.chunk(16, 64) == 64
        assert generators.chunk(128, 256) == 2
        assert generators.chunk(1024, 1024) == 1


class TestReal:
    def test_parts_are_what_is_drawn_at_once(self, tmp_path: Path, folder: Path) -> None:
        for kind, data in (("shapes", "shapes"), ("mine", str(folder / "clips.pack"))):
            real = open_real(kind, data, tmp_path, 8, 1, SIZE)
            for choose in (real.train, real.test):
                chosen = choose(np.random.default_rng(3), 11)
                assert (np.concatenate(list(chosen.parts(4))) == chosen.clips()).all()
                assert len(chosen) == 11
            assert real.content("train") != real.content("test")

    def test_statistics_are_of_all_that_they_depend_on(self, tmp_path: Path) -> None:
        looked = []

        def extractor(key: str) -> Extractor:
            return Extractor(
                "x", key, lambda clips: looked.append(len(clips)) or clips.reshape(len(clips), -1)
            )

        first = Chosen((np.arange(7),), lambda i: np.eye(7)[i])
        other = Chosen((np.arange(7)[::-1],), lambda i: np.eye(7)[i])
        kept = gaussian_of(first, "a", extractor("k"), 4, tmp_path)
        assert looked == [4, 3]
        again = gaussian_of(first, "a", extractor("k"), 4, tmp_path)
        assert looked == [4, 3] and (again.rows == kept.rows).all() and again.count == 7
        for changed in ((other, "a", "k"), (first, "b", "k"), (first, "a", "l")):
            before = len(looked)
            gaussian_of(changed[0], changed[1], extractor(changed[2]), 4, tmp_path)
            assert len(looked) == before + 2
        for path in tmp_path.iterdir():
            path.write_bytes(b"cut short")
        gaussian_of(first, "a", extractor("k"), 4, tmp_path)
        assert len(looked) == 10 and len(list(tmp_path.iterdir())) == 4


class TestReaders:
    def test_clips_are_brought_to_the_judges_size(self) -> None:
        clips = np.zeros((2, 3, 8, 8, 3), np.uint8)
        clips[:, :, ::2] = 200
        assert (fitted(clips, 4) == 100).all()
        assert (fitted(clips, 16)[:, :, ::2, ::2] == clips).all()
        assert fitted(clips, 8) is clips
        with pytest.raises(command.VidgenError, match="reads frames of 5 px, not 8 x 8"):
            fitted(clips, 5)

    def test_the_detector_is_called_as_published(self, folder: Path) -> None:
        clips = np.random.default_rng(0).integers(0, 256, (40, 8, SIZE, SIZE, 3), dtype=np.uint8)
        video = rearrange(torch.from_numpy(clips), "n t h w c -> n c t h w").float()
        expected = TinyI3D()(video, True, True, True).numpy()
        found = open_i3d(folder / "i3d.pt")
        assert np.allclose(found.features(clips), expected, atol=1e-5)
        assert found.ddof == 0

    def test_a_file_that_is_no_detector_is_told(self, tmp_path: Path) -> None:
        torch.jit.script(nn.Identity()).save(tmp_path / "other.pt")
        with pytest.raises(command.VidgenError, match="does not work as the I3D detector"):
            open_i3d(tmp_path / "other.pt").features(np.zeros((1, 8, 16, 16, 3), np.uint8))

    def test_a_judge_without_categories_measures_the_rest(
        self, run: Run, folder: Path, tmp_path: Path
    ) -> None:
        config = JudgeConfig(16, 8, 8, {"hat": 3}, {"pose": 2}, ("hat",), ("pose",))
        about = {"steps": 1, "revision": "a", "test_clips": 1, "held_out": "b", "test": {"hat": 0.5}}
        torch.manual_seed(0)  # some new judges always see the same hat
        probes.write_judge(Judge(config), about, tmp_path / "judge.safetensors")
        told = report_of(
            run, "--model", "tiny", "--data", folder / "clips.pack", "--judge", "judge.safetensors",
            "--samples", SAMPLES,
        )  # fmt: skip
        assert told["left_out"] == {"mcs": "the judge of shapes names no category"}
        assert {"FVD-c", "Swap error of motion", "content: hat"} <= set(told["figures"])

    def test_a_reader_of_single_frames_is_no_judge_of_clips(self) -> None:
        with pytest.raises(command.VidgenError, match="no judge of clips"):
            open_reader("mine", readers.PROBES / "avatars.safetensors")


def figure(mean: float, spread: float, **changes: object) -> report.Figure:
    return {
        "mean": mean,
        "spread": spread,
        "real": 5.0,
        "clips": 9,
        "extractor": "x",
        "split": "test",
    } | changes


class TestTable:
    @pytest.mark.parametrize(
        ("name", "own", "other", "said"),
        [
            ("FVD-c", figure(10, 2), figure(13, 2), "tie"),
            ("FVD-c", figure(10, 1), figure(13, 1), "better"),
            ("MCS", figure(10, 1), figure(13, 1), "worse"),
            ("Diversity", figure(10, 1), figure(13, 1), "better"),
            ("Diversity", figure(1, 1), figure(6, 1), "worse"),
            ("Diversity", figure(1, 1, real=None), figure(6, 1), "differs"),
            ("FVD-c", figure(10, 1), figure(13, 1, clips=8), "another clips"),
            ("FVD-c", figure(10, 1), figure(13, 1, extractor="y"), "another extractor"),
            ("FVD-c", figure(10, 1), figure(13, 1, split="train"), "another split"),
            ("FVD-c", figure(10, 1), figure(13, None), "unknown"),
            ("FVD-c", figure(10, 1), None, ""),
        ],
    )
    def test_a_tie_is_called_one(
        self, name: str, own: report.Figure, other: report.Figure | None, said: str
    ) -> None:
        assert report.compared(name, own, other) == said

    def test_a_report_of_another_kind_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        for text in ("[]", "{", '{"format": "x"}', '{"format": "vidgen-eval-1", "figures": {"a": {}}}'):
            path.write_text(text)
            with pytest.raises(command.VidgenError, match="is not a report"):
                report.read_report(path)


def test_sprites_are_not_blown_up(tmp_path: Path) -> None:
    with pytest.raises(command.VidgenError, match=f"drawn at {sprites.CELL} px; the model draws 128 px"):
        open_real("sprites", "clone", tmp_path, 8, 1, 128)


def test_clips_are_brought_down_by_averaging() -> None:
    clips = np.random.default_rng(0).integers(256, size=(2, 3, 8, 8, 3), dtype=np.uint8)
    assert averaged(clips, 8) is clips
    wanted = clips.reshape(2, 3, 4, 2, 4, 2, 3).astype(float).mean((3, 5))
    np.testing.assert_allclose(averaged(clips, 4), wanted, atol=0.5)
