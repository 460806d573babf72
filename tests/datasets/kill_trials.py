"""kill -9 at random moments of a collection, and what the store is like after each.

`PYTHONPATH=. python tests/datasets/kill_trials.py 100 results/kill_trials.json` collects `sim=pick_place episodes=24
workers=2` again and again, kills all its processes at once (`kill -9` of the group, or of the parent alone in every
second trial), and looks: does the store open, does `validate` pass or name torn episodes only, how many episodes that
the progress bar had counted are missing. When a collection completes, it is compared array for array with one that was
never stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

from qsft_robot.datasets.maintenance import validate
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import StoreError
from qsft_robot.surroundings import surroundings

EPISODES, WORKERS = 24, 2


def command(store: Path) -> list[str]:
    """The collection that is killed."""
    words = ["sim=pick_place", f"episodes={EPISODES}", f"workers={WORKERS}", "seed=0", f"dataset={store}"]
    return [sys.executable, "-m", "qsft_robot.collect", *words]


def kill_at_random(store: Path, log: Path, longest: float, whole_group: bool) -> tuple[bool, int]:
    """Start the collection and kill it; returns whether it had completed, and what the progress bar said last."""
    ours, theirs = pty.openpty()  # on a terminal the progress bar moves with every episode
    with log.open("wb") as stream:
        process = subprocess.Popen(command(store), stdout=stream, stderr=theirs, start_new_session=True)
        os.close(theirs)
        reader = threading.Thread(target=_copy, args=(ours, stream))
        reader.start()
        try:
            process.wait(timeout=random.uniform(0.5, longest))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if whole_group else process.kill()
            process.wait()
        time.sleep(0.5)  # workers whose parent is gone end by themselves
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        reader.join()
    os.close(ours)
    counted = re.findall(rf"(\d+)/{EPISODES} ", log.read_text(errors="replace"))
    return process.returncode == 0, int(counted[-1]) if counted else 0


def _copy(source: int, target: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # the other end is closed when all processes are gone
        while chunk := os.read(source, 4096):
            target.write(chunk)


def equal(first: Path, second: Path) -> bool:
    """Whether two stores hold the same episodes, array for array."""
    stores = TrajectoryStore.open(first), TrajectoryStore.open(second)
    if len(stores[0]) != len(stores[1]):
        return False
    for index in range(len(stores[0])):
        one, other = (store.episode(index) for store in stores)
        pairs: list[tuple[Any, Any]] = [(one.actions, other.actions), (one.rewards, other.rewards)]
        pairs += [(one.observations[key], other.observations[key]) for key in one.observations]
        if one.seed != other.seed or not all(np.array_equal(a, b) for a, b in pairs):
            return False
    return True


def main(trials: int, output: Path) -> dict[str, Any]:
    """Make the trials; write and return the figures."""
    random.seed(0)
    folder = Path(tempfile.mkdtemp(prefix="kill_trials"))
    whole, store, log = folder / "whole.zarr", folder / "killed.zarr", folder / "log"
    begun = time.monotonic()
    subprocess.run(command(whole), check=True, capture_output=True)
    longest = 1.2 * (time.monotonic() - begun)
    figures: dict[str, Any] = {"trials": 0, "no_store_yet": 0, "not_opened": 0, "torn": 0, "damaged": 0, "most_lost": 0}
    figures |= {"completed": 0, "completed_equal": 0}
    while figures["trials"] < trials:
        done, counted = kill_at_random(store, log, longest, figures["trials"] % 2 == 0)
        if done:
            figures["completed"] += 1
            figures["completed_equal"] += equal(whole, store)
            shutil.rmtree(store)
            continue
        figures["trials"] += 1
        if not store.exists():
            figures["no_store_yet"] += 1
            continue
        try:
            kept = len(TrajectoryStore.open(store))
        except StoreError as error:
            if counted:
                figures["not_opened"] += 1
                print(error, file=sys.stderr)
            else:
                figures["no_store_yet"] += 1
            continue
        report = validate(store)
        figures["torn"] += bool(report.notes)
        figures["damaged"] += not report.sound
        ahead = len(list((store / "journal").glob("ahead-*")))  # finished before their turn, not lost
        figures["most_lost"] = max(figures["most_lost"], counted - kept - ahead)
        print(json.dumps(figures), file=sys.stderr, flush=True)
    shutil.rmtree(folder)
    result = {**surroundings(), "command": f"PYTHONPATH=. python tests/datasets/kill_trials.py {trials}", **figures}
    output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), Path(sys.argv[2]))))
