# SPDX-License-Identifier: Apache-2.0
"""The same binary for an ordinary user: a user namespace, one id, what cannot be had is said."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from conftest import BIN, ROOT, out_param, pipeline, sh

UID = 12345


@pytest.fixture(scope="module")
def user(tmp_path_factory, tiny_tar):
    """Call the binary as an ordinary user with a home of his own."""
    if os.geteuid() != 0:
        pytest.skip("only root can become an ordinary user")
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    base = pathlib.Path(tempfile.mkdtemp(prefix="dugout-user-"))
    base.chmod(0o755)
    for name, source in (("dugout", BIN), ("tiny.tar", tiny_tar),
                         ("hello.yaml", ROOT / "pipelines/hello/hello.yaml")):
        shutil.copy(source, base / name)
    work = base / "work"
    work.mkdir()
    os.chown(work, UID, UID)

    def call(*args):
        return subprocess.run(
            ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--inh-caps",
             "-all", str(base / "dugout"), *map(str, args)],
            cwd=work, env={"PATH": os.environ["PATH"], "DUGOUT_HOME": str(work / "home"),
                           "HOME": str(work)},
            capture_output=True, text=True, timeout=300)

    r = call("image", "import", base / "tiny.tar", "--name", "tiny")
    assert r.returncode == 0, r.stderr
    r = call("box", "tiny", "--", "true")
    if r.returncode == 125:
        pytest.skip("user namespaces cannot be had here: " + r.stderr.strip())
    call.base = base
    yield call
    shutil.rmtree(base)


def test_a_box_of_an_ordinary_user_shows_root_inside(user):
    r = user("box", "tiny", "--", "id", "-u")
    assert (r.returncode, r.stdout) == (0, "0\n"), r.stderr


def test_a_box_of_an_ordinary_user_keeps_the_asked_id(user):
    r = user("box", "--user", "1001", "tiny", "--", "id", "-u")
    assert (r.returncode, r.stdout) == (0, "1001\n"), r.stderr


def test_a_box_of_an_ordinary_user_returns_the_status(user):
    assert user("box", "tiny", "--", "sh", "-c", "exit 7").returncode == 7
    assert user("box", "tiny", "--", "no-such").returncode == 127


def test_a_pipeline_of_an_ordinary_user_runs_with_artifacts(user):
    f = user.base / "p.json"
    f.write_text(pipeline({
        "make": {**sh('mkdir -p "$(dirname "$0")"; echo data >"$0"; mkdir -p "$(dirname "$1")"; '
                      'printf 5 >"$1"', "{{$.outputs.artifacts['d'].path}}", out_param("n")),
                 "art_out": {"d": "system.Dataset"}, "out": {"n": "NUMBER_INTEGER"}},
        "use": {**sh('cat "$0"', "{{$.inputs.artifacts['d'].path}}"), "art_in": {"d": "make.d"}},
    }))
    r = user("run", f, "--json")
    assert r.returncode == 0, r.stderr
    doc = json.loads(r.stdout)
    assert doc["state"] == "SUCCEEDED"
    assert user("logs", "@latest/use").stdout == "data\n"
    assert "nothing new" in user("run", f).stderr
