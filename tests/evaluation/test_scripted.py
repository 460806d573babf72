"""Playing the scripted agents."""

from qsft_robot import sim
from qsft_robot.evaluation.evaluate import Task, evaluate_scripted


def test_episodes_are_the_same_with_no_worker_and_with_two():
    task, seeds = Task(sim.WORDLE, {}), [3, 5, 8, 2]
    alone = evaluate_scripted(task, {"random_guess": 0.5}, seeds, workers=0)
    assert [outcome.seed for outcome in alone] == seeds
    assert alone == evaluate_scripted(task, {"random_guess": 0.5}, seeds, workers=2)
