"""Videos and contact sheets."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from qsft_robot.datasets import pictures
from qsft_robot.errors import QsftRobotError


def test_video_has_a_frame_for_each_observation(tmp_path, make_episode):
    episode = make_episode(3, 6)
    frames = pictures.video_frames(episode, "title", np.full((6, 3), 0.5))
    assert len(frames) == 7
    assert len({frame.shape for frame in frames}) == 1
    assert len({frame.tobytes() for frame in frames}) == 7
    path = pictures.write_video(tmp_path / "deep" / "video.mp4", frames)
    video = cv2.VideoCapture(str(path))
    read = []
    while (frame := video.read())[0]:
        read.append(frame[1])
    assert len(read) == 7
    assert read[0].shape == frames[0].shape
    difference = np.abs(cv2.cvtColor(read[3], cv2.COLOR_BGR2RGB).astype(int) - frames[3])
    assert difference.mean() < 5


def test_pictures_of_an_episode_without_camera(make_episode):
    episode = make_episode(3, 6)
    del episode.observations["image"]
    assert pictures.camera_keys(episode) == []
    assert len(pictures.video_frames(episode, "title")) == 7
    assert pictures.contact_sheet(episode, "title").ndim == 3


def test_contact_sheet_shows_the_camera(tmp_path, make_episode):
    episode = make_episode(3, 100)
    sheet = pictures.contact_sheet(episode, "title", np.full((100, 3), 0.25), most=12)
    assert (episode.observations["image"][0, 0, 0] == sheet).all(axis=-1).any()
    assert (episode.final_observation["image"][0, 0] == sheet).all(axis=-1).any()
    path = pictures.write_picture(tmp_path / "sheet.png", sheet)
    np.testing.assert_array_equal(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), sheet)


def test_values_change_the_picture(make_episode):
    episode = make_episode(3, 5)
    sheets = [pictures.contact_sheet(episode, "t", values) for values in (None, np.zeros((5, 3)), np.ones((5, 3)))]
    assert len({sheet.tobytes() for sheet in sheets}) == 3


def test_a_container_without_encoder(tmp_path, make_episode):
    with pytest.raises(QsftRobotError, match="contact sheet"):
        pictures.write_video(tmp_path / "video.nonsense", pictures.video_frames(make_episode(1, 1), "t"))
