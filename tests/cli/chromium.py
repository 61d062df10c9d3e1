# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, driven over its DevTools pipe (descriptors 3 and 4, JSON ended by
NUL): enough to ask a page how it looks, what it asked the network for, and how it prints."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe", "--hide-scrollbars",
    "--disable-features=IsolateSandboxedIframes",  # so that one session sees frames, too
]  # fmt: skip


def find():
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """One browser; each page() is a tab of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="chromium-")
        from_us, self._to = os.pipe()
        self._from, to_us = os.pipe()

        def wire():  # what it reads on 3 and writes on 4
            a, b = os.dup(from_us), os.dup(to_us)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [find(), *FLAGS, "--user-data-dir=" + self.dir],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=wire,
        )
        os.close(from_us)
        os.close(to_us)
        self._buffer, self._id, self.events = b"", 0, []

    def close(self):
        os.close(self._to)
        self.process.kill()
        self.process.wait()
        os.close(self._from)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _read(self):
        while b"\0" not in self._buffer:
            chunk = os.read(self._from, 1 << 20)
            if not chunk:
                raise RuntimeError("chromium ended")
            self._buffer += chunk
        text, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, session=None, **params):
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._id:
                if "error" in answer:
                    raise RuntimeError("%s: %s" % (method, answer["error"]))
                return answer["result"]
            self.events.append(answer)

    def page(self, path, width=1280, height=800, dark=False, scripts=True):
        return Page(self, path, width, height, dark, scripts)


class Page:
    def __init__(self, browser, path, width, height, dark, scripts):
        self.browser = browser
        browser.events.clear()
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])  # fmt: skip
        if not scripts:
            self.call("Emulation.setScriptExecutionDisabled", value=True)
        self.call("Page.navigate", url=pathlib.Path(path).as_uri())
        end = time.monotonic() + 300
        while not any(e["method"] == "Page.loadEventFired" for e in browser.events):
            assert time.monotonic() < end, "the page does not load"
            browser.events.append(browser._read())

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def eval(self, expression):
        """What an expression gives, run by the debugger: no policy of the page applies to it."""
        r = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in r, r
        return r["result"].get("value")

    def box(self, selector):
        """left, top, right, bottom of the first match."""
        return self.eval(
            "(r => [r.left, r.top, r.right, r.bottom])"
            "(document.querySelector(%s).getBoundingClientRect())" % json.dumps(selector)
        )

    def _events(self, method):
        self.eval("0")  # whatever was on its way is here now
        return [
            e["params"]
            for e in self.browser.events
            if e["method"] == method and e.get("sessionId") == self.session
        ]

    def requests(self):
        """URLs that the page or a frame in it asked for: (let through, stopped by its policy)."""
        stopped = {
            e["requestId"]
            for e in self._events("Network.loadingFailed")
            if e.get("blockedReason") == "csp"
        }
        asked = [
            (e["requestId"], e["request"]["url"])
            for e in self._events("Network.requestWillBeSent")
            if not e["request"]["url"].startswith(("file:", "data:"))
        ]
        return (
            [url for i, url in asked if i not in stopped],
            [url for i, url in asked if i in stopped],
        )

    def messages(self):
        """What the console says: errors of scripts, what was stopped."""
        return [e["entry"]["text"] for e in self._events("Log.entryAdded")]

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def pdf(self, path):
        data = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))
