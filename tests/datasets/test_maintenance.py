"""Every kind of damage is noticed and named; repair brings back everything that is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from qsft_robot.datasets import layout
from qsft_robot.datasets.journal import EPISODES_FILE, PENDING_FILE
from qsft_robot.datasets.maintenance import repair, validate
from qsft_robot.datasets.sampler import SegmentSampler
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import QsftRobotError, StoreError

LENGTHS = [5, 9, 3, 12, 2, 7, 4, 6]  # ends: 5, 14, 17, 29, 31, 38, 42, 48; chunks of 8 rows


@pytest.fixture(scope="module")
def original(tmp_path_factory, make_store) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "LARGEST_CHUNK_ROWS", 8)
        path = tmp_path_factory.mktemp("original") / "store.zarr"
        make_store(path, LENGTHS)
        return path


@pytest.fixture
def path(original, tmp_path) -> Path:
    shutil.copytree(original, tmp_path / "store.zarr")
    return tmp_path / "store.zarr"


def flip(file: Path, position: float = 0.5) -> None:
    content = bytearray(file.read_bytes())
    content[int(len(content) * position)] ^= 0xFF
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def write(path: Path, name: str, place, value) -> None:
    """Change values by way of zarr itself, so that the checksum of the chunk is right."""
    array = zarr.open_array(path, path=name, mode="r+")
    values = array[:]
    values[place] = value
    array[:] = values


def edit_metadata(file: Path, change: Callable[[dict], None]) -> None:
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


def rewrite_lines(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    file = path / "journal" / EPISODES_FILE
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


# name, what is done, what kind is found, episodes lost for good
DAMAGE: list[tuple[str, Callable[[Path], None], str, list[int]]] = [
    ("image chunk missing", lambda p: (p / "data/image/c.2.0.0.0").unlink(), "missing chunk", [2, 3]),
    ("image chunk corrupt", lambda p: flip(p / "data/image/c.0.0.0.0"), "corrupt chunk", [0, 1]),
    ("image chunk truncated", lambda p: truncate(p / "data/image/c.5.0.0.0"), "corrupt chunk", [6, 7]),
    ("image chunk empty", lambda p: (p / "data/image/c.5.0.0.0").write_bytes(b""), "corrupt chunk", [6, 7]),
    ("action chunk corrupt", lambda p: flip(p / "data/action/c.4.0", 0.9), "corrupt chunk", [5, 6]),
    ("reward chunk missing", lambda p: (p / "data/reward/c.1").unlink(), "missing chunk", [1, 2]),
    ("final chunk missing", lambda p: (p / "final/state/c.0.0").unlink(), "missing chunk", list(range(8))),
    ("chunks exchanged", lambda p: exchange(p, "c.0.0.0.0", "c.1.0.0.0"), "checksum", [0, 1, 2]),
    ("an action changed", lambda p: write(p, "data/action", (20, 1), 0.5), "checksum", [3]),
    ("NaN in the state", lambda p: write(p, "data/state", (30, 0), np.nan), "not finite", [4]),
    ("NaN in a final state", lambda p: write(p, "final/state", (5, 1), np.nan), "not finite", [5]),
    ("infinity in a reward", lambda p: write(p, "data/reward", 47, np.inf), "not finite", [7]),
    ("column corrupt", lambda p: flip(p / "meta/seed/c.0"), "corrupt chunk", []),
    ("column missing", lambda p: (p / "meta/policy/c.0").unlink(), "missing chunk", []),
    ("column changed", lambda p: write(p, "meta/success", 3, True), "column", []),
    ("ends do not increase", lambda p: write(p, "meta/episode_ends", 3, 10), "episode ends", []),
    ("array metadata missing", lambda p: (p / "data/state/zarr.json").unlink(), "metadata", []),
    ("array metadata damaged", lambda p: truncate(p / "data/image/zarr.json"), "metadata", []),
    (
        "array metadata too short",
        lambda p: edit_metadata(p / "data/image/zarr.json", lambda m: m["shape"].__setitem__(0, 40)),
        "metadata",
        [],
    ),
    (
        "array metadata of another type",
        lambda p: edit_metadata(p / "data/action/zarr.json", lambda m: m.__setitem__("data_type", "float64")),
        "metadata",
        [],
    ),
    ("group metadata missing", lambda p: (p / "zarr.json").unlink(), "metadata", []),
    ("group metadata damaged", lambda p: truncate(p / "zarr.json"), "metadata", []),
    ("journal missing", lambda p: (p / "journal" / EPISODES_FILE).unlink(), "journal", []),
    ("journal line damaged", lambda p: flip(p / "journal" / EPISODES_FILE, 0.6), "journal", []),
    ("journal lines lost", lambda p: rewrite_lines(p, lambda lines: lines[:5]), "journal", []),
    ("journal line in the middle lost", lambda p: rewrite_lines(p, lambda lines: lines[:2] + lines[3:]), "journal", []),
    ("journal line twice", lambda p: rewrite_lines(p, lambda lines: [*lines, lines[0]]), "journal", []),
    ("pending file missing", lambda p: (p / "journal" / PENDING_FILE).unlink(), "journal", []),
]


def exchange(path: Path, one: str, other: str) -> None:
    folder = path / "data" / "image"
    (folder / one).rename(folder / "kept")
    (folder / other).rename(folder / one)
    (folder / "kept").rename(folder / other)


@pytest.mark.parametrize(("name", "damage", "kind", "lost"), DAMAGE, ids=[each[0].replace(" ", "-") for each in DAMAGE])
def test_damage_is_found_and_repaired(path, original, assert_same, name, damage, kind, lost):
    damage(path)
    report = validate(path)
    assert not report.sound
    assert kind in {problem.kind for problem in report.problems}, report.problems
    assert report.lost == lost
    assert report.episodes == len(LENGTHS)

    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    result = repair(path)
    assert result.recovered == len(LENGTHS) - len(lost)
    assert result.backup == path.with_name("store.zarr.damaged")
    kept = {
        path / file.relative_to(result.backup): file.read_bytes()
        for file in result.backup.rglob("*")
        if file.is_file() and file.name != "lock"
    }
    assert kept == {file: content for file, content in before.items() if file.name != "lock"}

    assert validate(path).problems == []
    whole = [index for index in range(len(LENGTHS)) if index not in lost]
    sound, repaired = TrajectoryStore.open(original), TrajectoryStore.open(path, task="toy")
    assert len(repaired) == len(whole)
    for new, old in enumerate(whole):
        assert_same(repaired.episode(new), sound.episode(old))
    with TrajectoryStore.open(path, "r+") as store:
        assert store.append(sound.episode(0)) == len(whole)


@pytest.mark.parametrize("name", [each[0] for each in DAMAGE])
def test_damage_is_never_read_silently(path, original, assert_same, name):
    """Opening or reading a damaged store either is an error that tells about repair, or gives the right data."""
    damage = next(each[1] for each in DAMAGE if each[0] == name)
    damage(path)
    if name in ("chunks exchanged", "an action changed", "column changed", "ends do not increase"):
        return  # values that zarr wrote itself: only validate compares checksums
    sound = TrajectoryStore.open(original)
    message = None
    try:
        store = TrajectoryStore.open(path)
        SegmentSampler([store], batch_size=4)
        episodes = list(store)
    except QsftRobotError as error:
        message = str(error)
    if message is not None:
        assert "repair" in message or "validate" in message or "NaN" in message
        return
    assert len(episodes) == len(sound)
    for one, other in zip(episodes, sound, strict=True):
        assert_same(one, other)


def test_a_sound_store(path):
    report = validate(path)
    assert report.sound
    assert (report.episodes, report.steps, report.notes, report.lost) == (8, 48, [], [])
    result = repair(path)
    assert (result.recovered, result.backup) == (8, None)
    assert [each.name for each in path.parent.iterdir()] == ["store.zarr"]


def test_damage_to_both_copies(path):
    """What no copy tells any more is lost, and named; the rest comes back."""
    rewrite_lines(path, lambda lines: [b"?" + lines[0], *lines[1:]])
    flip(path / "meta/policy/c.0")
    report = validate(path)
    assert report.lost == [0]
    assert repair(path).recovered == 7


def test_repair_to_another_place(path, original):
    flip(path / "data/image/c.0.0.0.0")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    output = path.with_name("repaired.zarr")
    assert repair(path, output).recovered == 6
    assert len(TrajectoryStore.open(output)) == 6
    assert {f: f.read_bytes() for f in path.rglob("*") if f.is_file() and f.name != "lock"} == {
        file: content for file, content in before.items() if file.name != "lock"
    }
    with pytest.raises(StoreError, match="exists already"):
        repair(path, output)


def test_a_second_repair_keeps_both_backups(path):
    for number in (1, 2):
        (path / "data/image/c.0.0.0.0").unlink()
        repair(path)
        assert len([each for each in path.parent.iterdir() if ".damaged" in each.name]) == number


def test_what_cannot_be_validated(tmp_path, path):
    for function in (validate, repair):
        with pytest.raises(StoreError, match="no trajectory store at"):
            function(tmp_path / "absent.zarr")
        with pytest.raises(StoreError, match="no trajectory store"):
            function(tmp_path)
    edit_metadata(path / "zarr.json", lambda metadata: metadata["attributes"].__setitem__("schema_version", 7))
    with pytest.raises(StoreError, match="schema version 7"):
        validate(path)
    with pytest.raises(StoreError, match="schema version 7"):
        repair(path)


def test_a_torn_record_is_a_note(path, original, make_episode, assert_same):
    """What a killed writer leaves is named, and gone once the store is written again."""
    with TrajectoryStore.open(path, "r+") as store:
        store.append(make_episode(8, 3))
        store.append(make_episode(9, 4))
        content = (path / "journal" / PENDING_FILE).read_bytes()
    for size in (len(content) - 1, len(content) - 500, len(content) // 2 + 2):
        shutil.rmtree(path)
        shutil.copytree(original, path)
        (path / "journal" / PENDING_FILE).write_bytes(content[:size])
        report = validate(path)
        assert report.sound
        assert any("episode 9 was being written" in note for note in report.notes)
        store = TrajectoryStore.open(path)
        assert len(store) == 9
        assert_same(store.episode(8), make_episode(8, 3))
    TrajectoryStore.open(path, "r+").close()
    report = validate(path)
    assert (report.sound, report.notes, report.episodes) == (True, [], 9)


def test_a_damaged_pending_record(path, make_episode):
    with TrajectoryStore.open(path, "r+") as store:
        for number in (8, 9, 10):
            store.append(make_episode(number, 3))
        content = bytearray((path / "journal" / PENDING_FILE).read_bytes())
        folded = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    for file, old in folded.items():
        file.write_bytes(old)
    content[len(content) // 2] ^= 0xFF
    (path / "journal" / PENDING_FILE).write_bytes(content)
    with pytest.raises(StoreError, match=r"does not match its checksum.*repair"):
        TrajectoryStore.open(path)
    assert validate(path).lost == [9]
    assert repair(path).recovered == 10
