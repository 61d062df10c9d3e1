# SPDX-License-Identifier: Apache-2.0
"""Ordinary users for tests: with one id, or with a range from an /etc/subuid of the test's own.

The host's /etc stays as it is: newuidmap and dugout see changed copies of passwd, subuid and subgid,
mounted over the real ones in a mount namespace of the call.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from conftest import BIN
from hostile import as_user

UID = 23456
RANGE_START, RANGE = 700000, 65536
NAME = "dugouttest"


class User:
    """Call the binary as an ordinary user with a home of his own."""

    def __init__(self, ranged: bool, prefix=()):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="dugout-rootless-"))
        self.base.chmod(0o755)
        self.ranged, self.prefix = ranged, list(prefix)
        self.work, self.etc = self.base / "work", self.base / "etc"
        self.work.mkdir()
        self.etc.mkdir()
        os.chown(self.work, UID, UID)
        shutil.copy(BIN, self.base / "dugout")
        self.home = self.work / "home"
        passwd = pathlib.Path("/etc/passwd").read_text()
        (self.etc / "passwd").write_text(passwd + "%s:x:%d:%d::/:/bin/sh\n" % (NAME, UID, UID))
        line = "%s:%d:%d\n" % (NAME, RANGE_START, RANGE) if ranged else ""
        for name in ("subuid", "subgid"):
            (self.etc / name).write_text(line)
            if not os.path.exists("/etc/" + name):
                pathlib.Path("/etc/" + name).touch()

    def argv(self, *args, prefix=()):
        """In a mount namespace with the /etc above, and whatever prefix does to it, as the user."""
        script = "".join("mount --bind %s/%s /etc/%s && " % (self.etc, n, n)
                         for n in ("passwd", "subuid", "subgid"))
        for line in (*self.prefix, *prefix):
            script += line + " && "
        return ["unshare", "-m", "sh", "-c", script + 'exec "$@"', "sh",
                *as_user(UID, self.base / "dugout", *args)]

    def env(self):
        return {"PATH": os.environ["PATH"], "DUGOUT_HOME": str(self.home), "HOME": str(self.work)}

    def __call__(self, *args, prefix=(), timeout=300):
        r = subprocess.run(self.argv(*args, prefix=prefix), cwd=self.work, env=self.env(),
                           capture_output=True, text=True, timeout=timeout)
        r.rc, r.out, r.err = r.returncode, r.stdout, r.stderr
        return r

    def ok(self, *args, **kw):
        r = self(*args, **kw)
        assert r.returncode == 0, r
        return r

    def file(self, name: str, text: str) -> pathlib.Path:
        (self.base / name).write_text(text)
        return self.base / name

    def close(self):
        shutil.rmtree(self.base, ignore_errors=True)


def make(ranged: bool, archive: pathlib.Path, name: str) -> User:
    if os.geteuid() != 0:
        pytest.skip("only root can become an ordinary user")
    for tool, what in (("setpriv", "setpriv"), ("unshare", "unshare")):
        if not shutil.which(tool):
            pytest.skip(what + " is not installed")
    if ranged and not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        pytest.skip("newuidmap and newgidmap are not installed (package uidmap)")
    user = User(ranged)
    shutil.copy(archive, user.base / "image.tar")
    r = user("image", "import", user.base / "image.tar", "--name", name)
    assert r.returncode == 0, r
    r = user("box", name, "--", "true")
    if r.returncode == 125 and user("doctor").returncode == 6:
        user.close()
        pytest.skip("user namespaces cannot be had here: " + r.stderr.strip())
    assert r.returncode == 0, r
    return user
