"""Speed and memory of the household environment, a part of `python -m qsft_robot.benchmark suite=sim`.

Games are played by random admissible commands, `steps` in all and 25 a game, with an observed picture of 96x96.
`games_per_second` counts making, loading and starting a game; `steps_per_second` the steps alone, with and without the
picture. Memory is the resident set of the program and of the engine's process, at the first game and at the last.
"""

from __future__ import annotations

import random
from pathlib import Path
from time import perf_counter
from typing import Any

import qsft_robot.sim
from qsft_robot.sim.household import wheel

STEPS_PER_GAME = 25
FEWEST_GAMES = 5


def measure_household(steps: int) -> dict[str, Any]:
    """Play `steps` commands; see the module's docstring for what the result holds.

    Without the extra alfworld, the result says so.
    """
    if not wheel.installed():
        return {"skipped": "the extra alfworld is not installed"}
    games = max(FEWEST_GAMES, steps // STEPS_PER_GAME)
    seconds = {"begin": 0.0, "steps": 0.0, "steps_without_picture": 0.0}
    memory: list[dict[str, float]] = []
    played = 0
    for observation in ("text_image", "text"):
        env = qsft_robot.sim.make(qsft_robot.sim.HOUSEHOLD, data="generated", observation=observation)
        for number in range(games if observation == "text_image" else FEWEST_GAMES):
            draw = random.Random(number)
            started = perf_counter()
            _, info = env.reset(seed=number)
            begun = perf_counter()
            count, over = 0, False
            while count < STEPS_PER_GAME and not over:
                *_, terminated, truncated, info = env.step(draw.choice(info["legal_actions"]))
                count, over = count + 1, terminated or truncated
            ended = perf_counter()
            if observation == "text_image":
                seconds["begin"] += begun - started
                seconds["steps"] += ended - begun
                played += count
                memory.append(_memory(env))
            else:
                seconds["steps_without_picture"] += (ended - begun) / count
        env.close()
    return {
        "games": games,
        "games_per_second": round(games / seconds["begin"], 3),
        "steps_per_second": round(played / seconds["steps"], 1),
        "steps_per_second_without_picture": round(FEWEST_GAMES / seconds["steps_without_picture"], 1),
        "memory_megabytes": {"first": memory[0], "last": memory[-1], "most": _most(memory)},
    }


def _memory(env: Any) -> dict[str, float]:
    """Resident megabytes of this process and of the engine's."""
    return {
        "program": _resident("self"),
        "engine": _resident(str(env.unwrapped.engine_process)),
    }


def _most(memory: list[dict[str, float]]) -> dict[str, float]:
    return {key: max(each[key] for each in memory) for key in memory[0]}


def _resident(process: str) -> float:
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0
