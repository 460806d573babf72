"""The training loop, its data path, metrics, checkpoints and the experiment that strings the stages together."""
