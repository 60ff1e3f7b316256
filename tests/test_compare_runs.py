"""Presets compared over seeds: the table and the curves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from train import compare, mocogan
from train.compare import Run, draw_curves, main, table
from vidgen.errors import VidgenError
from vidgen.evaluation.report import with_spread

LINE = (
    "--data shapes --size 32 --batch 2 --base-width 8 --d-width 8 --v-width 8 --content-dim 6 --motion-dim 4"
)
LINE += " --warm-up 1 --bfloat16 false --device cpu --threads 1 --steps 1 --log-every 1"


def made_up(preset: str, minutes: float, scores: list[float], seed: int = 0, **figures: float) -> Run:
    each = 60 * minutes / max(len(scores), 1)
    log = [{"step": i, "processor_seconds": i * each, "score": score} for i, score in enumerate(scores, 1)]
    log.append({"step": 9, "processor_seconds": 60 * minutes})
    return Run(Path(), preset, {"steps": 900, "seed": seed}, log, figures)


def test_the_table_has_a_row_for_each_preset() -> None:
    runs = [
        made_up("paper", 10, [], **{"FVD-c": 300.0, "MCS": 0.1}),
        made_up("modern", 12, [], **{"FVD-c": 200.0, "MCS": 0.5}),
        made_up("paper", 12, [], **{"FVD-c": 320.0, "MCS": 0.2}),
    ]
    lines = table(runs).splitlines()
    assert lines[0] == "| preset | runs | steps | processor minutes | MCS | FVD-c |"
    assert lines[2] == "| paper | 2 | 900 | 11.0 ± 1.4 | 15.0% ± 7.1% | 310.0 ± 14.1 |"
    assert lines[3] == "| modern | 1 | 900 | 12.0 | 50.0% | 200.0 |"


def test_scores_stand_at_the_processor_time_before_them() -> None:
    assert made_up("paper", 10, [9.0, 8.0]).curve == [(5.0, 9.0), (10.0, 8.0)]


def test_curves_are_drawn(tmp_path: Path) -> None:
    runs = [made_up("paper", 10, [9.0, 8.0]), made_up("modern", 10, [7.0, 2.0]), made_up("modern", 9, [])]
    draw_curves(runs, tmp_path / "curves.PNG")
    with Image.open(tmp_path / "curves.PNG") as image:
        assert image.width > 300
        assert len(image.convert("RGB").getcolors(image.width * image.height)) > 3
    draw_curves(runs, tmp_path / "curves.svg")
    words = (tmp_path / "curves.svg").read_text()
    assert "<svg" in words
    with pytest.raises(VidgenError, match="no picture"):
        draw_curves(runs, tmp_path / "curves.mp4")
    with pytest.raises(VidgenError, match="train with --judge"):
        draw_curves(runs[2:], tmp_path / "curves.svg")


def test_runs_are_read_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for preset, seed in (("paper", 0), ("modern", 0), ("modern", 1)):
        line = [
            *LINE.split(),
            "--preset",
            preset,
            "--seed",
            str(seed),
            "--out",
            str(tmp_path / f"{preset}{seed}"),
        ]
        assert mocogan.main(line) == 0
    runs = [str(path) for path in sorted(tmp_path.iterdir())]
    capsys.readouterr()
    assert main([*runs, "--samples", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [["| modern", "2"], ["| paper", "1"]]
    assert "Swap error of content" in lines[0]
    options = tmp_path / "paper0" / "options.json"
    options.write_text(json.dumps(json.loads(options.read_text()) | {"steps": 2}))
    assert main([*runs, "--samples", "2"]) == 2
    assert "is at step 1 of 2: let it end first" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert main([*runs[:2], "--curves", "a.mp4"]) == 2
    assert "no picture" in capsys.readouterr().err


def test_only_like_runs_are_compared() -> None:
    compare.check_alike([made_up("paper", 1, []), made_up("paper", 1, [], 1), made_up("modern", 1, [])])
    with pytest.raises(VidgenError, match="the same seed"):
        compare.check_alike([made_up("paper", 1, []), made_up("paper", 2, [])])
    other = made_up("paper", 1, [], 1)
    other.options["steps"] = 901
    with pytest.raises(VidgenError, match="another steps"):
        compare.check_alike([made_up("paper", 1, []), other])


@pytest.mark.parametrize(
    ("options", "line", "told"),
    [
        ({"preset": "paper", "steps": 1, "a": "x"}, {"step": 1}, "translators are not compared"),
        ({"preset": "paper", "steps": 1, "data": "x"}, {"step": 1}, "did not log the processor's time"),
    ],
)
def test_other_runs_are_refused(tmp_path: Path, options: dict, line: dict, told: str) -> None:
    (tmp_path / "options.json").write_text(json.dumps(options))
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(VidgenError, match=told):
        compare.read_run(tmp_path)


def test_the_spread_of_one_run_is_not_claimed() -> None:
    assert with_spread("{:.1f}", [2.0]) == "2.0"
    assert with_spread("{:.1f}", [2.0, 2.0]) == "2.0 ± 0.0"
    assert with_spread("{:.1f}", []) == ""
