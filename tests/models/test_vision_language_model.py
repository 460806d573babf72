"""Vision-language models: pictures in the stream, training and acting on the same one, adapters, loading."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from qsft_robot.agents.base import Observation, as_observation
from qsft_robot.agents.token_agent import TokenAgent
from qsft_robot.algorithms import Algorithm, ValueRange, make_algorithm
from qsft_robot.config import TrainConfig, load
from qsft_robot.datasets.batch import Batch
from qsft_robot.datasets.episode import TEXT
from qsft_robot.datasets.layout import ArraySpec, StoreSpec
from qsft_robot.errors import ConfigurationError, DataError, MissingExtraError
from qsft_robot.models import VisionLanguageShape, shape_from_dict
from qsft_robot.models.llava_smol import build_model
from qsft_robot.models.pictures import picture_tokens
from qsft_robot.models.pretrained import (
    load_model,
    load_vision_language_model,
    processor_of,
    shipped_file,
    tokenizer_of,
)
from qsft_robot.models.vision_language_model import VisionLanguageModel
from qsft_robot.tokenization import TextTokenizer
from qsft_robot.training.data import _whole_episodes
from qsft_robot.training.policy_files import Policy, load_policy, save_policy
from qsft_robot.training.shapes import text_shape
from qsft_robot.training.text import Streams, TextConverter, scored_actions

pytest.importorskip("peft", reason="needs the extra `language`")

TEXTS = ["You are in a kitchen.\nYour task is to: put a mug in sink.", "You see a mug 1.", "Nothing happens.", "It is."]
ACTIONS = ["go to desk 1\n", "take mug 1\n", "go to sink 1\n"]
SIDE = 48
CPU = torch.device("cpu")
A_TEXT = ArraySpec((), TEXT)
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def text_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=320, num_key_value_heads=2, tie_word_embeddings=True, **SMALL))


@pytest.fixture(scope="module", params=["llava", "llava_next"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small random LLaVA or LLaVA-NeXT with its processor, as save_pretrained writes them."""
    from transformers import (
        CLIPVisionConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextProcessor,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    path = tmp_path_factory.mktemp(request.param)
    encoding = TextTokenizer.fit(iter([*TEXTS, *ACTIONS, "\n\n"]), ACTIONS, 300).encoding
    fast = PreTrainedTokenizerFast(tokenizer_object=encoding, pad_token="<padding>")
    fast.add_tokens(["<image>"], special_tokens=True)
    if request.param == "llava":
        # The picture's token of `build_model` is the one behind the text model's.
        language = text_model()
        language.resize_token_embeddings(len(fast) - 1, mean_resizing=False)
        model: Any = build_model(language)
        scaled: Any = CLIPImageProcessorPil(size={"height": 96, "width": 96}, do_center_crop=False)
        processor: Any = LlavaProcessor(
            scaled, fast, patch_size=24, vision_feature_select_strategy="full", num_additional_image_tokens=0
        )
    else:
        pinpoints = [[28, 56], [56, 28]]
        config = LlavaNextConfig(
            vision_config=CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=16, **SMALL),
            text_config=text_model().config,
            image_token_id=len(fast) - 1,
            image_grid_pinpoints=pinpoints,
        )
        torch.manual_seed(0)
        model = LlavaNextForConditionalGeneration(config)
        crop = {"height": 28, "width": 28}
        scaled = LlavaNextImageProcessorPil(size={"shortest_edge": 28}, crop_size=crop, image_grid_pinpoints=pinpoints)
        processor = LlavaNextProcessor(
            scaled, fast, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
        )
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return str(path)


def tokenizer_for(folder: str) -> TextTokenizer:
    return TextTokenizer.pretrained(tokenizer_of(folder), ACTIONS)


def shape_for(folder: str, *words: str) -> VisionLanguageShape:
    keys = {"model.context": "256", "model.stream": "episode", "model.gradient_checkpointing": "false"}
    keys |= dict(word.split("=") for word in words)
    changes = [f"{key}={value}" for key, value in keys.items()]
    config = load(TrainConfig, ["sim=alfworld", "model=llava_next", f"name={folder}", *changes])
    spec = StoreSpec({"text": A_TEXT, "image": ArraySpec((SIDE, SIDE, 3), np.dtype(np.uint8))}, A_TEXT)
    shape = text_shape(tokenizer_for(folder), config.model, config.name, spec)
    assert isinstance(shape, VisionLanguageShape)
    return shape


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def algorithm_for(folder: str, kind: str, *words: str) -> Algorithm:
    """An algorithm whose adapters are not those of a fresh network, which change nothing."""
    settings = load(TrainConfig, ["sim=alfworld", f"algorithm={kind}"]).algorithm
    torch.manual_seed(1)
    algorithm = make_algorithm(shape_for(folder, "model.rank=4", *words), settings, ValueRange())
    with torch.no_grad():
        for parameter in algorithm.networks.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return algorithm.eval()


def batch_of(images: np.ndarray) -> Batch:
    """One whole episode of three actions, and one place beyond its end."""
    valid = np.array([[True, True, True, False]])
    zeros = np.zeros(valid.shape, dtype=np.float32)
    terminal = np.array([[False, False, True, False]])
    texts = np.array([[*TEXTS, TEXTS[0]]], dtype=object)[:, :, None]
    return Batch(
        observations={"text": texts, "image": np.concatenate([images, images[:1]])[None, :, None]},
        actions=np.array([[*ACTIONS, ""]], dtype=object),
        rewards=zeros,
        terminal=terminal,
        truncated=zeros > 0,
        valid=valid,
        monte_carlo_return=zeros + 0.5,
        episode_return=zeros + 0.5,
        row=np.zeros((1, valid.shape[1] + 1), dtype=np.int64),
    )


def observations_of(images: np.ndarray) -> list[Observation]:
    return [as_observation({"text": text, "image": image}) for text, image in zip(TEXTS, images, strict=True)]


def acted_logits(agent: TokenAgent, images: np.ndarray, legal: list[str] | None = None) -> list[list[torch.Tensor]]:
    """Policy logits of every token of ACTIONS, as the agent computes them while it does just that."""
    tokenizer = agent.policy.tokenizer
    assert isinstance(tokenizer, TextTokenizer)
    seen: list[list[torch.Tensor]] = []
    rows = iter([])

    def choose(logits: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen[-1].append(logits[0])
        return torch.tensor([next(rows)] * len(logits))

    agent._choose = choose  # type: ignore[method-assign]
    agent.reset(0)
    for observation, action in zip(observations_of(images)[: len(ACTIONS)], ACTIONS, strict=True):
        rows = iter([*tokenizer.action(action), *[tokenizer.padding] * tokenizer.dimensions])
        seen.append([])
        assert agent.act(observation) == action
    return seen


@pytest.mark.parametrize("kind", ["bc", "qsft", "ilql"])
@pytest.mark.parametrize("stream", ["episode", "observation"])
def test_acting_and_training_score_alike(folder: str, kind: str, stream: str) -> None:
    algorithm, tokenizer = algorithm_for(folder, kind, f"model.stream={stream}"), tokenizer_for(folder)
    shape, images = algorithm.shape, pictures(4)
    agent = TokenAgent(Policy(algorithm, tokenizer, {}, {}), dtype=torch.float32)
    with torch.inference_mode():
        acted = acted_logits(agent, images)
        batch = TextConverter(tokenizer, shape.context, CPU, shown=shape.pictures)(batch_of(images), torch.Generator())
        assert len(batch.observations["stream"]) == (1 if stream == "episode" else 3)
        inputs, tokens = batch.everything()
        logits = algorithm.extract(algorithm.all_logits(inputs, tokens)).view(*batch.tokens.shape, -1)
        values = scored_actions(tokenizer, TEXTS[:3], ACTIONS, shape.context, CPU, images[:3], shape.pictures)
        again = algorithm.extract(algorithm.all_logits(*values[:2]))
    for step, rows in enumerate(acted):
        for place, row in enumerate(rows[: len(tokenizer.action(ACTIONS[step]))]):
            allowed = row.isfinite()
            torch.testing.assert_close(logits[0, step, place][allowed], row[allowed], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(again[step, place], logits[0, step, place], atol=1e-4, rtol=1e-4)


def test_a_picture_changes_what_comes_after_it_and_nothing_before(folder: str) -> None:
    algorithm, tokenizer = algorithm_for(folder, "bc"), tokenizer_for(folder)
    convert = TextConverter(tokenizer, 256, CPU, shown=algorithm.shape.pictures)
    images = pictures(4)
    other = images.copy()
    other[1] = 255 - other[1]

    def logits(shown: np.ndarray) -> torch.Tensor:
        batch = convert(batch_of(shown), torch.Generator())
        inputs, tokens = batch.current()
        return algorithm.all_logits(inputs, tokens)["behaviour"]

    with torch.inference_mode():
        before, after = logits(images), logits(other)
    torch.testing.assert_close(after[0], before[0])
    assert ((after[1:3] - before[1:3]).abs().amax(dim=(1, 2)) > 1e-4).all()


def test_decoding_in_a_batch_chooses_among_legal_commands(folder: str) -> None:
    algorithm, tokenizer = algorithm_for(folder, "qsft"), tokenizer_for(folder)
    agent = TokenAgent(Policy(algorithm, tokenizer, {}, {}), "greedy", legal_only=True)
    legal = ("look\n", "go to desk 1\n", "take mug 1\n")
    alone = []
    for seed in (0, 1):
        memory = agent.new_memory(0)
        for observation in observations_of(pictures(4, seed))[: seed + 1]:  # episodes of different lengths
            agent.inform_memory(memory, {"legal_actions": legal})
            (action,) = agent.act_batch([observation], [memory])
        alone.append(action)
    first, second = agent.new_memory(0), agent.new_memory(0)
    ahead, beside = observations_of(pictures(4, 1)), observations_of(pictures(4, 0))
    for memory in (first, second):
        agent.inform_memory(memory, {"legal_actions": legal})
    agent.act_batch([ahead[0]], [second])
    together = agent.act_batch([beside[0], ahead[1]], [first, second])
    assert together == alone and set(together) <= set(legal)


def test_a_stream_goes_on_until_the_context_is_full(folder: str) -> None:
    tokenizer, shape = tokenizer_for(folder), shape_for(folder)
    count = len(shape.picture)
    assert set(shape.picture) == {processor_of(folder).image_token_id} and count in (16, 10)
    streams = Streams(tokenizer, 2 * count + 60, pictures=shape.pictures)
    for step in range(6):
        streams.see(TEXTS[1])
        streams.act(ACTIONS[step % 3])
    assert len(streams.rows) > 1 and streams.begun[0] == 0 and streams.begun == sorted(set(streams.begun))
    assert all(len(row) <= 2 * count + 60 and row[:count] == list(shape.picture) for row in streams.rows)
    with pytest.raises(DataError, match="<image>"):
        streams.see("a sign that says <image>")


def test_adapters_are_in_the_language_tower_alone_and_the_trained_parts_are_copies(folder: str) -> None:
    plain = shape_for(folder).network()
    assert plain.adapter and all("language_model" in name for name in plain.adapter)
    assert {name.split("/")[-1] for name in plain.adapter} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    words = "model.trained=[vision_tower,multi_modal_projector]"
    first, second = shape_for(folder, words).network(), shape_for(folder, words).network()
    assert {"model/vision_tower", "model/multi_modal_projector"} < set(first.adapter)
    inputs, tokens = some_inputs(folder, first)
    before = second(second.encode(inputs), tokens).detach()
    optimizer = torch.optim.Adam([each for each in first.parameters() if each.requires_grad], lr=0.02)
    for _ in range(2):
        optimizer.zero_grad()
        first(first.encode(inputs), tokens).square().mean().backward()
        optimizer.step()
    eyes = first.adapter["model/vision_tower"]
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in eyes.parameters())
    assert torch.equal(second(second.encode(inputs), tokens), before)
    assert not torch.allclose(first(first.encode(inputs), tokens), before, atol=1e-3)
    target = first.frozen_copy()
    assert torch.equal(target(target.encode(inputs), tokens), first(first.encode(inputs), tokens))
    fresh = shape_for(folder, words).network()  # begins with what was pretrained, not with what another one learned
    torch.testing.assert_close(fresh(fresh.encode(inputs), tokens), before)


def some_inputs(folder: str, network: VisionLanguageModel) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    shown = network.shape.pictures  # type: ignore[attr-defined]
    inputs, tokens, _ = scored_actions(tokenizer_for(folder), TEXTS[:3], ACTIONS, 256, CPU, pictures(3), shown)
    return inputs, tokens


@pytest.mark.parametrize("adapters", ["lora", "none"])
def test_a_fresh_network_is_the_pretrained_model(folder: str, adapters: str) -> None:
    network = shape_for(folder, f"model.adapters={adapters}").network().eval()
    images, processor = pictures(1), processor_of(folder)
    text = f"{processor.image_token}{TEXTS[1]}"
    made = processor(images=[*images], text=text, return_tensors="pt", add_special_tokens=False)
    tokenizer = tokenizer_for(folder)
    action = [tokenizer.end_of_line, *tokenizer.action(ACTIONS[1])]
    made["input_ids"] = torch.cat([made["input_ids"], torch.tensor([action])], dim=1)
    made.pop("attention_mask")
    with torch.no_grad():
        expected = load_vision_language_model(folder)(**made).logits[0, -len(action) : -1, : tokenizer.bins]
        inputs, tokens, _ = scored_actions(
            tokenizer, TEXTS[1:2], ACTIONS[1:2], 256, CPU, images, network.shape.pictures
        )
        found = network(network.encode(inputs), tokens)[0, : len(action) - 1]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bc", "filtered_bc", "qsft", "ilql"])
def test_a_training_step_moves_the_loss_and_a_checkpoint_acts_the_same(folder: str, tmp_path: Path, kind: str) -> None:
    algorithm = algorithm_for(folder, kind, "model.trained=[multi_modal_projector]").train()
    algorithm.observe_returns(np.array([0.5]))
    algorithm.prepare_training(None)
    tokenizer, shape = tokenizer_for(folder), algorithm.shape
    behaviour = algorithm.network("behaviour") if algorithm.needs_behaviour_policy else None
    batch = TextConverter(tokenizer, shape.context, CPU, behaviour, shape.pictures)(
        batch_of(pictures(4)), torch.Generator()
    )
    optimizer = torch.optim.Adam(algorithm.trained_parameters(), lr=0.003)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = algorithm.loss(batch)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    save_policy(tmp_path / "policy", Policy(algorithm.eval(), tokenizer, {}, {}))
    restored = load_policy(tmp_path)
    assert shape_from_dict(shape.to_dict()) == shape == restored.algorithm.shape
    acted = []
    for policy in (Policy(algorithm, tokenizer, {}, {}), restored):
        agent = TokenAgent(policy, "sample")
        agent.reset(3)
        acted.append([agent.act(observation) for observation in observations_of(pictures(4))])
    assert acted[0] == acted[1]


def test_an_episode_must_fit_a_segment(folder: str) -> None:
    words = ["sim=alfworld", "model=llava_next", f"name={folder}", "training.segment_length=4"]
    stores: Any = [SimpleNamespace(episode_lengths=np.array([3, 5]), spec=StoreSpec({"text": A_TEXT}, A_TEXT))]
    keys = ["text", "image"]
    assert not _whole_episodes(load(TrainConfig, [*words, "model.stream=observation"]), stores, keys)
    with pytest.raises(ConfigurationError, match="longest has 5 actions"):
        _whole_episodes(load(TrainConfig, [*words, "model.stream=episode"]), stores, keys)
    fitting = ["model.stream=episode", "training.segment_length=5", "training.batch_size=5"]
    longer = load(TrainConfig, [*words[:-1], *fitting])
    assert _whole_episodes(longer, stores, keys)


@pytest.mark.slow
def test_llava_smol_is_smollm2_with_eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf", reason="needs the extra `language`")
    try:
        shipped_file()
    except MissingExtraError as error:
        pytest.skip(str(error))
    model: Any = load_vision_language_model("llava_smol")
    processor, tokens = processor_of("llava_smol"), picture_tokens("llava_smol", (SIDE, SIDE))
    assert tokens == (model.config.image_token_id,) * 16 and processor.image_token_id == tokens[0]
    row = torch.tensor([tokenizer_of("llava_smol").encode("go to desk 1").ids])
    with torch.no_grad():
        language: Any = load_model("smollm2")
        torch.testing.assert_close(model(row).logits[..., : tokens[0]], language(row).logits)
    again = build_model(language).model.vision_tower.state_dict()
    assert all(torch.equal(part, again[name]) for name, part in model.model.vision_tower.state_dict().items())
    monkeypatch.setattr("qsft_robot.models.pretrained.shipped_file", missing)
    monkeypatch.setattr("qsft_robot.models.pretrained._smollm2_folder", missing)
    with pytest.raises(MissingExtraError, match="language"):
        load_vision_language_model("llava_smol")


def missing() -> Path:
    raise MissingExtraError("language", "a test")


def test_what_is_no_vision_language_model_is_named(folder: str, tmp_path: Path) -> None:
    text_model().save_pretrained(tmp_path)
    tokenizer_of(folder)  # a folder with a tokenizer and a model of text alone
    with pytest.raises(ConfigurationError, match="vision-language model"):
        load_vision_language_model(str(tmp_path))
    with pytest.raises(ConfigurationError, match="no_such_folder"):
        processor_of("./no_such_folder")
    with pytest.raises(ConfigurationError, match="name="):
        load(TrainConfig, ["sim=alfworld", "model=llava_next"])
    with pytest.raises(ConfigurationError, match=r"There are .*vision_tower"):
        shape_for(folder, "model.trained=[eyes]").network()
    with pytest.raises(ConfigurationError, match="beside its language tower"):
        shape_for(folder, "model.trained=[language_model]").network()
    with pytest.raises(ConfigurationError, match=r"Raise model\.context"):
        shape_for(folder, "model.context=16")
    config = load(TrainConfig, ["sim=alfworld", "model=llava_next", f"name={folder}"])
    with pytest.raises(DataError, match="model=smollm2"):
        text_shape(tokenizer_for(folder), config.model, folder, StoreSpec({"text": A_TEXT}, A_TEXT))
