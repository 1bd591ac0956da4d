"""A real browser by its debugging pipe, for tests: pages, keys, pictures. Only the standard library."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# The browser reads from descriptor 3 and writes to 4. Moved away first: one of ours may have that number.
_START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for end, number in zip(ends, (3, 4)):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""

_KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """One headless page. Messages go over two pipes, each ended by a NUL (--remote-debugging-pipe)."""

    def __init__(self) -> None:
        self._home = tempfile.mkdtemp(prefix="ck-browser-")
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        command = [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]
        command += ["--remote-debugging-pipe", f"--user-data-dir={self._home}", "--no-first-run"]
        command += ["--hide-scrollbars", "--disable-background-networking", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._count, self._rest = 0, b""
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._count:
                assert "error" not in found, found
                return found.get("result", {})

    def open(self, url: str) -> None:
        """Load a page to its end."""
        self.ask("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until it is true, for as many answers as a slow machine needs."""
        for _ in range(3000):
            with contextlib.suppress(AssertionError):  # The page is being replaced.
                if self.evaluate(expression):
                    return
        raise AssertionError(f"it never came to this: {expression}")

    def press(self, key: str) -> None:
        """One key, as a person presses it."""
        code = _KEYS[key]
        text = {"Enter": "\r", " ": " "}.get(key)
        down: dict[str, Any] = {
            "key": key,
            "code": "Space" if key == " " else key,
            "windowsVirtualKeyCode": code,
        }
        self.ask("Input.dispatchKeyEvent", type="keyDown", **down, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **down)

    def write(self, text: str) -> None:
        """Text, into what has the focus."""
        self.ask("Input.insertText", text=text)

    def tab_to(self, expression: str) -> None:
        """Press Tab until the focused element, ``e``, is meant by the expression."""
        for _ in range(200):
            self.press("Tab")
            if self.evaluate(f"(e => {expression})(document.activeElement)"):
                return
        raise AssertionError(f"no key leads to it: {expression}")

    def picture(self, path: Path, width: int, *, dark: bool) -> None:
        """The whole page as a PNG, at that width."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End it and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found
