"""The report of a run: one file with curves, sheets, settings and what it took; and the score it may show."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from safetensors.torch import save_file

from train import mocogan, report, scoring
from train.data.sources import ShapeSource
from vidgen.errors import VidgenError
from vidgen.evaluation.readers import fitted
from vidgen.metrics.features import FORMAT, Judge, JudgeConfig

LINE = (
    "--data shapes --size 32 --batch 4 --base-width 8 --d-width 8 --v-width 8 --content-dim 6 --motion-dim 4"
)
LINE += " --warm-up 2 --bfloat16 false --device cpu --threads 1 --steps 2 --save-every 1 --log-every 1"


class Tags(HTMLParser):
    """Collect the tags of a page and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href") and value]


def test_training_ends_with_a_report_that_needs_no_other_file(tmp_path: Path) -> None:
    assert mocogan.main([*LINE.split(), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    found = Tags()
    found.feed(page)
    assert found.tags.count("svg") >= 4 and found.tags.count("img") == 1
    assert all(link.startswith("data:") for link in found.links)
    sheet = Image.open(io.BytesIO(base64.b64decode(found.links[0].split(",")[1])))
    assert sheet.size == Image.open(tmp_path / "samples-000002.png").size
    for word in ("2 of 2", "images a second", "peak memory", "hardware", "revision", "redraw", "innovation"):
        assert word in page, word


def run_of(folder: Path, lines: list[dict[str, float]], **options: object) -> Path:
    """Write the files of a run."""
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "options.json").write_text(json.dumps(options))
    return folder


def test_the_command_reports_a_run_of_older_code(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run_of(tmp_path, [{"step": 20, "seconds": 36.0, "g<1>": 0.5}], data="<mine>", steps=1000)
    Image.new("RGB", (4, 4)).save(tmp_path / "samples-000020.png")
    (tmp_path / "samples-000040.png").write_bytes((tmp_path / "samples-000020.png").read_bytes()[:30])
    assert report.main([str(tmp_path)]) == 0
    assert "report.html" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "20 of 1,000" in page and "0.01 hours" in page
    assert "&lt;mine&gt;" in page and "<mine>" not in page and "g&lt;1&gt;" in page
    assert page.count("<img") == 1


def test_a_folder_without_a_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert report.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("holds no log of a run: give the folder that --out named.\n")


def test_a_curve_goes_up_where_values_do() -> None:
    drawing = report.curve("g", [(0, 1.0), (50, 3.0), (100, 2.0)])
    points = re.search(r'points="([^"]+)"', drawing).group(1)
    (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, point.split(","))) for point in points.split())
    assert x0 == report.EDGE and x2 == report.WIDTH - report.EDGE and x1 == (x0 + x2) / 2
    assert y0 == report.HEIGHT - report.EDGE and y1 == report.EDGE and y2 == (y0 + y1) / 2
    assert "g: 2 (1 to 3), step 0 to 100" in drawing
    assert "nan" not in report.curve("flat", [(5, 1.0)])


def test_a_long_curve_keeps_its_end() -> None:
    drawing = report.curve("g", [(step, float(step)) for step in range(10_001)])
    assert len(re.search(r'points="([^"]+)"', drawing).group(1).split()) <= report.POINTS + 1
    assert "g: 1e+04 (0 to 1e+04)" in drawing


def test_sheets_are_spread_and_end_with_the_last(tmp_path: Path) -> None:
    run_of(tmp_path, [{"step": 1, "g": 1.0}])
    for step in range(1, 41):
        Image.new("RGB", (2, 2)).save(tmp_path / f"samples-{step:06d}.png")
    report.write(tmp_path)
    steps = re.findall(r"<h3>step (\d+)", (tmp_path / "report.html").read_text())
    assert steps[0] == "40" and steps[-1] == "1" and len(set(steps)) == report.SHEETS


class Real:
    """A generator that gives back what a source draws, so that nothing can be told apart."""

    num_labels, content_dim, motion_dim = 2, 3, 2

    def __init__(self, source: ShapeSource, noise: float) -> None:
        self.source, self.noise, self.draws = source, noise, np.random.default_rng(3)

    def motion_length(self, last_time: float) -> int:
        return 1 + int(last_time)

    def __call__(self, content: torch.Tensor, *_codes: torch.Tensor) -> torch.Tensor:
        video = self.source.batch(self.draws, len(content), 16, 1).video
        return video + self.noise * torch.randn(video.shape)


def test_the_score_of_real_clips_is_the_lowest(tmp_path: Path) -> None:
    path, source = judge_file(tmp_path), ShapeSource(32, 16, count=200)
    scores = []
    for noise in (0.0, 0.3, 1.0):
        average = type("Average", (), {"model": Real(source, noise)})
        options = type("Options", (), {"size": 32, "length": 16})
        members = {"o": options, "source": source, "average": average, "device": torch.device("cpu")}
        scores.append(scoring.open_score(path, type("Trainer", (), members), clips=64)(1))
    assert scores[0] < scores[1] < scores[2]


def judge_file(folder: Path, size: int = 32) -> Path:
    """Write a judge that has seen nothing: its features still tell noise from shapes."""
    torch.manual_seed(0)
    config, path = (
        {"size": size, "width": 8, "dims": 8, "heads": {"category": 2}},
        folder / f"judge{size}.safetensors",
    )
    metadata = {"format": FORMAT, "config": json.dumps(config), "about": "{}"}
    save_file(Judge(JudgeConfig(**config)).state_dict(), path, metadata)
    return path


def test_the_best_weights_are_kept_by_a_judge(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    line = [*LINE.split(), "--out", str(tmp_path / "run"), "--steps", "1"]
    line += ["--judge", str(judge_file(tmp_path))]
    assert mocogan.main(line) == 0
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert "best score" in (tmp_path / "run" / "report.html").read_text()
    again = [*line, "--out", str(tmp_path / "large"), "--size", "64"]
    assert mocogan.main(again) == 0  # averaged down to the judge's size
    assert (tmp_path / "large" / "best.safetensors").is_file()
    other = judge_file(tmp_path, 48)
    assert mocogan.main([*line, "--out", str(tmp_path / "odd"), "--judge", str(other)]) == 2
    assert "judges clips of 48 px; these are of 32 px" in capsys.readouterr().err


@pytest.mark.parametrize(("before", "after"), [(8, 16), (16, 8), (16, 16)])
def test_clips_are_fitted_as_for_a_card(before: int, after: int) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 3, before, before, 3), np.uint8)
    video = rearrange(torch.from_numpy(clips).float() / 127.5 - 1, "n t h w c -> n t c h w")
    found = rearrange(scoring.fitted(video, after).add(1).mul(127.5), "n t c h w -> n t h w c")
    assert np.abs(found.numpy() - fitted(clips, after)).max() <= 0.5 + 1e-3  # bytes are rounded


def test_no_judge_no_score() -> None:
    assert scoring.open_score(None, None) is None
    with pytest.raises(VidgenError, match="nowhere"):
        scoring.open_score(Path("/nowhere.safetensors"), None)
