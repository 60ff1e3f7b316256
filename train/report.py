"""Report a run as one HTML file that needs no other: python -m train.report RUN

Curves of all that the log holds, sample sheets, settings, time and hardware. Training writes it at its end;
the command writes it at any time, also while the run goes on.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from train.watching import read_log
from vidgen._clips.files import replacing, reported
from vidgen.errors import VidgenError

NAME = "report.html"
WIDTH, HEIGHT, EDGE = 360, 150, 6  # px of a curve and its margin
POINTS = WIDTH  # of a curve: more cannot be seen
SHEETS = 6
NOT_LOSSES = ("step", "seconds", "processor_seconds")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
.curves { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; }
figcaption { font-variant-numeric: tabular-nums; } svg { background: #f4f4f6; }
polyline { fill: none; stroke: #4338ca; }
td, th { text-align: left; padding: 0 1rem 0 0; vertical-align: top; }
img { max-width: 100%; display: block; }
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a mistake, which is told in one sentence."""
    parser = argparse.ArgumentParser("python -m train.report", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder that --out named")
    options = parser.parse_args(argv)
    try:
        sys.stdout.write(f"{write(options.run)}\n")
    except VidgenError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def write(run: Path) -> Path:
    """Write a run's report into its folder and return its path; raises VidgenError where there is no run."""
    if not (lines := read_log(run)):
        raise VidgenError(f"{run} holds no log of a run: give the folder that --out named.")
    about, options = read_json(run / "run.json"), read_json(run / "options.json")
    title = html.escape(run.resolve().name)
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>",
        _table(_summary(lines, options, about)),
        f'<h2>Curves</h2><div class="curves">{"".join(_curves(lines))}</div>',
        f"<h2>Samples</h2>{''.join(_sheets(run))}",
        f"<h2>Settings</h2>{_table(options)}",
    ]
    path = run / NAME
    with replacing(path) as part, reported(path):
        part.write_text("\n".join(parts), encoding="utf-8")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where there is no file."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise VidgenError(f"{path} cannot be read ({error}): remove it.") from error
    return found if isinstance(found, dict) else {}


def _summary(
    lines: list[dict[str, Any]], options: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Gather what a run took; a run of older code says less."""
    seconds = [line["seconds"] for line in lines if "seconds" in line]
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    peaks = [line["memory_gb"] for line in lines if "memory_gb" in line]
    scores = [(line["score"], line["step"]) for line in lines if "score" in line]
    found = {"steps": f"{lines[-1]['step']:,} of {options.get('steps', lines[-1]['step']):,}"}
    found |= {"time": f"{seconds[-1] / 3600:.2f} hours"} if seconds else {}
    found |= {"images a second": f"{statistics.median(rates):.4g}"} if rates else {}
    found |= {"peak memory": f"{max(peaks):.3g} GB"} if peaks else {}
    found |= {"best score": "{:.4g} at step {:,}".format(*min(scores))} if scores else {}
    return found | dict(about)


def _table(rows: Mapping[str, Any]) -> str:
    cells = (f"<tr><th>{html.escape(str(k))}<td>{html.escape(str(v))}" for k, v in rows.items())
    return f"<table>{''.join(cells)}</table>"


def _curves(lines: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for line in lines for name in line if name not in NOT_LOSSES)
    return [curve(name, [(line["step"], line[name]) for line in lines if name in line]) for name in names]


def curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Draw (step, value) pairs as an SVG, with its range in words."""
    every = -(-len(points) // POINTS)
    shown = [*points[: len(points) - 1 : every], points[-1]]
    (first, last), values = (shown[0][0], shown[-1][0]), [value for _, value in shown]
    low, high = min(values), max(values)
    across, up = (WIDTH - 2 * EDGE) / max(last - first, 1), (HEIGHT - 2 * EDGE) / ((high - low) or 1)
    places = " ".join(
        f"{EDGE + (step - first) * across:.1f},{HEIGHT - EDGE - (value - low) * up:.1f}"
        for step, value in shown
    )
    words = f"{html.escape(name)}: {points[-1][1]:.4g} ({low:.4g} to {high:.4g}), step {first:,} to {last:,}"
    drawing = f'<svg width="{WIDTH}" height="{HEIGHT}"><polyline points="{places}"/></svg>'
    return f"<figure>{drawing}<figcaption>{words}</figcaption></figure>"


def _sheets(run: Path) -> list[str]:
    """Embed a few sample sheets, evenly spread, the last one first; broken ones are left out."""
    found = [path for path in sorted(run.glob("samples-*.png")) if _whole(path)]
    count = min(SHEETS, len(found))
    chosen = [found[-1 - round(i * (len(found) - 1) / max(count - 1, 1))] for i in range(count)]
    return [
        f"<h3>step {int(path.stem.split('-')[1]):,}</h3>"
        f'<img src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        for path in chosen
    ]


def _whole(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
