"""Measure the live preview as a visitor meets it: python tests/bench_live.py [--model NAME] [--events 40]

Serves the app, opens it in headless Chromium, and prints JSON: seconds until the page was served;
milliseconds from a slider's event to the first frame of its clip on the canvas; what a drag of two seconds
showed and lost.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent))
from browser import READY, browsing, find_browser, serving

# Moves a native slider as a hand does, an event at a time, and waits for the picture of that value.
EVENTS = """async ([id, count]) => {
  const slider = document.querySelector(`#${id} input[type=range]`);
  const number = Number(id.slice(-1)), times = [];
  for (let i = 0; i < count; i += 1) {
    const value = Math.round((((i * 7) % 60) / 10 - 3) * 20) / 20;
    if (window.vidgen.recipe.directions[number] === value) continue;
    const begin = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    while (window.vidgen.shown.recipe.directions[number] !== value) {
      await new Promise((go) => setTimeout(go, 0));
    }
    times.push(window.vidgen.shown.at - begin);
    await new Promise((go) => setTimeout(go, 60 + (i % 5) * 10));
  }
  return times;
}"""


def measure_events(page, count: int) -> dict[str, float]:
    """Time single events: milliseconds to the picture."""
    times = sorted(page.evaluate(EVENTS, ["direction_0", count]))
    return {
        "events": len(times),
        "median_ms": round(median(times), 1),
        "p90_ms": round(times[int(0.9 * len(times))], 1),
        "worst_ms": round(times[-1], 1),
    }


def measure_drag(page, seconds: float = 2.0) -> dict[str, float | bool]:
    """Drag a slider with the mouse and see whether the last value's picture is the one that stays."""
    box = page.locator("#direction_1 input[type=range]").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] / 2)
    before = page.evaluate("window.vidgen.shown.count")
    page.mouse.down()
    steps = int(seconds * 50)
    for step in range(steps):
        share = abs((2 * step / steps) % 2 - 1)
        page.mouse.move(box["x"] + 10 + (box["width"] - 20) * share, box["y"] + box["height"] / 2)
        page.wait_for_timeout(1000 * seconds / steps - 1)
    page.mouse.up()
    page.wait_for_timeout(1500)
    value = float(page.locator("#direction_1 input[type=range]").input_value())
    shown = page.evaluate("window.vidgen.shown.recipe.directions[1]")
    return {
        "seconds": seconds,
        "moves": steps,
        "pictures": page.evaluate("window.vidgen.shown.count") - before,
        "last_value": value,
        "last_shown": shown,
        "nothing_lost": abs(value - shown) < 1e-6,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; exit code 1 if a value was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="name of a model; the first by default")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--weights", help="folder of weights")
    options = parser.parse_args(argv)
    if not find_browser():
        sys.stderr.write("There is no Chromium on this machine.\n")
        return 2
    more = ["--weights", options.weights] if options.weights else []
    query = f"?n={options.frames}" + (f"&m={options.model}" if options.model else "")
    with serving(*more) as (url, served), sync_playwright() as playwright, browsing(playwright) as page:
        page.goto(url + query)
        page.wait_for_function(READY, timeout=60_000)
        page.wait_for_timeout(2000)
        measure_events(page, 5)  # the first pictures warm caches
        figures = {
            "page_served_s": round(served, 2),
            "size": page.evaluate("window.vidgen.models[window.vidgen.recipe.model].size"),
            "model": page.evaluate("window.vidgen.recipe.model"),
            "frames": options.frames,
            "event_to_picture": measure_events(page, options.events),
            "drag": measure_drag(page),
        }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["drag"]["nothing_lost"] else 1


if __name__ == "__main__":
    sys.exit(main())
