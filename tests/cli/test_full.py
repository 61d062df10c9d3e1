# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, read-only, out of inodes or busy, and limits on the size of files."""

import contextlib
import ctypes
import fcntl
import os
import resource
import shutil
import subprocess
import time

import pytest

from conftest import BIN, Dugout, sh, wait_until
from test_house import art

NOTHING = ("--grace", "0s", "--keep-runs", "0", "--keep-days", "0")


@pytest.fixture
def disk(tmp_path, template):
    """Make a small ext4 with a home on it; gives the binary with that home."""
    mounts = []

    def make(megabytes=64, inodes=4096):
        mnt, img = tmp_path / "mnt", tmp_path / "img"
        mnt.mkdir()
        with open(img, "wb") as f:
            f.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-N", str(inodes), img], check=True)
        done = subprocess.run(["mount", "-o", "loop", img, mnt], capture_output=True, text=True)
        if done.returncode:
            pytest.skip("no loop mount here: " + done.stderr.strip())
        mounts.append(mnt)
        shutil.copytree(template, mnt / "home", symlinks=True)
        return Dugout(mnt / "home")

    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4")
    yield make
    for mnt in mounts:
        subprocess.run(["umount", "-l", mnt], check=True)


def left(d):
    fs = os.statvfs(d.home)
    return fs.f_bfree * fs.f_frsize


def fill(d, leave=0):
    """Take all of the disk but `leave` bytes."""
    hog = d.home.parent / "hog"
    fd = os.open(hog, os.O_WRONLY | os.O_CREAT)
    for step in (1 << 20, 1 << 12):
        try:
            while left(d) > leave + step:
                size = os.fstat(fd).st_size
                os.posix_fallocate(fd, size, step)
        except OSError:
            continue
    os.close(fd)
    return hog


def whole(d):
    """Every blob is what its name says, and nothing lies in tmp/."""
    r = d("fsck", "--full", "--json")
    assert r.rc == 0 and r.json["damage"] == 0, r
    d.ok("gc", *NOTHING)
    wait_until(lambda: not list((d.home / "tmp").iterdir()))


EATER = 'mkdir -p "$(dirname "$0")"; head -c 100000000 /dev/zero >"$0"; exit %d'


@pytest.mark.parametrize("status", [0, 1])
def test_a_task_that_fills_the_disk_is_recorded_and_the_space_comes_back(disk, write, status):
    d = disk()
    before = left(d)
    f = write({"eat": {**sh(EATER % status, art("x")), "art_out": {"x": "system.Dataset"}},
               "next": {**sh('mkdir -p "$(dirname "$0")"; echo ok >"$0"', art("y")), "after": ["eat"],
                        "art_out": {"y": "system.Dataset"}}})
    r = d("run", f)
    assert r.rc in ((1,) if status else (0, 1)), r
    assert d.ok("runs", "--json").json[0]["state"] in ("FAILED", "SUCCEEDED")
    if status:
        assert d.states() == {"eat": "FAILED", "next": "SKIPPED"}
    else:
        assert d.states()["eat"] in ("SUCCEEDED", "FAILED")
    whole(d)
    wait_until(lambda: left(d) > 0.8 * before)  # what the box had open goes with its last process
    r = d("run", write({"t": sh("true")}, name="after"))
    assert r.rc == 0, r


def test_an_ingest_that_does_not_fit_says_so_and_leaves_nothing(disk, tmp_path):
    d = disk()
    big = tmp_path / "big"
    with open(big, "wb") as f:
        for i in range(100):
            f.write(os.urandom(1 << 20))
    before = left(d)
    r = d("artifact", "import", big)
    assert r.rc == 6 and "No space left" in r.err and "dugout gc" in r.err, r
    whole(d)
    wait_until(lambda: left(d) > before - (1 << 20))
    many = tmp_path / "many"
    many.mkdir()
    for i in range(60):
        (many / str(i)).write_bytes(os.urandom(1 << 20))
    r = d("artifact", "import", many)
    assert r.rc == 6 and "No space left" in r.err, r
    whole(d)
    wait_until(lambda: left(d) > before - (1 << 20))


def test_a_full_inode_table_is_said_and_the_task_fails(disk, write, tmp_path):
    d = disk(inodes=600)
    free = os.statvfs(d.home).f_ffree
    f = write({"t": {**sh('mkdir -p "$0"; i=0; while [ $i -lt 2000 ]; do echo >"$0/$i" || exit 3; i=$((i+1)); done',
                          art("x")), "art_out": {"x": "system.Dataset"}},
               "next": {**sh("true"), "after": ["t"]}})
    r = d("run", f)
    assert r.rc == 1 and d.states() == {"t": "FAILED", "next": "SKIPPED"}, r
    whole(d)
    many = tmp_path / "many"
    many.mkdir()
    for i in range(1000):
        (many / str(i)).write_text(str(i))
    r = d("artifact", "import", many)
    assert r.rc == 6 and "No space left" in r.err, r
    whole(d)
    wait_until(lambda: os.statvfs(d.home).f_ffree > free - 40)
    assert "inodes" in d("run", write({"t": sh("true")}, name="few")).err


def turned_read_only(disk, write):
    """A home with one run, whose disk cannot be written to any more."""
    d = disk()
    d.ok("run", write({"t": {**sh('mkdir -p "$(dirname "$0")"; echo ok >"$0"', art("x")),
                             "art_out": {"x": "system.Model"}}}))
    subprocess.run(["mount", "-o", "remount,ro", d.home.parent], check=True)
    return d


def test_a_read_only_home_can_be_read_and_says_why_it_cannot_run(disk, write):
    d = turned_read_only(disk, write)
    mnt = d.home.parent
    assert d.ok("runs", "--json").json[0]["state"] == "SUCCEEDED"
    assert d.ok("artifact", "cat", "@latest/t:x").out == "ok\n"
    for command in (["run", write({"t": sh("true")}, name="q")], ["artifact", "import", __file__], ["gc"]):
        r = d(*command)
        assert r.rc == 6 and "ead-only" in r.err, r
    subprocess.run(["mount", "-o", "remount,rw", mnt], check=True)
    whole(d)


def test_a_file_size_limit_is_an_error_and_no_death(dugout, write, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(os.urandom(6 << 20))
    cap = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
    done = subprocess.run([BIN, "artifact", "import", big], env=dugout.env(), preexec_fn=cap,
                          capture_output=True, text=True)
    assert done.returncode == 6 and "File too large" in done.stderr, done
    f = write({"t": {**sh(EATER % 0, art("x")), "art_out": {"x": "system.Dataset"}}})
    done = subprocess.run([BIN, "run", f], env=dugout.env(), preexec_fn=cap, capture_output=True, text=True)
    assert done.returncode in (0, 1), done
    assert dugout.ok("runs", "--json").json[0]["state"] in ("FAILED", "SUCCEEDED")
    whole(dugout)


def test_the_last_run_tells_what_the_next_will_need(disk, write):
    d = disk()
    f = write({"t": {**sh('mkdir -p "$(dirname "$0")"; head -c 20000000 /dev/zero >"$0"; echo $RANDOM >>"$0"', art("x")),
                     "art_out": {"x": "system.Dataset"}}})
    assert "stored" not in d.ok("run", f).err
    hog = fill(d, leave=12 << 20)
    r = d("run", f, "--no-cache")
    assert "the last run of this pipeline stored 19.1 MiB" in r.err and r.rc == 1, r
    hog.unlink()
    d.ok("run", f, "--no-cache")


def test_a_disk_that_is_full_from_the_start_is_named(disk, write):
    d = disk()
    d.ok("run", write({"t": sh("true")}, name="before"))
    hog = fill(d)
    r = d("run", write({"t": {**sh('mkdir -p "$(dirname "$0")"; echo ok >"$0"', art("x")),
                              "art_out": {"x": "system.Dataset"}}}))
    assert r.rc in (0, 1, 6) and (r.rc == 0 or "No space left" in r.err), r
    hog.unlink()
    whole(d)
    d.ok("run", write({"t": sh("true")}, name="after"))


def test_a_full_disk_without_ballast_can_still_be_collected(disk, write):
    """Not a byte for the record of what goes: what crashes left goes first, and makes the room."""
    d = disk()
    big = {"t": {**sh('mkdir -p "$(dirname "$0")"; head -c 3000000 /dev/urandom >"$0"', art("x")),
                 "art_out": {"x": "system.Dataset"}}}
    d.ok("run", write(big))
    (d.home / "ballast").unlink()
    (d.home / "trash" / "left").write_bytes(os.urandom(1 << 20))
    fill(d)
    r = d("fsck", "--full", "--json")
    assert r.rc == 0 and r.json["damage"] == 0, r
    before = left(d)
    doc = d.ok("gc", *NOTHING, "--json").json
    assert doc["tombstones"] == 1 and doc["blobs"]["count"] >= 1 and doc["trash"]["count"] == 1, doc
    assert left(d) > before + 3000000
    d.ok("runs")


def test_a_disk_without_inodes_can_be_collected(disk, write):
    d = disk(inodes=600)
    d.ok("run", write({"t": sh("true")}))
    made = 0
    try:
        while True:
            (d.home.parent / ("f%d" % made)).touch()
            made += 1
    except OSError:
        pass
    assert made
    d.ok("gc", *NOTHING)


def test_a_failure_to_write_a_file_says_why(disk, write):
    d = turned_read_only(disk, write)
    mnt = d.home.parent
    for command in (["export", "mlmd", mnt / "x"], ["artifact", "export", "a1", mnt / "x", "--oci"],
                    ["report", "@latest", "-o", mnt / "x"]):
        r = d(*command)
        assert r.rc == 6 and "Read-only" in r.err, r
    subprocess.run(["mount", "-o", "remount,rw", mnt], check=True)


def test_a_home_on_a_shared_file_system_is_refused_unless_forced(tmp_path):
    """A FUSE mount without a server: to others than its owner the kernel answers statfs by itself."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not shutil.which("setpriv"):
        pytest.skip("needs root, /dev/fuse and setpriv")
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    for d in (tmp_path, *list(tmp_path.parents)[:2]):
        d.chmod(0o755)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = ("fd=%d,rootmode=40755,user_id=0,group_id=0" % fuse).encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"x", str(mnt).encode(), b"fuse", 0, options) != 0:
        pytest.skip("no FUSE mount here: " + os.strerror(ctypes.get_errno()))
    try:
        done = subprocess.run(["setpriv", "--reuid", "12345", "--clear-groups", BIN, "--home", mnt, "gc"],
                              capture_output=True, text=True, timeout=300)
    finally:
        subprocess.run(["umount", "-l", mnt], check=True)
        os.close(fuse)
    assert done.returncode == 2 and "is on FUSE" in done.stderr and "network_home" in done.stderr, done


def test_what_the_file_system_can_do_is_asked_once(dugout):
    answer = dugout.home / "locks" / "probe"
    dugout.ok("runs")
    assert "nameless" in answer.read_text() and "clones" in answer.read_text()
    answer.write_text("asked before\n")
    dugout.ok("runs")
    assert answer.read_text() == "asked before\n"


FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


@contextlib.contextmanager
def frozen(path):
    """No write to the disk of path ends meanwhile."""
    fd = os.open(path, os.O_RDONLY)
    fcntl.ioctl(fd, FIFREEZE, 0)
    try:
        yield
    finally:
        fcntl.ioctl(fd, FITHAW, 0)
        os.close(fd)


@pytest.fixture
def box_of(disk):
    """Start a box on a small disk, which does something, says so and waits for a word."""
    d = disk()
    long_ago = time.time() - 60
    for name in ("dugout.db", "dugout.db-wal"):
        os.utime(d.home / name, (long_ago, long_ago))
    d.ok("box", "tiny", "--", "true")  # which keeps the names: no database from here on

    def start(script):
        box = d.start("box", "-i", "tiny", "--", "sh", "-c", script + "; echo here; read word",
                      stdin=subprocess.PIPE)
        assert box.stdout.readline() == "here\n"
        return d, box

    return start


def go_on(box):
    box.stdin.write("go\n")
    box.stdin.flush()


def is_stuck(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0] == "D"


@contextlib.contextmanager
def unwritten(path):
    """96 MiB that wait for another disk, unless the kernel writes them at once."""
    with open(path, "wb") as f:
        f.write(bytes(96 << 20))
        f.flush()
        try:
            yield
        finally:
            f.truncate(0)


def test_a_command_ends_while_its_disk_takes_no_writes(box_of, tmp_path):
    """Freeing a directory takes a busy disk 300 ms, a frozen one for ever: no exit waits for that."""
    for _ in range(10):
        d, box = box_of("true")
        with unwritten(tmp_path / "unwritten"), frozen(d.home):
            go_on(box)
            wait_until(lambda: box.poll() is not None or is_stuck(box.pid))
            ended = box.poll()
        assert box.wait() == 0
        if ended == 0:
            break
    else:
        raise AssertionError("it waited for the disk, ten times")
    wait_until(lambda: not os.listdir(d.home / "tmp"))


def test_what_takes_room_is_gone_when_the_command_returns(box_of, tmp_path):
    d, box = box_of("dd if=/dev/zero of=/big bs=1M count=4 2>/dev/null")
    with unwritten(tmp_path / "unwritten"), frozen(d.home):
        go_on(box)
        wait_until(lambda: box.poll() is not None or is_stuck(box.pid))
        assert box.poll() is None
    assert box.wait() == 0
    assert os.listdir(d.home / "tmp") == []
