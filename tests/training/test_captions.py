"""Pictures and what their captions teach of them."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from accelerate import Accelerator

from qsft_robot.algorithms import ValueRange, make_algorithm
from qsft_robot.config import TrainConfig, load
from qsft_robot.datasets.batch import Batch
from qsft_robot.datasets.episode import Episode, text_array
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.models.line_transformer import LineTransformer, LineTransformerShape
from qsft_robot.tokenization import TextTokenizer
from qsft_robot.training.data import open_data
from qsft_robot.training.loop import Stage, TrainingLoop
from qsft_robot.training.shapes import observation_keys
from qsft_robot.training.text import TextConverter

SIZE = 32
COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "white": (240, 240, 240)}
CPU = torch.device("cpu")


def picture(names: list[str], draw: np.random.Generator, left: bool) -> np.ndarray:
    """A picture (SIZE, SIZE, 3) with a square of each colour, in one half of it."""
    pixels = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
    for number, name in enumerate(names):
        x = int(draw.integers(0, 10)) + (0 if left else SIZE // 2)
        y = number * 8
        pixels[y : y + 6, x : x + 6] = COLOURS[name]
    return pixels


def batch_of(
    tokenizer: TextTokenizer, tasks: list[str], shown: list[list[str]], draw: np.random.Generator, left: bool
) -> tuple[TextConverter, Batch]:
    """One transition a segment: `take it` where the picture shows what is asked for, else `leave it`."""
    count = len(tasks)
    images = np.stack([picture(names, draw, left) for names in shown])
    actions = ["take it" if task in names else "leave it" for task, names in zip(tasks, shown, strict=True)]
    flags = np.zeros((count, 1), dtype=bool)
    zeros = np.zeros((count, 1), dtype=np.float32)

    def twice(values: np.ndarray) -> np.ndarray:
        return np.stack([values, values], axis=1)[:, :, None]

    observations = {
        "text": twice(text_array([f"Task: {task}\nHere.\n" for task in tasks])),
        "image": twice(images),
        "caption": twice(text_array([f"here: {', '.join(names)}" for names in shown])),
    }
    batch = Batch(
        observations=observations,
        actions=text_array(actions)[:, None],
        rewards=zeros, terminal=~flags, truncated=flags, valid=~flags, monte_carlo_return=zeros, episode_return=zeros,
        row=np.zeros((count, 2), dtype=np.int64),
    )  # fmt: skip
    return TextConverter(tokenizer, 64, CPU), batch


def made() -> tuple[TextTokenizer, LineTransformer]:
    texts = [f"Task: {name}\nHere.\nhere: {name}, {name}\n" for name in COLOURS]
    tokenizer = TextTokenizer.fit(iter(texts * 3), ["take it", "leave it"], 300)
    torch.manual_seed(0)
    shape = LineTransformerShape(
        bins=tokenizer.bins, outputs=tokenizer.bins, vocabulary=tokenizer.vocabulary, context=64, columns=4,
        end_of_line=tokenizer.end_of_line, padding=tokenizer.padding, width=32, layers=1, heads=2,
        dimensions=tokenizer.dimensions, above=False, instruction_lines=1, image=(SIZE, SIZE), image_tokens=1,
        image_words=True, channels=(4, 4),
    )  # fmt: skip
    network = shape.network()
    network.set_words([tokenizer.observation(f" {name}")[0] for name in COLOURS])
    return tokenizer, network


def test_what_is_asked_for_is_known_by_its_caption_alone_and_anywhere() -> None:
    # White is never asked for while learning, only named in captions; squares lie in the left half, later in the right.
    tokenizer, network = made()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    draw = np.random.default_rng(0)
    generator = torch.Generator()

    def drawn(asked: list[str], left: bool) -> tuple[list[str], list[list[str]]]:
        tasks = draw.choice(asked, 64).tolist()
        shown = [draw.permutation(list(COLOURS))[: draw.integers(0, 4)].tolist() for _ in tasks]
        return tasks, shown

    for _ in range(150):
        tasks, shown = drawn(["red", "green", "blue"], left=True)
        convert, batch = batch_of(tokenizer, tasks, shown, draw, left=True)
        learned = convert(batch, generator)
        observation, tokens = learned.current()
        logits = network(network.encode(observation), tokens)
        first = torch.nn.functional.cross_entropy(logits[:, 0], tokens[:, 0])
        optimizer.zero_grad()
        (first + 0.3 * network.caption_loss(learned.observations)).backward()
        optimizer.step()
    tasks, shown = drawn(["white"], left=False)
    convert, batch = batch_of(tokenizer, tasks, shown, draw, left=False)
    observation, tokens = convert(batch, generator).current()
    with torch.inference_mode():
        best = network(network.encode(observation), tokens)[:, 0].argmax(dim=-1)
    assert (best == tokens[:, 0]).float().mean() > 0.9


def test_nothing_is_said_of_captions_where_there_are_none() -> None:
    tokenizer, network = made()
    convert, batch = batch_of(tokenizer, ["red"] * 8, [["red"]] * 8, np.random.default_rng(0), left=True)
    told = convert(batch, torch.Generator()).observations
    assert told["caption"].shape == (8, tokenizer.vocabulary)
    assert told["caption"][0, tokenizer.observation(" red")[0]]
    assert network.caption_loss(told) > 0
    untold = {key: value for key, value in batch.observations.items() if key != "caption"}
    untold = convert(dataclasses.replace(batch, observations=untold), torch.Generator()).observations
    assert network.caption_loss(untold) is None
    # To act by a caption would be to cheat.
    torch.testing.assert_close(
        network.encode({**told, "positions": told["positions"][:, 0]}),
        network.encode({**untold, "positions": untold["positions"][:, 0]}),
    )


def test_training_learns_from_captions_in_the_networks_that_it_trains(tmp_path: Path) -> None:
    tokenizer, network = made()
    words = ["sim=alfworld_pictured", "training.steps=2", "training.log_period=1", "training.weight_average=0"]
    config = load(TrainConfig, words)
    algorithm = make_algorithm(network.shape, config.algorithm, ValueRange())
    algorithm.prepare_training(network)
    convert, batch = batch_of(tokenizer, ["red"] * 8, [["red"]] * 8, np.random.default_rng(0), left=True)
    convert.behaviour = network
    before = {name: each.spotter.detectors.weight.clone() for name, each in algorithm.networks.items()}
    stage = Stage("qsft", 2, early_stopping=False)
    loop = TrainingLoop(
        algorithm, stage, lambda _, generator: convert(batch, generator), list, config.training, tmp_path, 0,
        Accelerator(cpu=True),
    )  # fmt: skip
    assert loop.run()["caption_loss"] > 0
    moved = {
        name: not torch.equal(before[name], each.spotter.detectors.weight) for name, each in algorithm.networks.items()
    }
    assert moved == {"behaviour": False, "likelihood": True}


def test_data_without_captions_are_told_of_and_text_alone_reads_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw = np.random.default_rng(0)
    paths = {}
    for captioned in (True, False):
        spaces: dict[str, gymnasium.Space] = {
            "text": gymnasium.spaces.Text(100), "image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        }  # fmt: skip
        if captioned:
            spaces["caption"] = gymnasium.spaces.Text(100)
        paths[captioned] = tmp_path / f"{captioned}.zarr"
        space = gymnasium.spaces.Dict(spaces)
        with TrajectoryStore.create(
            paths[captioned], observation_space=space, action_dimension=None, task="alfworld_pictured"
        ) as store:
            for seed in range(4):
                seen = {"text": text_array(["Task: red", "Task: red"]), "caption": text_array(["here: red"] * 2)}
                seen["image"] = np.stack([picture(["red"], draw, left=True)] * 2)
                seen = {key: seen[key] for key in spaces}
                store.append(
                    Episode(
                        observations={key: value[:1] for key, value in seen.items()},
                        actions=text_array(["take it"]),
                        rewards=np.ones(1, dtype=np.float32),
                        final_observation={key: np.asarray(value[1], value.dtype) for key, value in seen.items()},
                        terminated=True,
                        truncated=False,
                        success=True,
                        seed=seed,
                        policy="test",
                    )
                )

    def keys(captioned: bool, *words: str) -> set[str]:
        config = load(TrainConfig, ["sim=alfworld_pictured", "training.batch_size=8", *words])
        data = open_data([paths[captioned]], config, config.model.history, observation_keys(config.model))
        return set(data.training.batch(0).observations)

    with caplog.at_level(logging.WARNING):
        assert keys(True) == {"text", "image", "caption"}
        assert keys(True, "model.image_tokens=0") == {"text"}
        assert not caplog.records
        assert keys(False) == {"text", "image"}
    assert "no captions in" in caplog.text
