"""The README's own examples, run as they stand there, from a temporary folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli import environment, only_run, summary

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CONSOLE_SCRIPT = Path(sys.executable).parent / "snnrun"


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def write_files(text: str, folder: Path) -> None:
    """Every "`path`:" with a code block below it."""
    for path, content in re.findall(r"`([\w/]+\.\w+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


def run_command(text: str, folder: Path) -> None:
    (command,) = re.findall(r"```bash\n(snnrun .*?)\n```", text, re.DOTALL)
    arguments = [str(CONSOLE_SCRIPT), *shlex.split(command)[1:]]
    result = subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("title", "key", "name"),
    [("A method of your own", "method", "triangle"), ("A data set of your own", "dataset", "bars")],
)
def test_a_component_of_ones_own(title: str, key: str, name: str, tmp_path: Path) -> None:
    text = section(title)
    write_files(text, tmp_path)
    assert sorted(path.suffix for path in tmp_path.rglob("*.*")) == [".py", ".yaml"]
    run_command(text, tmp_path)
    content = summary(only_run(tmp_path))
    assert content[key] == name
    assert content["test"]["acc"] > 0.5


def test_the_example_method_is_short() -> None:
    code = re.findall(r"```(?:python|yaml)\n(.*?)```", section("A method of your own"), re.DOTALL)
    assert sum(bool(line.strip()) for block in code for line in block.splitlines()) <= 15


def test_from_python(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(import snnrun.*?)```", README, re.DOTALL)
    script = code + "import torch\nprint(network(torch.ones(60, 1, 1, 8, 8)).output.s.shape)\n"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert "[60, 1, 10]" in result.stdout


def test_every_option_named_in_the_readme_exists() -> None:
    from snnrun import registry
    from snnrun.config import TrainerOptions

    known = {
        field
        for group in registry.GROUPS
        for name in registry.names(group)
        for field in registry.component(group, name).__dataclass_fields__
    } | set(TrainerOptions.__dataclass_fields__)
    table = section("Groups and options").split("|---|---|---|")[1].split("\n\n")[0]
    for line in table.strip().splitlines():
        group, choices, options = (cell.strip() for cell in line.strip("|").split("|"))
        named = re.findall(r"`(\w+)`", options)
        assert set(named) <= known, line
        if group.strip("`") in registry.GROUPS:
            group = group.strip("`")
            ours = {
                name for name in registry.names(group) if registry.component(group, name).__module__[:7] == "snnrun."
            }
            real = ours | ({"auto"} if group == "loss" else set())  # other tests' plugins are none of ours
            assert set(choices.split(", ")) == real, line


@pytest.mark.parametrize("page", ["README.md", "RESULTS.md"])
def test_links_and_pictures_exist(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        target, _, heading = link.partition("#")
        if target.startswith("http"):
            continue
        assert (ROOT / target).exists(), link
        headings = re.findall(r"^#+ (.*)$", (ROOT / target).read_text(), re.MULTILINE) if heading else []
        assert not heading or heading in {title.lower().replace(" ", "-") for title in headings}, link
