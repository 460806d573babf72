"""A headless browser over the DevTools protocol: opens a file, says what it asked for and what went wrong in it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 120.0
"""Seconds: a busy computer may take long to start a browser."""


def find_browser() -> str | None:
    """Path of a browser that speaks the protocol, from $BROWSER_FOR_TESTS or by its usual names."""
    return os.environ.get("BROWSER_FOR_TESTS") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page in a browser of its own.

    Attributes:
        requests: addresses that the page asked for, `data:` ones left out.
        errors: exceptions and messages of level error.
    """

    def __init__(self, browser: str, profile: Path, width: int = 1280, height: int = 900) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._number = 0
        self._events: list[str] = []
        self._resources = contextlib.ExitStack()
        words = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--remote-debugging-port=0", f"--user-data-dir={profile}", f"--window-size={width},{height}",
            "--autoplay-policy=no-user-gesture-required", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen([browser, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            connection = connect(self._address(profile), max_size=None, open_timeout=PATIENCE, proxy=None)
            self._socket = self._resources.enter_context(connection)
            targets = self._call("Target.getTargets")["targetInfos"]
            target = next(each["targetId"] for each in targets if each["type"] == "page")
            self._session: str | None = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                self._call(f"{domain}.enable")
            self.resize(width, height)
        except BaseException:
            self._process.kill()
            raise

    def open(self, path: Path) -> None:
        """Load a file and wait until the browser is done with it."""
        self._events.clear()
        self._call("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + PATIENCE
        while "Page.loadEventFired" not in self._events:
            self._receive(deadline)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression, a promise's when it is fulfilled."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the window in pixels, and the colour scheme that its user prefers."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write the whole page as PNG."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _address(self, profile: Path) -> str:
        file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + PATIENCE
        while not file.exists() or len(file.read_text().split()) < 2:
            if self._process.poll() is not None:
                raise RuntimeError(f"the browser ended with code {self._process.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError("the browser did not start")
            time.sleep(0.05)
        port, path = file.read_text().split()[:2]
        return f"ws://127.0.0.1:{port}{path}"

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, deadline: float) -> dict[str, Any]:
        message = json.loads(self._socket.recv(timeout=max(0.1, deadline - time.monotonic())))
        method, parameters = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])
        return message
