"""Finds the packages; everything else about the distribution stands in pyproject.toml.

The folders at the top level become subpackages of qsft_robot (package-dir in pyproject.toml), which
setuptools' own discovery does not follow: each of their folders that holds Python files is a package here.
"""

import tomllib
from pathlib import Path

from setuptools import setup

root = Path(__file__).resolve().parent
places = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]

packages = {
    ".".join([name, *file.parent.relative_to(root / folder).parts])
    for name, folder in places.items()
    for file in (root / folder).rglob("*.py")
}

setup(packages=sorted(packages))
