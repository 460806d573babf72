"""Decoding by modes: each thing to do as often as before, without the noise of how it was done."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from qsft_robot.agents.modes import nearest_mode

CENTRES = torch.linspace(-1.0, 1.0, 64, dtype=torch.float64)


def hills(*described: tuple[float, float]) -> torch.Tensor:
    """Logits (64,) of a mixture of (share, middle), each with the noise of a tenth."""
    parts = [share * torch.exp(-0.5 * ((CENTRES - middle) / 0.1) ** 2) for share, middle in described]
    return torch.log(torch.stack(parts).sum(dim=0) + 1e-12)


def test_every_draw_goes_to_the_middle_of_its_own_hill() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = hills((2 / 3, 0.0), (1 / 3, 0.8)).expand(2000, -1)
    drawn = torch.multinomial(logits.softmax(dim=-1)[0], 2000, replacement=True, generator=generator)
    values = CENTRES[nearest_mode(logits, drawn, CENTRES)].numpy()
    waiting, lifting = abs(values) < 0.04, abs(values - 0.8) < 0.04
    assert (waiting | lifting).all(), "nothing in between, and no noise"
    np.testing.assert_allclose(lifting.mean(), 1 / 3, atol=0.04)
    assert CENTRES[drawn].numpy()[lifting].std() > 0.08, "the draws had it"


@given(st.lists(st.floats(-30.0, 30.0), min_size=64, max_size=64), st.integers(0, 63), st.booleans())
def test_it_goes_uphill_and_does_not_depend_on_the_batch(logits: list[float], drawn: int, quantiles: bool) -> None:
    centres = CENTRES**3 if quantiles else CENTRES
    row, token = torch.tensor([logits], dtype=torch.float64), torch.tensor([drawn])
    alone = nearest_mode(row, token, centres)
    other = torch.zeros(1, 64, dtype=torch.float64)
    together = nearest_mode(torch.cat([other, row]), torch.tensor([5, drawn]), centres)
    assert together[1] == alone[0]
    width = 0.05 * (centres[-1] - centres[0])

    def height(value: torch.Tensor) -> float:
        return float((row.softmax(dim=-1) * torch.exp(-0.5 * ((centres - value) / width) ** 2)).sum())

    # The top is rounded to a bin. Over half a bin, in kernel widths, the logarithm of a kernel falls by that times its
    # distance, and what makes up a top is nearly all within six widths of it.
    half_a_bin = float((centres[1:] - centres[:-1]).max()) / 2 / float(width)
    assert height(centres[alone[0]]) >= height(centres[drawn]) * np.exp(-half_a_bin * 6.0)


def test_where_one_token_is_possible_it_is_the_one() -> None:
    logits = torch.full((1, 64), -torch.inf, dtype=torch.float64)
    logits[0, 17] = 0.0
    assert nearest_mode(logits, torch.tensor([17]), CENTRES).item() == 17
    constant = 0.3 + 1e-6 * CENTRES
    assert nearest_mode(torch.zeros(1, 64), torch.tensor([31]), constant).item() in (31, 32)
