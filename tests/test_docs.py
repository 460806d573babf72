"""The documentation is true: its Python runs, its commands are accepted, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

repository = Path(__file__).resolve().parent.parent
pages = sorted([*repository.glob("*.md"), *(repository / "docs").rglob("*.md")])
fence = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Completed = subprocess.CompletedProcess[str]


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of the languages; `<!-- not run -->` above a block leaves it out."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in fence.finditer(text):
        if match[1] in languages and not text[: match.start()].rstrip().endswith("<!-- not run -->"):
            found.append(match[2])
    return found


def commands() -> Iterator[str]:
    """Every `python -m qsft_robot.x ...` of the pages' shell blocks, once."""
    found = {}
    for page in pages:
        for block in blocks(page, "bash", "console", "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.search(r"python -m (qsft_robot\.[^#]*)", line)
                if match and "<" not in match[1]:
                    found[match[1].strip()] = None
    yield from found


@pytest.mark.parametrize("page", [p for p in pages if blocks(p, "python")], ids=lambda p: p.name)
def test_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    source = "\n".join(blocks(page, "python"))
    path = f"import sys; sys.path.insert(0, {str(repository)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", path + source], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", list(commands()))
def test_documented_command_is_accepted(line: str, command: Callable[..., Completed]) -> None:
    import shlex

    name, *words = shlex.split(line)
    if not (repository / "qsft_robot" / f"{name.removeprefix('qsft_robot.')}.py").exists():
        pytest.skip(f"{name} is not built yet")
    done = command(name.removeprefix("qsft_robot."), *words, "--print-config")
    if "sim=pick_plac " in line:
        assert done.returncode == 2
        return
    assert done.returncode == 0, done.stderr


def test_messages_shown_are_the_real_ones(command: Callable[..., Completed]) -> None:
    page = repository / "docs" / "configuration.md"
    (block,) = blocks(page, "console")
    first, _, expected = block.partition("\n")
    done = command(*first.removeprefix("$ python -m qsft_robot.").split())
    assert done.stderr == expected


@pytest.mark.parametrize("page", pages, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = fence.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in pages:
        for block in blocks(page, "bash"):
            for target in re.findall(r"^make ([a-z]+)", block, re.MULTILINE):
                assert target in targets, f"{page.name}: make {target}"
