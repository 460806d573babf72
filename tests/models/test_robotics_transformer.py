"""The network: causality over action tokens, real conditioning, and a cache that changes nothing."""

import pytest
import torch

from qsft_robot.models.robotics_transformer import RoboticsTransformer, TransformerShape


def make_network(history: int = 2, outputs: int = 11, image_encoder: str = "dense") -> RoboticsTransformer:
    torch.manual_seed(0)
    shape = TransformerShape(
        images={"image": (24, 24), "image_wrist": (16, 16)},
        state_width=5,
        dimensions=4,
        bins=11,
        outputs=outputs,
        width=32,
        layers=2,
        heads=2,
        image_encoder=image_encoder,
        image_tokens=3,
        channels=(8, 16),
        history=history,
    )
    network = RoboticsTransformer(shape).double().eval()
    torch.nn.init.normal_(network.action_embedding.weight)
    return network


def make_observation(history: int, count: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.randint(0, 256, (count, history, 24, 24, 3), dtype=torch.uint8, generator=generator),
        "image_wrist": torch.randint(0, 256, (count, history, 16, 16, 3), dtype=torch.uint8, generator=generator),
        "state": torch.randn(count, history, 5, generator=generator),
    }


@pytest.mark.parametrize("image_encoder", ["dense", "token_learner"])
@pytest.mark.parametrize("history", [1, 3])
def test_decoding_with_the_cache_gives_the_logits_of_the_full_pass(history: int, image_encoder: str) -> None:
    network, observation = make_network(history, image_encoder=image_encoder), make_observation(history)
    tokens = torch.randint(0, 11, (3, 4), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        context = network.encode(observation)
        full = network(context, tokens)
        cache, first = network.start(context)
        decoded = [first] + [network.step(cache, tokens[:, i - 1], i) for i in range(1, 4)]
    torch.testing.assert_close(torch.stack(decoded, dim=1), full, rtol=0, atol=1e-12)


def test_each_token_conditions_on_the_earlier_ones_and_on_no_later_one() -> None:
    network, observation = make_network(1), make_observation(1)
    tokens = torch.zeros(3, 4, dtype=torch.int64)
    with torch.no_grad():
        context = network.encode(observation)
        before = network(context, tokens)
        for changed in range(4):
            other = tokens.clone()
            other[:, changed] = 7
            difference = (network(context, other) - before).abs().amax(dim=(0, 2))
            assert (difference[: changed + 1] == 0).all()
            assert (difference[changed + 1 :] > 1e-6).all()


def test_every_part_of_the_observation_matters() -> None:
    network, observation = make_network(2), make_observation(2)
    tokens = torch.zeros(3, 4, dtype=torch.int64)
    with torch.no_grad():
        before = network(network.encode(observation), tokens)
        for key, value in observation.items():
            for frame in range(2):
                other = value.clone()
                other[:, frame] = 0
                after = network(network.encode({**observation, key: other}), tokens)
                assert (after - before).abs().max() > 1e-6, (key, frame)


def test_shape_survives_json_and_outputs_may_exceed_bins() -> None:
    network = make_network(outputs=12)
    assert TransformerShape.from_dict(network.shape.to_dict()) == network.shape
    tokens = torch.zeros(3, 4, dtype=torch.int64)
    assert network(network.encode(make_observation(2)), tokens).shape == (3, 4, 12)


@pytest.mark.parametrize("history", [1, 3])
def test_bfloat16_changes_no_more_than_the_rounding(history: int) -> None:
    network, observation = make_network(history).float(), make_observation(history)
    tokens = torch.randint(0, 11, (3, 4), generator=torch.Generator().manual_seed(2))
    logits, gradients = [], []
    for narrow in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            logits.append(network(network.encode(observation), tokens).float())
        logits[-1].logsumexp(dim=-1).sum().backward()
        gradients.append(torch.cat([each.grad.flatten() for each in network.parameters() if each.grad is not None]))
    assert not torch.equal(*logits)
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=0.05 * float(logits[0].detach().std()))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
