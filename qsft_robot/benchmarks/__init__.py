"""What `python -m qsft_robot.benchmark` measures: one module per suite, each with `run(config) -> dict`."""
