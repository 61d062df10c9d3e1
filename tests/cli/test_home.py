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

from conftest import BIN, end_all_of, out_param, pipeline, sh, wait_until
from hostile import dir_, docker, file_, tar_of

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
    end_all_of(path / "home")
    shutil.rmtree(path, ignore_errors=True)


def mode(path) -> str:
    st = os.stat(path)
    return "%o %d:%d" % (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid)


def a_run(etc, tiny_tar):
    etc.ok("image", "import", tiny_tar, "--name", "tiny")
    f = etc.base / "p.json"
    f.write_text(pipeline({"t": {
        **sh('stat -c "%g %a" /etc/hosts; mkdir -p "$(dirname "$0")"; echo data >"$0"; echo said; mkdir -p "$(dirname "$1")"; '
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
    assert etc.ok("logs", "@latest/t", **member).out == "0 644\nsaid\n"
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


def layers(etc):
    """Every layer of the home, without the marker file."""
    return [p for p in (etc.home / "layers").iterdir() if p.is_dir()]


def test_nothing_in_a_home_can_be_written_by_others(base, tiny_tar):
    etc = Etc(base)
    a_run(etc, tiny_tar)
    for layer in layers(etc):
        assert not stat.S_IMODE(layer.stat().st_mode) & 0o077, layer
    for root, dirs, files in os.walk(etc.home):
        if root == str(etc.home / "layers"):
            dirs[:] = []  # as the images have it, behind their doors
        for name in dirs + files:
            st = os.lstat(os.path.join(root, name))
            inside_an_attempt = "/runs/" in root + "/"  # out/ and params/ are the task's
            if not stat.S_ISLNK(st.st_mode) and not inside_an_attempt:
                assert not st.st_mode & 0o022, (root, name, oct(st.st_mode))
    for run in (etc.home / "runs").iterdir():
        assert mode(run).split()[0] in ("750", "700", "2750")


def open_image(etc, tiny_tar):
    """Load `open:1`: three layers and a fourth on top, for the second one forgets what /tmp was."""
    tiny = pathlib.Path(tiny_tar).read_bytes()
    etc.ok("image", "load", docker(etc.base / "open.tar", [
        tiny, tar_of(dir_("tmp", 0o1777), dir_("tmp/deep", 0o777), file_("tmp/all", b"x", 0o666)),
        tar_of(file_("tmp/deep/x"))], name="open:1"))


def writable(etc, where):
    """What a reader of the home may write to below a directory of it. He asks the kernel himself."""
    r = etc(str(where), "-mindepth", "1", "!", "-type", "l", "-writable", "-print", uid=MEMBER,
            groups=[GID], program="/usr/bin/find")
    assert r.rc == 0 or "Permission denied" in r.err, r
    return r.out.split()


def test_a_reader_of_the_home_writes_nowhere_in_layers(base, tiny_tar):
    etc = Etc(base)
    a_run(etc, tiny_tar)
    open_image(etc, tiny_tar)
    assert len(layers(etc)) == 5  # bottom, tiny, its two and the thin one
    assert any((p / "fs/tmp").stat().st_mode & 0o002 for p in layers(etc) if (p / "fs/tmp").exists())
    assert writable(etc, etc.home / "layers") == []
    r = etc.ok("box", "--user", "5:5", "open:1", "--", "sh", "-c", "echo y >/tmp/deep/y; stat -c %a /tmp")
    assert r.out == "1777\n"
    # what a reader may do has not become less
    member = {"uid": MEMBER, "groups": [GID]}
    mine = base / "mine"
    mine.mkdir()
    os.chown(mine, MEMBER, MEMBER)
    for args in (("image", "inspect", "open:1"), ("images",), ("image", "export", "tiny", mine / "x"),
                 ("fsck",)):
        etc.ok(*args, **member)


@pytest.mark.parametrize("closed_by", [("box", "open:1", "--", "true"), ("fsck",), ("gc",)])
def test_a_layer_that_an_older_version_left_open_is_closed(base, tiny_tar, closed_by):
    etc = Etc(base)
    open_image(etc, tiny_tar)
    for layer in layers(etc):
        layer.chmod(0o755)
    assert writable(etc, etc.home / "layers")
    r = etc("fsck", "--dry-run", "--json")
    found = [x for x in json.loads(r.out)["findings"] if x["what"] == "wrong mode"]
    assert sorted(x["name"] for x in found) == sorted(p.name for p in layers(etc)) and r.rc == 0
    for layer in layers(etc):
        layer.chmod(0o755)
    etc.ok(*closed_by)
    assert writable(etc, etc.home / "layers") == []


def test_a_reader_of_the_home_writes_nowhere_while_a_task_runs(base, tiny_tar):
    etc = Etc(base)
    etc.ok("image", "import", tiny_tar, "--name", "tiny")
    f = etc.base / "p.yaml"
    f.write_text("# two documents\n" + pipeline({
        "t": {**sh('umask 0; echo 1 >/kfp-workspace/w; echo 2 >"$DUGOUT_CHECKPOINT_DIR/c"; '
                   'mkdir -p "$(dirname "$0")"; echo data >"$0"; mkdir -p "$(dirname "$1")"; '
                   'printf 5 >"$1"; echo up; until [ -e /kfp-workspace/go ]; do sleep 0.1; done',
                   "{{$.outputs.artifacts['d'].path}}", out_param("n")),
              "art_out": {"d": "system.Dataset"}, "out": {"n": "NUMBER_INTEGER"}}})
        + "\n---\n" + json.dumps({"platforms": {"kubernetes": {"pipelineConfig": {"workspace": {
            "size": "1Gi"}}}}}))
    etc.ok("run", "-d", f)
    wait_until(lambda: etc("logs", "@latest/t").out == "up\n")
    assert writable(etc, etc.home) == []
    given = [next(etc.home.glob("runs/*/" + p)) for p in (
        "workspace/in/w", "*.checkpoint/in/c", "*/io/out", "*/io/params")]
    assert all(p.stat().st_mode & 0o002 for p in given)
    given[0].with_name("go").write_text("")
    wait_until(lambda: json.loads(etc("show", "@latest", "--json").out)["state"] == "SUCCEEDED")
    assert writable(etc, etc.home) == []


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
