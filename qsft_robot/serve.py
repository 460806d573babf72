"""python -m qsft_robot.serve checkpoint=runs/...: offer a policy to an arm's computer over a websocket."""

from __future__ import annotations

import logging
import os
from typing import Any

from qsft_robot.command import run
from qsft_robot.config.robots import ServeConfig

logger = logging.getLogger(__name__)


def main(config: ServeConfig) -> dict[str, Any]:
    """Serve until Ctrl-C or SIGTERM; the result says how long decisions took."""
    from qsft_robot.agents.token_agent import TokenAgent
    from qsft_robot.hardware.remote_policy import PolicyServer

    agent = TokenAgent.from_checkpoint(config.checkpoint, config.decoding, temperature=config.temperature)
    server = PolicyServer(agent, config.host, config.port, config.token or os.environ.get("QSFT_ROBOT_TOKEN"))
    logger.info("%s is served at %s; Ctrl-C ends", agent.name, server.url)
    try:
        server.run()
    except (KeyboardInterrupt, SystemExit):
        logger.info("ending")
    finally:
        server.close()
    return {"policy": agent.name, "url": server.url, "sessions": server.sessions, "stages_ms": server.times.summary()}


if __name__ == "__main__":
    raise SystemExit(run(ServeConfig, main))
