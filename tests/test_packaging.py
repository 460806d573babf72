"""The wheel holds one package and lives beside others named `datasets` and `agents`; so does a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

#: folders of the checkout -> where they lie in the wheel
layout = {
    "qsft_robot": "qsft_robot",
    "agents": "qsft_robot/agents",
    "sim": "qsft_robot/sim",
    "hardware": "qsft_robot/hardware",
    "datasets": "qsft_robot/datasets",
}
data_endings = (".yaml", ".urdf", ".obj", ".mtl", ".stl", ".html", ".css", ".js")


def call(*words: str | Path, cwd: Path, path: list[Path] | None = None) -> str:
    """Run Python with `words`; returns its standard output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path or []))}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the checkout, so that nothing is left in it."""
    copy = tmp_path_factory.mktemp("source")
    for folder in layout:
        shutil.copytree(root / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(root / file, copy / file)
    target = tmp_path_factory.mktemp("wheel")
    call("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, copy, cwd=target)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel was installed into, without its dependencies."""
    target = tmp_path_factory.mktemp("installed")
    call("-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel, cwd=target)
    return target


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with packages of other people that have the names of our top-level folders."""
    folder = tmp_path_factory.mktemp("neighbours")
    for name in ("datasets", "agents", "sim", "hardware"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("owner = 'somebody else'\n", encoding="utf-8")
    return folder


def test_wheel_holds_one_package(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"qsft_robot"}


def test_wheel_holds_all_of_it(root: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = []
    for folder, place in layout.items():
        for file in (root / folder).rglob("*"):
            if file.suffix == ".py" or file.suffix in data_endings:
                name = f"{place}/{file.relative_to(root / folder).as_posix()}"
                if name not in names:
                    missing.append(name)
    assert not missing, "setup.py finds the packages, package-data in pyproject.toml names the other files"


def test_datasets_is_no_regular_package(root: Path) -> None:
    assert not (root / "datasets" / "__init__.py").exists()


code = (
    "import datasets, qsft_robot, qsft_robot.agents.base, qsft_robot.datasets.episode, qsft_robot.config\n"
    "from qsft_robot.config import TrainConfig, load\n"
    "load(TrainConfig, ['preset=smoke'])\n"
    "print(datasets.owner); print(qsft_robot.__file__); print(qsft_robot.datasets.episode.__file__)"
)


def test_wheel_beside_packages_of_the_same_names(installed: Path, neighbours: Path, tmp_path: Path) -> None:
    for path in ([installed, neighbours], [neighbours, installed]):
        owner, package, episode = call("-c", code, cwd=tmp_path, path=path).splitlines()
        assert owner == "somebody else"
        assert Path(package) == installed / "qsft_robot" / "__init__.py"
        assert Path(episode) == installed / "qsft_robot" / "datasets" / "episode.py"


def test_checkout_beside_packages_of_the_same_names(root: Path, neighbours: Path, tmp_path: Path) -> None:
    for path, cwd in (([root, neighbours], tmp_path), ([neighbours], root)):
        owner, package, episode = call("-c", code, cwd=cwd, path=path).splitlines()
        assert owner == "somebody else"
        assert Path(package) == root / "qsft_robot" / "__init__.py"
        assert Path(episode) == root / "datasets" / "episode.py"


def test_beside_hugging_face_datasets(root: Path, installed: Path, tmp_path: Path) -> None:
    words = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site"), "datasets"]
    fetched = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=120)
    if fetched.returncode != 0:
        pytest.skip("Hugging Face datasets cannot be fetched here: " + fetched.stderr.strip().split("\n")[-1])
    # Its own dependencies are left out, so it is located but not executed.
    imports = "from importlib.util import find_spec; import qsft_robot.datasets.episode"
    find = f"{imports}; print(find_spec('datasets').origin)"
    expected = tmp_path / "site" / "datasets" / "__init__.py"
    for path, cwd in (([installed, tmp_path / "site"], tmp_path), ([tmp_path / "site"], root)):
        assert Path(call("-c", find, cwd=cwd, path=path)) == expected
