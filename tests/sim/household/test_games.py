"""Which games there are: generated ones by split, and those of a folder in the official layout."""

from __future__ import annotations

import importlib.util
import json
import random

import pytest

from qsft_robot.errors import ConfigurationError, DataError, MissingExtraError
from qsft_robot.sim.household import wheel
from qsft_robot.sim.household.environment import HouseholdEnv, data_folder
from qsft_robot.sim.household.games import GAME_FILE, TRAJECTORY_FILE, FolderGames, GeneratedGames
from qsft_robot.sim.household.problems import game_of, trajectory_of
from qsft_robot.sim.household.rooms import kind_of, room, room_numbers
from qsft_robot.sim.household.tasks import CHANGES, TASK_TYPES, draw_task, scatter


def test_rooms_of_the_splits_are_disjoint():
    train, seen, unseen = (set(room_numbers(split)) for split in ("train", "seen", "unseen"))
    assert train == seen
    assert not train & unseen
    assert len(train | unseen) == 120


def test_games_keep_to_the_rooms_of_their_split():
    for split in ("train", "seen", "unseen"):
        games = GeneratedGames(split)
        rooms = {int(games.game(number).name.split("FloorPlan")[1].split("/")[0]) for number in range(18)}
        assert rooms <= set(room_numbers(split))


def test_task_types_take_turns():
    games = GeneratedGames("train")
    assert [games.game(number).task.type for number in range(6, 12)] == list(TASK_TYPES)
    few = GeneratedGames("train", ["look_at_obj_in_light", "pick_and_place_simple"])
    assert {few.game(number).task.type for number in range(4)} == {"look_at_obj_in_light", "pick_and_place_simple"}


def test_a_game_follows_from_its_number():
    assert GeneratedGames("train").game(7) == GeneratedGames("train").game(7)
    assert GeneratedGames("train").game(7) != GeneratedGames("train").game(13)
    assert GeneratedGames("seen").game(7).data != GeneratedGames("train").game(7).data
    # With fewer types a number is another game, but still one by itself.
    assert GeneratedGames("train", TASK_TYPES[:2]).game(7) == GeneratedGames("train", TASK_TYPES[:2]).game(7)


def test_a_task_is_possible_and_not_solved_from_the_start():
    for number in range(12):
        here, draw = room(random.Random(number).choice(room_numbers("train"))), random.Random(number)
        things = scatter(here, draw)
        for task_type in TASK_TYPES:
            task = draw_task(here, things, task_type, draw)
            if task is None:
                continue
            alike = [at for each, at in things.items() if kind_of(each) == task.object]
            assert len(alike) >= (2 if task_type == "pick_two_obj_and_place" else 1)
            if not task.lamp:
                assert task.place in {kind_of(each) for each in here.receptacles}
            if task_type not in CHANGES:
                assert task.place not in {kind_of(at) for at in alike}


def test_no_two_receptacles_share_a_pose():
    for number in room_numbers("train")[::7]:
        poses = list(room(number).receptacles.values())
        assert len(set(poses)) == len(poses)
        assert room(number).start not in poses


@pytest.fixture
def folder(tmp_path):
    """A folder in the layout of alfworld-download with two games of each of two types."""
    for number in range(4):
        draw = random.Random(number)
        task_type = ("pick_and_place_simple", "pick_two_obj_and_place")[number % 2]
        while True:
            here = room(draw.choice(room_numbers("unseen")))
            things = scatter(here, draw)
            task = draw_task(here, things, task_type, draw)
            if task is not None:
                break
        place = tmp_path / "json_2.1.1" / "valid_unseen" / f"{task_type}-{task.object}-None-{number}" / "trial_1"
        place.mkdir(parents=True)
        (place / GAME_FILE).write_text(json.dumps(game_of(here, things, task, "x", draw)))
        (place / TRAJECTORY_FILE).write_text(json.dumps(trajectory_of(here, task, "x")))
    return tmp_path


def places(folder):
    return sorted(file.parent for file in folder.rglob(TRAJECTORY_FILE))


def test_an_official_folder_is_found_by_any_of_its_names(folder):
    for path in (folder, folder / "json_2.1.1"):
        for split in ("unseen", "valid_unseen"):
            games = FolderGames(path, split)
            assert len(games) == 4
            assert [games.game(number).task.type for number in range(2)] == [TASK_TYPES[0], TASK_TYPES[5]]
            assert games.game(0) == games.game(4)
    assert len(FolderGames(folder, "unseen", ["pick_two_obj_and_place"])) == 2


def test_what_the_official_loader_leaves_out_is_left_out(folder):
    first, second, third, _ = places(folder)
    (first / GAME_FILE).unlink()
    (second / GAME_FILE).write_text((second / GAME_FILE).read_text().replace('"solvable": true', '"solvable": false'))
    third.rename(third.parent / "trial_movable")
    assert len(FolderGames(folder, "unseen")) == 1


def test_folders_that_are_none_are_refused(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere is not there"):
        FolderGames(tmp_path / "nowhere", "unseen")
    with pytest.raises(ConfigurationError, match="neither json_2\\.1\\.1/train nor train"):
        FolderGames(folder, "train")
    (tmp_path / "train" / "something").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="no playable game"):
        FolderGames(tmp_path, "train")


def test_a_damaged_file_is_named(folder):
    first = places(folder)[0]
    whole = (first / GAME_FILE).read_text()
    (first / GAME_FILE).write_text(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"{first / GAME_FILE} does not say whether it is solvable"):
        FolderGames(folder, "unseen")
    other = places(folder)[1]
    (first / GAME_FILE).write_text(whole.replace('"grammar"', '"grammer"'))
    (other / TRAJECTORY_FILE).write_text("{}")
    games = FolderGames(folder, "unseen")
    by_place = {place: number for number, place in enumerate(games.places)}
    with pytest.raises(DataError, match=f"{first / GAME_FILE} is no ALFWorld game: it lacks grammar"):
        games.game(by_place[first])
    with pytest.raises(DataError, match=f"{other / TRAJECTORY_FILE} does not describe an ALFRED task"):
        games.game(by_place[other])
    (first / GAME_FILE).write_text('"solvable": true, {')
    with pytest.raises(DataError, match=f"{first / GAME_FILE} is damaged"):
        games.game(by_place[first])


def test_the_variable_names_the_folder(monkeypatch, folder):
    monkeypatch.setenv("ALFWORLD_DATA", str(folder))
    assert data_folder(None) == folder
    assert data_folder("generated") is None
    monkeypatch.delenv("ALFWORLD_DATA")
    assert data_folder(None) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "split is 'test', expected one of train, seen, unseen, valid_seen, valid_unseen"),
        ({"task_types": ["pick"]}, "task_types names 'pick', expected some of pick_and_place_simple"),
        ({"task_types": []}, "task_types is empty"),
        ({"text": "short"}, "text is 'short', expected one of engine, notes, pictured"),
        ({"image_size": 8}, "image_size is 8"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"engine": "thor", "data": "generated"}, "engine=thor needs data="),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        HouseholdEnv(**options)


def test_without_the_extra_the_error_names_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "alfworld" else find(name))
    wheel.folder.cache_clear()
    wheel.constants.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"sim=alfworld .* pip install 'qsft_robot\[alfworld\]'"):
            HouseholdEnv(data="generated")
    finally:
        wheel.folder.cache_clear()
