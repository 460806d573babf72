"""The adapter to AI2-THOR, against an environment that answers in the form of alfworld 0.4.2's `AlfredThorEnv`.

No frame of AI2-THOR itself is drawn here: that takes a display and its build.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qsft_robot.errors import ConfigurationError, DataError, QsftRobotError
from qsft_robot.sim.household import thor
from qsft_robot.sim.household.games import Game
from qsft_robot.sim.household.tasks import Task
from qsft_robot.sim.household.thor import ThorEngine


class FakeThor:
    """Batched lists, infos by key, frames with blue first, as in alfworld."""

    def __init__(self, config, split):
        self.config, self.split, self.closed, self.steps = config, split, False, 0
        self.json_file_list = []

    def init_env(self, batch_size):
        assert batch_size == 1
        return self

    def get_env_paths(self):
        self.json_file_list = [self.config["dataset"]["eval_ood_data_path"] + "/traj_data.json"]

    def _infos(self, won):
        return {"admissible_commands": [["look", "go to desk 1", "look"]], "won": [won]}

    def reset(self):
        print("Task: on standard output")
        return ["You are in the middle of a room.\n\nYour task is to: put a pen in desk"], self._infos(False)

    def step(self, commands):
        assert isinstance(commands, list)
        if commands == ["crash"]:
            raise RuntimeError("the build ended")
        self.steps += 1
        return ["You arrive at loc 3."], None, [self.steps > 1], self._infos(self.steps > 1)

    def get_frames(self):
        frame = np.zeros((1, 300, 300, 3), np.uint8)
        frame[..., 0] = 255
        return frame

    def close(self):
        self.closed = True


GAME = Game("pick/trial", Task("pick_and_place_simple", "Pen", "Desk"), {}, Path("/data/pick/trial"))


def test_a_game_is_played_through_lists_of_one(capsys):
    made = []
    engine = ThorEngine(lambda config, split: made.append(FakeThor(config, split)) or made[-1])
    turn = engine.begin(GAME)
    assert capsys.readouterr().out == ""
    assert made[0].config["dataset"]["eval_ood_data_path"] == "/data/pick/trial"
    assert turn.commands == ("go to desk 1", "look")
    assert not turn.won
    assert engine.command("go to desk 1").feedback == "You arrive at loc 3."
    assert engine.command("look").won
    frame = engine.picture(turn.scene, 150)
    assert frame.shape == (150, 150, 3)
    assert frame[0, 0].tolist() == [0, 0, 255]
    engine.close()
    assert made[0].closed


def test_failures_are_told():
    engine = ThorEngine(FakeThor)
    with pytest.raises(DataError, match="only games of the official data"):
        engine.begin(Game("train/FloorPlan1/3", GAME.task, {}))
    engine.begin(GAME)
    with pytest.raises(QsftRobotError, match="AI2-THOR failed: RuntimeError: the build ended"):
        engine.command("crash")


def test_without_a_display_the_error_says_so(monkeypatch):
    monkeypatch.setattr(thor, "display_available", lambda: False)
    with pytest.raises(ConfigurationError, match="needs an X server"):
        ThorEngine()
