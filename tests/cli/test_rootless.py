# SPDX-License-Identifier: Apache-2.0
"""Boxes of an ordinary user with a range of subordinate ids, and with one id: whatever a task leaves
behind, it is collected, and gc leaves nothing."""

import json
import os
import pathlib
import shutil
import stat
import subprocess

import pytest

import rootless
from conftest import out_param, pipeline, sh, wait_until
from rootless import RANGE_START, UID


@pytest.fixture(scope="module", params=["range", "one"])
def user(request, tiny_tar):
    u = rootless.make(request.param == "range", tiny_tar, "tiny")
    u.kind = request.param
    yield u
    u.close()


def test_the_record_says_which_ids_there_are(user):
    r = user.ok("box", "tiny", "--", "cat", "/proc/self/uid_map")
    want = [["0", str(UID), "1"], ["1", str(RANGE_START), "65536"]]
    assert [line.split() for line in r.out.splitlines()] == want[:2 if user.kind == "range" else 1]
    facts = {f["name"]: f for f in json.loads(user("doctor", "--json").out)}
    assert ("65536 from 700000" in facts["ids"]["value"]) == (user.kind == "range")
    assert facts["ids"]["remedy"] is None or "subuid" in facts["ids"]["remedy"]


# What a task may leave: directories that keep all others out, hard links among the outputs,
# absolute links, a socket, an artifact elsewhere (custom_path), and all of it another user's.
NASTY = r"""
set -e
out=$(dirname "$0"); mkdir -p "$out" "$0"
mkdir -m 0700 "$0/private" "$0/private/deeper"
echo secret >"$0/private/deeper/file"; chmod 0400 "$0/private/deeper/file"
ln "$0/private/deeper/file" "$0/again"
ln -s /etc/passwd "$0/absolute"; ln -s ../../../../../etc/shadow "$0/up"
mkfifo "$0/fifo"
mkdir -m 0 "$0/shut"
mkdir -p /.cache/elsewhere/x; chmod 0700 /.cache/elsewhere /.cache/elsewhere/x; echo there >/.cache/elsewhere/x/data
chmod 0600 /.cache/elsewhere/x/data
mkdir -p "$(dirname "$2")"; printf 5 >"$2"
mkdir -p "$(dirname "$3")"
printf '{"artifacts":{"b":{"artifacts":[{"name":"b","uri":"%s","custom_path":"/.cache/elsewhere/x"}]}}}' \
    "$1" >"$3"
"""


def nasty(user_in_box) -> str:
    doc = json.loads(pipeline({
        "make": {**sh(NASTY, "{{$.outputs.artifacts['a'].path}}",
                      "{{$.outputs.artifacts['b'].uri}}", out_param("n"),
                      "{{$.outputs.output_file}}"),
                 "art_out": {"a": "system.Dataset", "b": "system.Model"},
                 "out": {"n": "NUMBER_INTEGER"}, "image": user_in_box},
        "use": {**sh('cat "$0/again" "$0/private/deeper/file" "$1/data"; readlink "$0/absolute"; readlink '
                     '"$0/up"; ls "$0"', "{{$.inputs.artifacts['a'].path}}",
                     "{{$.inputs.artifacts['b'].path}}"),
                "art_in": {"a": "make.a", "b": "make.b"}}}))
    return json.dumps(doc)


def owners(path: pathlib.Path) -> set:
    done = subprocess.run(["find", str(path), "-printf", "%U\\n"], capture_output=True, text=True)
    return set(map(int, done.stdout.split()))


@pytest.mark.parametrize("who", ["0", "1001"])
def test_everything_is_collected_and_gc_leaves_nothing(user, who):
    tar = user.base / "image.tar"
    user.ok("image", "import", tar, "--name", "as:%s" % who, "--user", who)
    f = user.file("nasty.json", nasty("as:%s" % who))
    r = user("run", f, "--no-cache", "--json")
    assert r.rc == 0, r
    assert user.ok("logs", "@latest/use").out.split("\n")[:-1] == [
        "secret", "secret", "there", "/etc/passwd", "../../../../../etc/shadow", "absolute", "again",
        "private", "shut", "up"]
    make = [t for t in json.loads(r.out)["tasks"] if t["name"] == "make"][0]
    assert make["outputs"]["parameters"] == {"n": 5}
    # all of it is the user's, the store as well as what is left of the attempts
    assert owners(user.home) == {UID}
    user.ok("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0")
    left = [p for d in ("runs", "tmp", "trash", "checkouts") for p in (user.home / d).glob("*")
            if d != "runs" or list(p.glob("*.*"))]
    assert left == []


def test_a_failed_and_a_killed_attempt_leave_nothing_after_gc(user):
    script = ("mkdir -p /minio/x; mkdir -m 0700 /minio/x/p /.cache/p; echo 1 >/minio/x/p/f; chmod 0 /minio/x/p; "
              "echo 1 >/.cache/p/f; chmod 0 /.cache/p; ")
    f = user.file("fail.json", pipeline({"t": {**sh(script + "exit 3"), "image": "as:1001"}}))
    user.ok("image", "import", user.base / "image.tar", "--name", "as:1001", "--user", "1001")
    assert user("run", f).rc == 1
    # a supervisor that is killed cannot tidy up
    g = user.file("kill.json", pipeline({"t": {**sh(script + "kill -9 $PPID; sleep 600"),
                                               "image": "as:1001"}}))
    p = subprocess.Popen(user.argv("run", g, "--retries", "0"), cwd=user.work, env=user.env(),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def shut():
        """Attempts under way whose script has closed its last directory."""
        return [q for q in (user.home / "runs").glob("*/*.*/pid")
                if not (q.parent / "result.json").exists()
                and any(not stat.S_IMODE(d.stat().st_mode) for d in q.parent.glob("box/*/.cache/p"))]

    pids = wait_until(shut)
    os.kill(int(pids[0].read_text().split()[0]), 9)
    p.terminate()
    p.communicate(timeout=300)
    user("cancel", "@latest")
    user.ok("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0")
    for d in ("runs/*", "tmp", "trash"):
        assert not list(user.home.glob(d + "/*.*/*")) or d == "runs/*"
    left = [q for q in (user.home / "runs").glob("*/*.*")]
    assert left == [] and not list((user.home / "trash").iterdir())


def test_a_disk_limit_sees_into_what_is_shut(user):
    r = user("box", "--disk", "3Mi", "--user", "1001", "tiny", "--", "sh", "-c",
             "mkdir /tmp/x; head -c 10000000 /dev/zero >/tmp/x/f; chmod 0 /tmp/x; sleep 600")
    assert "limit on disk" in r.err, r


def test_ids_beyond_the_range_are_refused_in_words(user):
    r = user("box", "--user", "70000", "tiny", "--", "id", "-u")
    if user.kind == "one":
        assert (r.rc, r.out) == (0, "70000\n")
    else:
        assert r.rc == 125 and "70000" in r.err and "/etc/subuid" in r.err, r


# ---- what is refused, and what to do about it ------------------------------------------------------


def helper_without_rights(user) -> str:
    """newuidmap with another file in its place that is as good, but not setuid."""
    path = os.path.realpath(shutil.which("newuidmap"))
    copy = user.base / "newuidmap"
    shutil.copy(path, copy)
    copy.chmod(0o755)
    return "mount --bind %s %s" % (copy, path)


def test_a_helper_that_cannot_map_is_found_by_doctor(user):
    if user.kind == "one":
        pytest.skip("needs no helper")
    helper = [helper_without_rights(user)]
    r = user("doctor", "--json", prefix=helper)
    fact = {f["name"]: f for f in json.loads(r.out)}["ids"]
    assert r.rc == 6 and fact["state"] == "bad" and "chmod u+s" in fact["remedy"], r
    r = user("box", "tiny", "--", "true", prefix=helper)
    assert r.rc == 125 and "newuidmap did not map" in r.err and "chmod u+s" in r.err, r


def test_a_small_range_is_said(user):
    if user.kind == "one":
        pytest.skip("has no range")
    small = ["printf '%s:%d:100\\n' >/etc/subuid" % (rootless.NAME, RANGE_START)]
    before = (user.etc / "subuid").read_text()
    try:
        fact = {f["name"]: f for f in json.loads(user("doctor", "--json", prefix=small).out)}["ids"]
    finally:
        (user.etc / "subuid").write_text(before)
    assert fact["state"] == "worse" and fact["value"].startswith("only 100")
    assert "usermod --add-subuids" in fact["remedy"]


# AppArmor lets a program without a profile make a user namespace, and refuses what is done in it.
REFUSE_MOUNT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Insn(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]
class Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Insn))]
code = (Insn * 4)((0x20, 0, 0, 0), (0x15, 0, 1, 165), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Prog(4, code)), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_what_apparmor_refuses_comes_with_its_remedy(user):
    if user.kind != "one" or os.uname().machine != "x86_64":
        pytest.skip("the filter is made for x86-64, and hinders newuidmap")
    sysctl = user.base / "kernel"
    sysctl.mkdir()
    (sysctl / "apparmor_restrict_unprivileged_userns").write_text("1\n")
    (user.base / "refuse.py").write_text(REFUSE_MOUNT)
    argv = user.argv("box", "tiny", "--", "true", prefix=["mount --bind %s /proc/sys/kernel" % sysctl])
    at = argv.index(str(user.base / "dugout"))
    argv[at:at] = ["/usr/bin/python3", str(user.base / "refuse.py")]
    r = subprocess.run(argv, cwd=user.work, env=user.env(), capture_output=True, text=True, timeout=300)
    assert r.returncode == 125 and "make mounts private: AppArmor" in r.stderr, r
    assert "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in r.stderr
