"""Hold together what no single file can: pins, front matter, README commands, import rules, cards."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vidgen import __main__ as cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WEIGHTS = sorted((ROOT / "weights").glob("*.safetensors"))
PYTHONS = {"3.10", "3.11", "3.12"}
ZERO_GPU_TORCH = "torch>=2.8,<2.12"
ZERO_GPU_PYTHONS = {"3.10", "3.12"}
SIZE_LIMIT = 10_000_000  # bytes; above this a Space wants git LFS


def front_matter() -> dict[str, Any]:
    """Parse the README's head as a Space does."""
    return yaml.safe_load(README.split("---\n")[1])


def requirements() -> dict[str, str]:
    """Map each required package to its whole line."""
    lines = [line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    return {re.split(r"[<>=!~\[]", line)[0]: line for line in lines if line and not line.startswith("#")}


def fenced(marker: str) -> list[str]:
    """List the lines of the README's code block after a marker comment."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", README, re.S)
    assert found, f"README.md has no block marked {marker!r}"
    return found.group(1).strip().splitlines()


def tracked() -> list[Path]:
    """List the files of the repository that git tracks; skip outside a clone."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git clone, so there is no list of tracked files")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_the_space_runs_the_pinned_gradio() -> None:
    head = front_matter()
    assert head["sdk"] == "gradio"
    assert requirements()["gradio"] == f"gradio=={head['sdk_version']}"


def test_the_space_runs_where_zero_gpu_does() -> None:
    assert front_matter()["python_version"] in ZERO_GPU_PYTHONS
    assert requirements()["torch"] == ZERO_GPU_TORCH


def test_front_matter_is_complete() -> None:
    head = front_matter()
    assert (ROOT / head["app_file"]).is_file()
    assert head["license"] == PROJECT["project"]["license"].lower() == "mit"
    assert isinstance(head["models"], list)
    assert len(head["short_description"]) <= 60, "a Space refuses a longer description"


def test_every_claimed_python_is_declared() -> None:
    classifiers = PROJECT["project"]["classifiers"]
    assert {name.rpartition(" ")[2] for name in classifiers if "Python :: 3." in name} == PYTHONS
    assert PROJECT["project"]["requires-python"].startswith(">=3.10")
    assert set(re.findall(r"\b3\.1\d\b", README.split("## Start")[1].split("<!--")[0])) == PYTHONS


@pytest.mark.parametrize(("marker", "last"), [("serve", "app.py"), ("test", "-m pytest")])
def test_the_two_commands_do_all_the_setup(marker: str, last: str) -> None:
    (line,) = fenced(f"command: {marker}")
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert line.endswith(f".venv/bin/python {last}")


def test_ci_reads_the_test_command_from_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "<!-- command: test -->" in script
    assert "pip install" not in script


def test_readme_modules_exist() -> None:
    commands = fenced("commands: cli") + fenced("commands: train") + fenced("commands: evaluate")
    modules = {name for line in commands for name in re.findall(r"python -m ([\w.]+)", line)}
    assert modules >= {"vidgen", "train.mocogan", "train.evaluate"}
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_readme_library_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\n".join(fenced("code: library"))
    assert len([line for line in code.splitlines() if line]) == 5
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "clip.mp4").stat().st_size > 0


def test_readme_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in fenced("commands: cli"):
        program, module, name, *options = shlex.split(line)[1:]
        assert (program, module) == ("-m", "vidgen")
        if name != "bench":  # that takes its time, and has its own test
            assert cli.main([name, *options]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "grid.gif"}


def test_readme_retarget_commands_parse() -> None:
    for line in fenced("commands: retarget"):
        program, module, *words = shlex.split(line)[1:]
        assert (program, module) == ("-m", "vidgen")
        assert cli.parse(words).command == "retarget"


def test_licence_is_mit() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n")
    assert "WITHOUT WARRANTY OF ANY KIND" in text


def test_import_rules_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def imports_of(path: Path) -> set[str]:
    """Collect the dotted names that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_the_app_speaks_to_models_through_the_session_only() -> None:
    forbidden = ("torch", "train", "vidgen.models", "vidgen.checkpoint", "vidgen.layers", "vidgen.sampling")
    names = imports_of(ROOT / "app.py")
    assert not [name for name in names for bad in forbidden if name == bad or name.startswith(f"{bad}.")]


def test_top_level_holds_nothing_else() -> None:
    allowed = {"app.py", "vidgen", "weights", "train", "tests", "requirements.txt", "README.md"}
    allowed |= {"pyproject.toml", "LICENSE", "CHANGELOG.md"}
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= allowed


def test_no_file_needs_lfs() -> None:
    heavy = [path.name for path in tracked() if path.stat().st_size > SIZE_LIMIT]
    assert not heavy


def test_the_default_weights_ship() -> None:
    assert {path.stem for path in WEIGHTS} >= {"mocogan-sprites", "mocogan-shapes", "mocogan-actions"}


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_every_weight_has_a_card(path: Path) -> None:
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for word in ("Licence", "Data", "sha256", "train.evaluate", "Limits"):
        assert word in card, f"{path.stem}.md says nothing of {word}"
    assert path.with_suffix(".png").is_file(), "the contact sheet is missing"
    assert path.stem in README.split("<!-- weights: begin -->")[1].split("<!-- weights: end -->")[0]
