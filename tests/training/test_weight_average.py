"""The running mean of the weights against its closed form, and that nothing is left changed by looking at it."""

import torch

from qsft_robot.training.weight_average import WARM_UP, WeightAverage


def test_the_mean_follows_the_recursion() -> None:
    module = torch.nn.Linear(3, 2).double()
    average = WeightAverage(module, 0.9)
    expected = module.weight.detach().clone()
    for step in range(200):
        torch.nn.init.normal_(module.weight)
        average.update(step)
        decay = min(0.9, (1 + step) / (WARM_UP + step))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    torch.testing.assert_close(average.state_dict()["weight"], expected)


def test_weights_are_the_mean_inside_and_their_own_outside() -> None:
    module = torch.nn.Linear(3, 2)
    average = WeightAverage(module, 0.9)
    mean = module.weight.detach().clone()
    torch.nn.init.normal_(module.weight)
    own = module.weight.detach().clone()
    with average.applied():
        assert torch.equal(module.weight, mean)
    assert torch.equal(module.weight, own)
    average.apply()
    assert torch.equal(module.weight, mean)


def test_no_decay_keeps_the_last_weights_and_frozen_ones_are_left_alone() -> None:
    module = torch.nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    average = WeightAverage(module, 0.0)
    torch.nn.init.normal_(module.weight)
    average.update(5)
    torch.testing.assert_close(average.state_dict()["weight"], module.weight.detach())
    assert set(average.state_dict()) == {"weight"}
