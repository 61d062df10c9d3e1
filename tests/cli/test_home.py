# SPDX-License-Identifier: Apache-2.0
"""Who may see a home, and what config files may say: group readers, locked keys, hostile checkouts.

/etc is changed in a mount namespace of each call, the host's stays as it is.
"""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import pytest

from conftest import BIN, out_param, pipeline, sh

GROUP, MEMBER, STRANGER, GID = "dugout", 34567, 34568, 34567

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="homes of root are tried as root")


class Etc:
    """Call the binary with an /etc that has a group and a config, as any user."""

    def __init__(self, base: pathlib.Path, group=True):
        self.base = base
        self.home = base / "home"
        shutil.copy(BIN, base / "dugout")
        etc = base / "etc"
        etc.mkdir()
        text = pathlib.Path("/etc/group").read_text()
        (etc / "group").write_text(text + ("%s:x:%d:member\n" % (GROUP, GID) if group else ""))
        (etc / "passwd").write_text(pathlib.Path("/etc/passwd").read_text()
                                    + "member:x:%d:%d::/:/bin/sh\n" % (MEMBER, MEMBER))
        (etc / "dugout").mkdir()

    def config(self, text):
        (self.base / "etc" / "dugout" / "config.yaml").write_text(text)

    def __call__(self, *args, uid=0, groups=(), cwd=None, env=None, program=None):
        etc = self.base / "etc"
        script = ("mount --bind %s/group /etc/group && mount --bind %s/passwd /etc/passwd && "
                  "mkdir -p %s/over/u %s/over/w && mount -t overlay o -o "
                  "lowerdir=/etc,upperdir=%s/over/u,workdir=%s/over/w /etc && mkdir -p /etc/dugout && "
                  "mount --bind %s/dugout /etc/dugout && mount --bind %s/group /etc/group && "
                  'mount --bind %s/passwd /etc/passwd && exec "$@"') % ((etc,) * 9)
        who = [] if uid == 0 else [
            "setpriv", "--reuid", str(uid), "--regid", str(uid), "--inh-caps", "-all",
            *(["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"])]
        r = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, "sh", *who, str(program or self.base / "dugout"),
             *map(str, args)],
            cwd=cwd or "/", capture_output=True, text=True, timeout=300,
            env={"PATH": os.environ["PATH"], "DUGOUT_HOME": str(self.home), **(env or {})})
        r.rc, r.out, r.err = r.returncode, r.stdout, r.stderr
        return r

    def ok(self, *args, **kw):
        r = self(*args, **kw)
        assert r.rc == 0, r
        return r


@pytest.fixture
def base():
    path = pathlib.Path(tempfile.mkdtemp(prefix="dugout-home-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def mode(path) -> str:
    st = os.stat(path)
    return "%o %d:%d" % (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid)


def a_run(etc, tiny_tar):
    etc.ok("image", "import", tiny_tar, "--name", "tiny")
    f = etc.base / "p.json"
    f.write_text(pipeline({"t": {
        **sh('mkdir -p "$(dirname "$0")"; echo data >"$0"; echo said; mkdir -p "$(dirname "$1")"; '
             'printf 5 >"$1"', "{{$.outputs.artifacts['d'].path}}", out_param("n")),
        "art_out": {"d": "system.Dataset"}, "out": {"n": "NUMBER_INTEGER"}}}))
    etc.ok("run", f)


def test_a_home_of_root_is_read_by_the_group_and_by_nobody_else(base, tiny_tar):
    etc = Etc(base)
    a_run(etc, tiny_tar)
    assert mode(etc.home) == "2750 0:%d" % GID
    for name in ("store", "layers", "runs"):
        assert mode(etc.home / name).split()[0] in ("750", "700", "2750")
    member = {"uid": MEMBER, "groups": [GID]}
    assert json.loads(etc.ok("runs", "--json", **member).out)[0]["state"] == "SUCCEEDED"
    assert etc.ok("show", "@latest", **member).out
    assert etc.ok("logs", "@latest/t", **member).out == "said\n"
    assert etc.ok("artifact", "cat", "a1", **member).out == "data\n"
    assert etc.ok("images", **member).out
    # the group is of the home, not of what boxes see
    r = etc.ok("box", "tiny", "--", "stat", "-c", "%g %a", "/", "/etc", "/etc/hosts", "/bin")
    assert r.out.split("\n") == ["0 755", "0 755", "0 644", "0 755", ""]
    # reading changes nothing and creates nothing
    before = sorted(p.name for p in etc.home.iterdir())
    for args in (("gc",), ("run", base / "p.json"), ("tag", "a1", "x:y"), ("image", "rm", "tiny")):
        r = etc(*args, **member)
        assert r.rc not in (0, 1), r
        assert len(r.err.splitlines()) == 1
    assert sorted(p.name for p in etc.home.iterdir()) == before
    for args in (("runs",), ("show", "@latest"), ("logs", "@latest/t")):
        r = etc(*args, uid=STRANGER)
        assert r.rc == 6 and "Permission denied" in r.err and not r.out, r


def test_without_the_group_a_home_is_the_owner_s_alone(base, tiny_tar):
    etc = Etc(base, group=False)
    etc.ok("images")
    assert mode(etc.home) == "700 0:0"
    os.chown(base, MEMBER, MEMBER)
    etc.home = base / "mine"
    etc.ok("images", uid=MEMBER)
    assert mode(etc.home) == "700 %d:%d" % (MEMBER, MEMBER)


def test_nothing_in_a_home_can_be_written_by_others(base, tiny_tar):
    etc = Etc(base)
    a_run(etc, tiny_tar)
    for root, dirs, files in os.walk(etc.home):
        if root == str(etc.home):
            dirs[:] = [d for d in dirs if d != "layers"]  # as the image has it, behind 0750
        for name in dirs + files:
            st = os.lstat(os.path.join(root, name))
            inside_an_attempt = "/runs/" in root + "/"  # out/ and params/ are the task's
            if not stat.S_ISLNK(st.st_mode) and not inside_an_attempt:
                assert not st.st_mode & 0o022, (root, name, oct(st.st_mode))
    for run in (etc.home / "runs").iterdir():
        assert mode(run).split()[0] in ("750", "700", "2750")


# ---- config files ---------------------------------------------------------------------------------


def test_a_locked_key_holds_against_home_flag_and_checkout(base, tiny_tar):
    etc = Etc(base)
    etc.config("network: none\nmemory: 64Mi\nlocked: [network, memory, packages, volumes]\n")
    a_run(etc, tiny_tar)
    for flag in (["--network", "host"], ["--memory", "1Gi"], ["--packages", "network"]):
        r = etc("run", base / "p.json", *flag)
        assert r.rc == 2 and "locked by /etc/dugout/config.yaml" in r.err, r
    for flag in (["--network", "host"], ["--memory", "1Gi"], ["-v", "/etc:/x"]):
        r = etc("box", *flag, "tiny", "--", "true")
        assert r.rc == 125 and "locked by /etc/dugout/config.yaml" in r.err, r
    (etc.home / "config.yaml").write_text("network: host\nmemory: 2Gi\njobs: 1\n")
    r = etc("box", "tiny", "--", "sh", "-c", "ls /sys/class/net; df -k /dev/shm | tail -1")
    assert r.out.split()[0] == "lo" and r.err.count("is locked by /etc") == 2, r
    assert r.out.split()[2] == str(32 << 10)  # half of 64Mi


def test_only_etc_may_lock_and_a_lock_is_a_list_of_keys(base):
    etc = Etc(base)
    for text in ("locked: network\n", "locked: [{network: none}]\n", "locked: [netwrok]\n"):
        etc.config(text)
        r = etc("images")
        assert r.rc == 2 and "config.yaml:1" in r.err, r
    etc.config("")
    etc.ok("images")
    (etc.home / "config.yaml").write_text("locked: [network]\n")
    r = etc("images")
    assert r.rc == 2 and "only /etc/dugout/config.yaml may lock" in r.err


HARMFUL = ["network: host", "hooks: {on_success: /bin/true}", "packages: network", "locked: [jobs]",
           "retention: {runs: 1}"]


@pytest.mark.parametrize("line", HARMFUL)
def test_a_checkout_cannot_set_what_could_do_harm(base, line):
    etc = Etc(base)
    etc.ok("images")
    checkout = base / "checkout"
    checkout.mkdir()
    (checkout / "dugout.yaml").write_text("jobs: 1\n" + line + "\n")
    r = etc("images", cwd=checkout)
    assert r.rc == 2 and "dugout.yaml:2" in r.err and len(r.err.splitlines()) == 1, r


def test_a_checkout_of_somebody_else_is_not_read(base):
    etc = Etc(base)
    etc.ok("images")
    checkout = base / "checkout"
    checkout.mkdir()
    (checkout / "dugout.yaml").write_text("nonsense: [\n")
    os.chown(checkout / "dugout.yaml", STRANGER, STRANGER)
    r = etc("images", cwd=checkout)
    assert r.rc == 0 and "belongs to somebody else" in r.err, r


def test_a_checkout_s_file_that_is_no_file_is_not_read(base):
    etc = Etc(base)
    etc.ok("images")
    checkout = base / "checkout"
    checkout.mkdir()
    secret = base / "secret"
    secret.write_text("password: hunter2\n")
    (checkout / "dugout.yaml").symlink_to(secret)
    r = etc("images", cwd=checkout)
    assert "hunter2" not in r.err and "password" not in r.err and r.rc == 0, r
    (checkout / "dugout.yaml").unlink()
    os.mkfifo(checkout / "dugout.yaml")
    assert etc("images", cwd=checkout).rc == 0
