"""A policy on another computer: websocket and msgpack, no pickle, and a lost connection is a stop.

The server answers {"type": "reset", "seed"} and {"type": "act", "observation"}; arrays travel as dtype, shape and
bytes of a few plain types. On the own computer no token is needed; anywhere else client and server must know the
same one.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import logging
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import msgpack
import numpy as np

from qsft_robot.agents.base import Agent, Observation
from qsft_robot.errors import ConfigurationError, DataError, QsftRobotError
from qsft_robot.hardware.timing import StageTimes

logger = logging.getLogger(__name__)

PROTOCOL = 1
TYPES = ("uint8", "int32", "int64", "float32", "float64", "bool")
LARGEST_MESSAGE = 64 * 2**20


class PolicyConnectionError(QsftRobotError):
    """The served policy cannot be reached, was lost, or refused."""


def pack(value: Any) -> bytes:
    """Encode nested mappings, lists, numbers, texts and arrays."""
    return bytes(msgpack.packb(value, default=_encode, use_bin_type=True))


def unpack(data: bytes) -> Any:
    """Decode what `pack` made.

    Raises:
        DataError: the bytes are something else.
    """
    try:
        return msgpack.unpackb(data, object_hook=_decode, raw=False, strict_map_key=True)
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise DataError(f"a message could not be read: {error}") from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.name in TYPES:
        return {"__array__": value.dtype.name, "shape": list(value.shape), "data": value.tobytes()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _decode(value: dict[str, Any]) -> Any:
    if "__array__" not in value:
        return value
    if value["__array__"] not in TYPES:
        raise ValueError(f"arrays of type {value['__array__']!r} are not accepted")
    return np.frombuffer(value["data"], value["__array__"]).reshape(value["shape"]).copy()


def is_loopback(host: str) -> bool:
    """Whether an address is the own computer's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PolicyServer:
    """Offers an agent to one arm at a time.

    Args:
        agent: the policy.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        token: what clients must send; needed for any address but the own computer's.

    Raises:
        ConfigurationError: a token is needed, or the address cannot be listened on.
    """

    def __init__(self, agent: Agent, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        from websockets.sync.server import serve

        if not token and not is_loopback(host):
            raise ConfigurationError(
                f"listening on {host} lets other computers in: set token=... (or the variable QSFT_ROBOT_TOKEN), and "
                "give the same one to deploy"
            )
        self.agent, self._token = agent, token
        self.times = StageTimes()
        self.sessions = 0
        self._serving = False
        self._busy = threading.Lock()
        try:
            self._server = serve(
                self._session, host, port, process_request=self._admit, max_size=LARGEST_MESSAGE, compression=None
            )
        except OSError as error:
            raise ConfigurationError(f"{host}:{port} cannot be listened on: {error}") from error
        self.port: int = self._server.socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"ws://{shown}:{self.port}"

    def run(self) -> None:
        """Serve until `close` is called from another thread."""
        self._serving = True
        self._server.serve_forever()

    def close(self) -> None:
        """Stop serving."""
        if self._serving:
            self._server.shutdown()
        else:
            self._server.socket.close()

    def _admit(self, connection: Any, request: Any) -> Any:
        if self._token is not None:
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return connection.respond(401, "the token is missing or wrong\n")
        return None

    def _session(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        if not self._busy.acquire(blocking=False):
            connection.send(pack({"type": "error", "message": "another arm is being served"}))
            return
        self.sessions += 1
        logger.info("an arm has connected from %s", connection.remote_address)
        try:
            connection.send(pack({"type": "hello", "protocol": PROTOCOL, "policy": self.agent.name}))
            for message in connection:
                connection.send(pack(self._answer(message)))
        except ConnectionClosed:
            pass
        finally:
            self._busy.release()
            logger.info("the arm has gone")

    def _answer(self, message: Any) -> dict[str, Any]:
        try:
            request = unpack(message if isinstance(message, bytes) else str(message).encode())
            if not isinstance(request, dict):
                raise DataError("a request must be a mapping")
            if request.get("type") == "reset":
                self.agent.reset(int(request["seed"]))
                return {"type": "ready"}
            if request.get("type") == "act":
                begin = time.perf_counter()
                action = np.asarray(self.agent.act(request["observation"]), np.float32)
                seconds = time.perf_counter() - begin
                self.times.add("policy", seconds)
                return {"type": "action", "action": action, "seconds": seconds}
            raise DataError(f"a request of type {request.get('type')!r} is not known")
        except (QsftRobotError, KeyError, TypeError, ValueError) as error:
            logger.error("a request failed: %s", error)
            return {"type": "error", "message": str(error)}


class RemoteAgent(Agent):
    """A policy that `PolicyServer` offers, used like any agent.

    Args:
        url: ws://host:port.
        token: what the server asks for; needed for any address but the own computer's.
        patience: how long an answer may take, s; longer is a lost connection.

    Raises:
        PolicyConnectionError: nobody answers there, or the token is wrong.
    """

    def __init__(self, url: str, token: str | None = None, patience: float = 2.0) -> None:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ConfigurationError(f"policy={url}: an address like ws://host:port is expected")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url, self._patience = url, patience
        self.times = StageTimes()
        self._open = contextlib.ExitStack()
        try:
            self._connection = self._open.enter_context(
                connect(
                    url,
                    additional_headers=headers,
                    max_size=LARGEST_MESSAGE,
                    compression=None,
                    open_timeout=10,
                    proxy=None,
                )
            )
        except InvalidStatus as error:
            status = error.response.status_code
            reason = "the token is missing or wrong" if status == 401 else f"status {status}"
            raise PolicyConnectionError(f"the policy at {url} refused: {reason}") from error
        except (OSError, WebSocketException) as error:
            raise PolicyConnectionError(f"no policy answers at {url} ({error}): is `serve` running there?") from error
        try:
            hello = self._receive(10.0)
        except PolicyConnectionError:
            self.close()
            raise
        if hello.get("protocol") != PROTOCOL:
            self.close()
            raise PolicyConnectionError(f"the policy at {url} speaks protocol {hello.get('protocol')}, not {PROTOCOL}")
        self.name = str(hello["policy"])

    def reset(self, seed: int) -> None:
        """Begin an episode there."""
        self._ask({"type": "reset", "seed": seed}, 10.0)

    def act(self, observation: Observation) -> np.ndarray:
        """Ask for the action.

        Raises:
            PolicyConnectionError: no answer within `patience`; whoever drives the arm stops it then.
        """
        begin = time.perf_counter()
        answer = self._ask({"type": "act", "observation": dict(observation)}, self._patience)
        total = time.perf_counter() - begin
        self.times.add("round_trip", total)
        self.times.add("network", total - float(answer["seconds"]))
        return np.asarray(answer["action"])

    def close(self) -> None:
        """Leave the server."""
        self._open.close()

    def _ask(self, request: dict[str, Any], patience: float) -> dict[str, Any]:
        from websockets.exceptions import WebSocketException

        try:
            self._connection.send(pack(request))
        except (OSError, WebSocketException) as error:
            raise PolicyConnectionError(f"the connection to the policy at {self.url} was lost: {error}") from error
        return self._receive(patience)

    def _receive(self, patience: float) -> dict[str, Any]:
        from websockets.exceptions import WebSocketException

        try:
            data = self._connection.recv(timeout=patience)
        except TimeoutError as error:
            raise PolicyConnectionError(f"the policy at {self.url} did not answer within {patience} s") from error
        except (OSError, WebSocketException) as error:
            raise PolicyConnectionError(f"the connection to the policy at {self.url} was lost: {error}") from error
        answer = unpack(data if isinstance(data, bytes) else data.encode())
        if not isinstance(answer, dict) or answer.get("type") == "error":
            text = answer.get("message") if isinstance(answer, dict) else answer
            raise PolicyConnectionError(f"the policy at {self.url} says: {text}")
        return answer
