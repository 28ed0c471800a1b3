"""A headless Chromium, driven over the DevTools protocol on a pipe: no port, no driver, no dependency."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
    "--remote-debugging-pipe",
)  # fmt: skip
# Chromium wants its pipe as file descriptors 3 and 4.
_SHIM = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])
os.dup2(reads, 3); os.dup2(writes, 4); os.closerange(5, 64)
os.execv(sys.argv[3], sys.argv[3:])
"""
WAIT = 20.0


class Chrome:
    """One browser with one tab."""

    def __init__(self, binary: str, folder: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [binary, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SHIM, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._folder = folder
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._news = threading.Condition()
        self._session = ""
        self._closed = False
        self.events: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        target = next(
            each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"
        )
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        self._reader.join(5)
        os.close(self._in)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> None:
        rest = b""
        while chunk := os.read(self._in, 2**20):
            *whole, rest = (rest + chunk).split(b"\0")
            with self._news:
                for each in whole:
                    self._take(json.loads(each))
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _take(self, said: dict[str, Any]) -> None:
        if "id" in said:
            self._answers[said["id"]] = said
        else:
            self.events.append(said)
            if said["method"] == "Page.javascriptDialogOpening":  # it would stop the page; the test counts it
                self._send("Page.handleJavaScriptDialog", {"accept": False})

    def _send(self, method: str, params: dict[str, Any]) -> int:
        number = next(self._numbers)
        line: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            line["sessionId"] = self._session
        os.write(self._out, json.dumps(line).encode() + b"\0")
        return number

    def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol, and its answer."""
        number = self._send(method, params)
        with self._news:
            self._news.wait_for(lambda: number in self._answers or self._closed, WAIT)
            answer = self._answers.pop(number, None)
        assert answer is not None, f"{method}: the browser gave no answer"
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def heard(self, method: str) -> list[dict[str, Any]]:
        """What the browser said of its own accord, by event name."""
        with self._news:  # the reader goes on
            return [each["params"] for each in self.events if each["method"] == method]

    def go(self, address: str) -> None:
        """Open a page and wait until it is loaded."""
        before = len(self.heard("Page.loadEventFired"))
        failed = self.call("Page.navigate", url=address).get("errorText")
        assert not failed, f"{address}: {failed}"
        with self._news:
            assert self._news.wait_for(lambda: len(self.heard("Page.loadEventFired")) > before, WAIT), address

    def ask(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, wait: float = 10.0) -> Any:
        """The value of an expression once it is true."""
        ends = time.monotonic() + wait
        while not (found := self.ask(script)):
            assert time.monotonic() < ends, f"not within {wait:g} s: {script}"
            time.sleep(0.05)
        return found

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        """Set the size of the window and the colours that its person prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def cookie(self, name: str, value: str, address: str) -> None:
        """Set a cookie."""
        self.call("Network.setCookie", name=name, value=value, url=address, httpOnly=True, sameSite="Lax")

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save what the page looks like as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def complaints(self) -> list[str]:
        """Breaches of the content security policy, errors of scripts, and dialogs, since the browser began."""
        issues = [each["issue"]["code"] for each in self.heard("Audits.issueAdded")]
        found = [f"issue: {code}" for code in issues if code == "ContentSecurityPolicyIssue"]
        entries = [each["entry"] for each in self.heard("Log.entryAdded")]
        found += [f"log: {entry['text']}" for entry in entries if entry["level"] == "error"]
        found += [
            f"exception: {each['exceptionDetails']['text']}" for each in self.heard("Runtime.exceptionThrown")
        ]
        return found + [f"dialog: {each['message']}" for each in self.heard("Page.javascriptDialogOpening")]
