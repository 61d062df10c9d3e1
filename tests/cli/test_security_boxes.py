# SPDX-License-Identifier: Apache-2.0
"""Hostile commands in boxes: cases 24 to 40 and 45 of the security list.

tests/mutants/boxes.txt lists the defences that are tested.
"""

import os
import pathlib
import pty
import select
import shutil
import socket
import subprocess
import tempfile

import pytest

from conftest import BIN, Dugout, ever_longer, pipeline, sh, wait_until
from hostile import (
    as_user, canary, compile_probe, dir_, docker, file_, link, sha, tar_of,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="hostile commands are tried as root")


@pytest.fixture(scope="module")
def home(template, tiny_tar, tmp_path_factory):
    """A home with the image p: tiny and the probe."""
    base = tmp_path_factory.mktemp("boxes")
    d = Dugout(base / "home")
    shutil.copytree(template, d.home, symlinks=True)
    probe = compile_probe(base).read_bytes()
    tools = tar_of(file_("probe", probe, 0o755))
    d.ok("image", "load", docker(base / "p.tar", [tiny_tar.read_bytes(), tools], name="p:1"))
    d.tools = tools
    return d


@pytest.fixture
def image(home, tiny_tar, tmp_path):
    """Load tiny, the probe and more layers as evil:1."""

    def image_(*layers, **config):
        path = docker(tmp_path / "evil.tar", [tiny_tar.read_bytes(), home.tools, *layers], **config)
        home.ok("image", "load", path)

    return image_


def box(home, *argv, image="p:1", flags=(), **kw):
    return home("box", *flags, image, "--", *argv, **kw)


# ---- 24, 25: dugout's own file, descriptors --------------------------------------------------------


def test_24_the_host_s_dugout_cannot_be_reached(home, image):
    before = sha(pathlib.Path(BIN).read_bytes()), os.stat(BIN).st_mtime_ns
    image(tar_of(link("exe", "/proc/self/exe"), file_("script", b"#!/proc/self/exe\n", 0o755)))
    for entry in ("/proc/self/exe", "/exe", "/script"):
        r = box(home, entry, "version", image="evil:1")
        assert "dugout" not in r.out, r
    script = """readlink /proc/1/exe
    for i in 1 self; do
        (echo evil >/proc/$i/exe) 2>/dev/null && echo written
        (echo evil >>/proc/$i/exe) 2>/dev/null && echo appended
        (exec 9<>/proc/$i/exe) 2>/dev/null && echo opened
    done
    cp /probe /tmp/q; /tmp/q call 2 /proc/1/exe 1"""
    r = box(home, "sh", "-c", script)
    # PID 1 is not dumpable, so not even its link can be read
    assert r.out in ("EACCES\n", "EPERM\n"), r
    assert (sha(pathlib.Path(BIN).read_bytes()), os.stat(BIN).st_mtime_ns) == before


def test_24_pid_1_is_a_sealed_memory_file(home):
    """What a box could reach if it were let: seen from outside, as root."""
    p = home.start("box", "p:1", "--", "sleep", "600")
    try:
        pid1 = child_in_box(p.pid)
        exe = os.readlink("/proc/%d/exe" % pid1)
        assert "memfd:dugout-init" in exe
        fd = os.open("/proc/%d/exe" % pid1, os.O_RDONLY)
        import fcntl
        assert fcntl.fcntl(fd, 1034) & 0xf == 0xf  # F_GET_SEALS: seal, shrink, grow, write
        os.close(fd)
    finally:
        p.kill()
        p.wait()


def child_in_box(pid: int) -> int:
    """PID 1 of the box that a process has, once it has started the command."""

    def look():
        kids = pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()
        for kid in kids:
            try:
                status = pathlib.Path("/proc/%s/status" % kid).read_text()
                grand = pathlib.Path("/proc/%s/task/%s/children" % (kid, kid)).read_text()
            except OSError:
                continue  # it has just ended
            if "\nNSpid:\t%s\t1\n" % kid in status and grand.strip():
                return int(kid)
        return None

    return wait_until(look)


@pytest.mark.parametrize("user", [None, "1001"])
def test_25_no_working_directory_of_the_host(home, image, user):
    flags = ["--user", user] if user else []
    leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for where in ["/proc/self/fd/%d" % n for n in range(3, 64, 3)] + ["/proc/self/root", "/proc"]:
            r = subprocess.run(
                [BIN, "box", *flags, "--workdir", where, "p:1", "--", "ls"],
                env=home.env(), capture_output=True, text=True, pass_fds=(leak,))
            assert r.returncode == 125, r
        for target in ["/proc/self/fd/%d" % n for n in range(0, 20)] + ["/proc/1/cwd",
                                                                         "/proc/self/root"]:
            image(tar_of(link("w", target)), WorkingDir="/w")
            r = subprocess.run([BIN, "box", *flags, "evil:1", "--", "pwd"], env=home.env(),
                               capture_output=True, text=True, pass_fds=(leak,))
            assert r.returncode == 125, (target, r)
    finally:
        os.close(leak)


def test_25_descriptors_of_the_caller_stay_outside(home):
    leak = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(5)]
    try:
        r = subprocess.run([BIN, "box", "p:1", "--", "sh", "-c", "ls -l /proc/self/fd /proc/1/fd"],
                           env=home.env(), capture_output=True, text=True, pass_fds=leak)
        names = [line.split()[8] for line in r.stdout.splitlines() if len(line.split()) > 8]
        # 3: of PID 1 the socket to its parent, of ls the directory that it reads
        assert set(names) == {"0", "1", "2", "3"}, r.stdout
        assert not [n for n in r.stdout.splitlines() if n.endswith("-> /")]
    finally:
        for fd in leak:
            os.close(fd)


# Standard streams lead to files of the host as well: they could be opened anew, in other ways.
THROUGH = """for n in 0 1 2; do f=/proc/$$/fd/$n
    timeout 1 cat $f >/tmp/$n 2>/dev/null; timeout 1 sh -c "echo SPOILED >$f" 2>/dev/null; chmod 666 $f; done
    cat /tmp/[012]; echo the end; echo of it >&2"""


def caller_s_files(call, tmp_path):
    """Run THROUGH with files as standard streams; what they are then."""
    for name, text in (("in", "precious\n"), ("out", "SECRET 1\n"), ("err", "SECRET 2\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    with open(tmp_path / "in") as i, open(tmp_path / "out", "a") as o, open(tmp_path / "err", "a") as e:
        assert subprocess.run([*call, "sh", "-c", THROUGH], stdin=i, stdout=o, stderr=e,
                              timeout=300).returncode == 0
    for name in ("in", "out", "err"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600, name
    assert (tmp_path / "in").read_text() == "precious\n"
    for name, first, last in (("out", "SECRET 1\n", "the end\n"), ("err", "SECRET 2\n", "of it\n")):
        text = (tmp_path / name).read_text()
        # what it wrote into a pipe may come out of it
        assert text.startswith(first) and text.endswith(last) and text.count("SECRET") == 1, text


def test_25_the_caller_s_files_are_not_open_in_a_box(home, tmp_path, monkeypatch):
    monkeypatch.setenv("DUGOUT_HOME", str(home.home))
    caller_s_files([BIN, "box", "-i", "p:1", "--"], tmp_path)
    directory = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    r = subprocess.run([BIN, "box", "-i", "p:1", "--", "sh", "-c", "ls /proc/self/fd/0/ || cat"],
                       stdin=directory, capture_output=True, text=True, timeout=300)
    os.close(directory)
    assert r.returncode == 0 and r.stdout == "", r


def test_25_nor_in_a_command_that_enters_one(home, tmp_path, monkeypatch):
    monkeypatch.setenv("DUGOUT_HOME", str(home.home))
    (tmp_path / "p.json").write_text(pipeline({"t": {**sh("sleep 600"), "image": "p:1"}}))
    p = home.start("run", tmp_path / "p.json", "--no-cache")
    wait_until(lambda: home("exec", "@latest/t", "true").rc == 0)
    caller_s_files([BIN, "exec", "-i", "@latest/t"], tmp_path)
    home.ok("cancel", "@latest")
    p.communicate(timeout=300)


def test_what_goes_through_a_relay_is_whole(home, tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "in").write_bytes(data)
    with open(tmp_path / "in") as i, open(tmp_path / "out", "w") as o:
        subprocess.run([BIN, "box", "-i", "p:1", "--", "cat"], stdin=i, stdout=o, env=home.env(), check=True)
    assert (tmp_path / "out").read_bytes() == data
    with open(tmp_path / "in") as i, open(tmp_path / "out", "w") as o:  # who does not read it all
        r = subprocess.run([BIN, "box", "-i", "p:1", "--", "sh", "-c", "for n in 1 2 3; do echo $n; echo e$n >&2; "
                            "done; exit 7"], stdin=i, stdout=o, stderr=subprocess.STDOUT, env=home.env())
    assert (r.returncode, (tmp_path / "out").read_text()) == (7, "1\ne1\n2\ne2\n3\ne3\n")
    with open("/dev/full", "w") as full:
        r = subprocess.run([BIN, "box", "p:1", "--", "echo", "lost"], stdout=full, stderr=subprocess.PIPE,
                           env=home.env(), text=True)
    assert r.returncode == 125 and "No space left" in r.stderr


# ---- 26 to 28: where things are mounted -------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("how", ["absolute", "relative", "file"])
def test_26_27_dev_proc_and_sys_must_be_directories(home, image, canary, name, how):
    evil = {"absolute": link(name, str(canary.path)), "file": file_(name),
            "relative": link(name, "../../../.." + str(canary.path))}[how]
    image(tar_of(dir_(str(canary.path)[1:]), evil))
    r = box(home, "ls", "/" + name, image="evil:1")
    assert r.rc == 125 and "/%s is not a directory" % name in r.err, r
    assert canary.same()


def test_26_what_an_image_has_below_dev_is_not_used(home, image, canary):
    image(tar_of(dir_("dev"), link("dev/null", str(canary.file)), link("dev/pts", str(canary.path)),
                 link("dev/shm", str(canary.path)), link("dev/zero", "/etc/passwd"),
                 file_("dev/random", b"4"), link("dev/mqueue", str(canary.path)),
                 link("dev/fd", str(canary.path)), link("dev/ptmx", str(canary.path))))
    script = ("echo x >/dev/null; touch /dev/shm/x /dev/x; stat -f -c %T /dev /dev/shm /dev/pts; "
              "stat -c '%F %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty")
    r = box(home, "sh", "-c", script, image="evil:1")
    assert r.out.split("\n") == [
        "tmpfs", "tmpfs", "devpts", "character special file 1:3", "character special file 1:5",
        "character special file 1:7", "character special file 1:8", "character special file 1:9",
        "character special file 5:0", ""], r
    assert canary.same()


def test_27_files_below_proc_and_sys_are_covered(home, image):
    image(tar_of(dir_("proc"), file_("proc/version", b"mine"), link("proc/self", "/etc"),
                 dir_("sys"), file_("sys/mine"), link("sys/fs", "/etc")))
    r = box(home, "sh", "-c", "stat -f -c %T /proc /sys; cat /proc/version; ls /sys", image="evil:1")
    assert r.out.split("\n")[:2] == ["proc", "sysfs"] and "Linux version" in r.out, r
    assert "mine" not in r.out


def test_28_a_racing_step_gains_nothing(home, canary, tmp_path):
    """One box swaps v/sub with a link to the host in a shared volume, others mount below it."""
    tries = int(os.environ.get("DUGOUT_TEST_RACES") or 60)
    volume = tmp_path / "v"
    (volume / "real").mkdir(parents=True)
    (volume / "sub").symlink_to(canary.path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "inner").write_text("fine")
    racer = home.start("box", "-v", "%s:/v:rw" % volume, "p:1", "--", "/probe", "swap", "/v/sub",
                       "/v/real", "3600")
    try:
        child_in_box(racer.pid)
        started = 0
        for i in range(tries):
            r = box(home, "sh", "-c", "cat /v/sub/x%d/inner || ls -R /v" % i, flags=[
                "-v", "%s:/v:rw" % volume, "-v", "%s:/v/sub/x%d" % (other, i), "--workdir",
                "/v/sub/w%d" % i])
            started += r.rc == 0
            assert r.rc in (0, 1, 125), r
        assert started
    finally:
        racer.kill()
        racer.wait()
    assert canary.same()
    assert not [m for m in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if str(canary.path) in m]


# ---- 29, 30: /proc and /sys --------------------------------------------------------------------------


def test_29_switches_of_the_host_cannot_be_written(home):
    """They cannot be opened for that; were it possible, nothing would be written."""
    before = {p: pathlib.Path(p).read_text() for p in
              ("/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper")
              if os.path.exists(p)}
    script = """for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness \
        /proc/sys/kernel/modprobe /proc/irq/default_smp_affinity /proc/sys/fs/file-max \
        /sys/kernel/uevent_helper /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent \
        /sys/fs/cgroup/cgroup.procs /sys/power/state /sys/kernel/mm/transparent_hugepage/enabled \
        /proc/sys/net/ipv4/ip_forward /proc/bus/x /proc/fs/x; do
        (: >>$f) 2>/dev/null && echo "opened $f"
    done
    mkdir /sys/fs/cgroup/x 2>/dev/null && echo made
    echo end"""
    for flags in ([], ["--network", "host"], ["--user", "1001"]):
        r = box(home, "sh", "-c", script, flags=flags)
        assert r.out == "end\n", r
    assert before == {p: pathlib.Path(p).read_text() for p in before}
    mounts = [line.split() for line in box(home, "cat", "/proc/self/mountinfo").out.splitlines()]
    options = {m[4]: m[5].split(",") for m in mounts}
    for where in ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/sys"):
        if os.path.exists(where):
            assert "ro" in options.get(where, []), (where, options)


def test_30_memory_keys_and_firmware_are_masked(home):
    script = """for f in kcore keys timer_list sched_debug latency_stats interrupts; do
        [ -e /proc/$f ] && head -c 100 /proc/$f | wc -c
    done
    for f in /sys/firmware /sys/devices/virtual/powercap /proc/acpi /proc/scsi /proc/asound; do
        [ -d $f ] && ls -A $f
    done
    echo end"""
    r = box(home, "sh", "-c", script)
    assert set(r.out.split()) <= {"0", "end"} and r.out.endswith("end\n"), r
    # covered, and not just empty here
    covered = box(home, "cat", "/proc/self/mountinfo").out
    for f in ("/proc/kcore", "/proc/keys", "/sys/firmware"):
        if os.path.exists(f):
            assert " %s " % f in covered


# ---- 31, 32: system calls -----------------------------------------------------------------------------

REFUSED = {  # x86-64
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "setns": 308, "unshare": 272,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "open_tree": 428,
    "move_mount": 429, "mount_setattr": 442, "init_module": 175, "finit_module": 313,
    "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "reboot": 169,
    "settimeofday": 164, "clock_settime": 227, "swapon": 167, "swapoff": 168, "quotactl": 179,
    "acct": 163, "syslog": 103, "vhangup": 153, "iopl": 172, "ioperm": 173, "bpf": 321,
    "perf_event_open": 298, "userfaultfd": 323, "fanotify_init": 300, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427, "add_key": 248, "request_key": 249,
    "keyctl": 250, "open_by_handle_at": 304, "kcmp": 312, "move_pages": 279, "migrate_pages": 256,
    "pidfd_getfd": 438, "process_madvise": 440, "lookup_dcookie": 212, "sethostname": 170,
    "setdomainname": 171, "ustat": 136, "uselib": 134, "sysfs": 139, "quotactl_fd": 443,
    "open_tree_attr": 467,
}
x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers are x86-64's")


def calls(home, lines, flags=()):
    r = box(home, "sh", "-c", "\n".join("/probe " + line for line in lines), flags=flags)
    return r.out.split()


@x86
@pytest.mark.parametrize("user", ["0", "1001"])
def test_31_calls_that_reach_the_kernel_s_depths_are_refused(home, user):
    got = calls(home, ["call %d" % nr for nr in REFUSED.values()], ["--user", user])
    assert dict(zip(REFUSED, got)) == {name: "EPERM" for name in REFUSED}


@x86
def test_31_no_namespace_by_any_call(home):
    assert calls(home, ["clone 0x%x" % f for f in (
        0x10000000, 0x20000000, 0x00020000, 0x40000000, 0x04000000, 0x08000000, 0x02000000)]) == [
            "EPERM"] * 7
    assert calls(home, ["clone 0"]) == ["ok"]
    assert calls(home, ["call 435 0 0"]) == ["ENOSYS"]  # clone3 hides its flags


@x86
def test_31_other_doors_are_shut(home):
    # 32-bit calls, x32 calls, numbers of the future; personality, VSOCK and the audit socket
    assert calls(home, ["int80 20", "int80 21", "x32 39", "x32 165", "call 1000", "call 472"]) == [
        "EPERM", "EPERM", "ENOSYS", "ENOSYS", "ENOSYS", "ENOSYS"]
    assert calls(home, ["call 135 0x40000", "call 41 40 1 0", "call 41 16 3 9",
                        "call 41 0x100000028 1 0"]) == ["EPERM"] * 4
    assert calls(home, ["call 135 0xffffffff", "call 41 1 1 0", "call 41 16 3 0"]) == ["ok"] * 3


@x86
def test_31_what_machine_learning_needs_is_allowed(home):
    # get_mempolicy, set_mempolicy, memfd_create, sched_getaffinity's neighbour, mlock, ptrace me
    assert calls(home, ["call 239 0 0 0 0 0", "call 238 0 0 0", "call 319 /m 0", "call 101 0 0 0 0",
                        "call 204 0 0 0"])[:4] == ["ok"] * 4
    assert calls(home, ["call 237 0 0 0 0 0 4"]) == ["EPERM"]  # mbind that moves others' pages


TIOCSTI = ["0x5412", "0x100005412", "0xffffffff00005412", "0x541c", "0x10000541c"]


def test_32_nothing_is_typed_into_the_caller_s_terminal(home):
    master, slave = pty.openpty()
    script = "; ".join("/probe ioctl " + r for r in TIOCSTI)
    p = subprocess.Popen([BIN, "box", "-i", "p:1", "--", "sh", "-c", script], stdin=slave,
                         stdout=subprocess.PIPE, env=home.env(), start_new_session=True,
                         preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 1), text=True)
    out, _ = p.communicate(timeout=300)
    assert out.split() == ["EPERM"] * len(TIOCSTI)
    os.set_blocking(slave, False)
    assert not select.select([slave], [], [], 0.1)[0]
    os.close(master)
    os.close(slave)


def test_32_nor_into_the_terminal_of_a_box(home):
    script = "; ".join("/probe ioctl " + r for r in TIOCSTI)
    r = subprocess.run(["script", "-qec", "%s box -t p:1 -- sh -c '%s'" % (BIN, script), "/dev/null"],
                       env=home.env(), capture_output=True, text=True, timeout=300)
    assert r.stdout.replace("^@", "").split() == ["EPERM"] * len(TIOCSTI), r


# ---- 33: devices ----------------------------------------------------------------------------------------


def test_33_no_device_is_made_or_opened(home):
    script = """mknod /a b 8 0 2>&1; mknod /b c 195 0 2>&1; mknod /dev/c c 1 1 2>&1
    ls /dev | sort | tr '\\n' ' '; for f in /dev/sda /dev/vda /dev/mem /dev/kmsg /dev/nvidia0; do
    (exec 9<$f) 2>/dev/null && echo open $f; done; for f in null zero full random urandom; do
    (exec 9<>/dev/$f) || echo shut $f; done"""
    r = box(home, "sh", "-c", script)
    assert r.out.count("Operation not permitted") == 3, r
    assert r.out.splitlines()[-1].split() == [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero"], r


def test_33_the_device_rule_holds_where_a_node_is_visible(home, tmp_path):
    """A second lock: a node of the host that was mounted in cannot be opened."""
    facts = {f["name"]: f for f in home.ok("doctor", "--json").json}
    if "devices" not in facts["cgroup"]["value"].split("not")[0]:
        pytest.skip("no device rule here: " + facts["cgroup"]["value"])
    where = tmp_path / "n"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "t", where], check=True)
    try:
        for name, major, minor in (("mem", 1, 1), ("null", 1, 3), ("kmsg", 1, 11)):
            os.mknod(where / name, 0o20666, os.makedev(major, minor))
        # nodev of the bind is the first lock; a remount in the host does not reach the box
        r = box(home, "sh", "-c", "for f in mem null kmsg; do (exec 9</n/$f) 2>/dev/null && "
                "echo open $f; done; true", flags=["-v", "%s:/n:rw" % where])
        assert r.out == "", r
        pid = enter_slot(home, "for f in mem kmsg null; do (exec 9<%s/$f) 2>/dev/null && "
                         "echo open $f; done" % where)
        assert pid == "open null\n"
    finally:
        subprocess.run(["umount", where], check=True)


def enter_slot(home, script: str) -> str:
    """Run a script on the host in the cgroups of a running box."""
    p = home.start("box", "p:1", "--", "sleep", "600")
    try:
        pid1 = child_in_box(p.pid)
        procs = []
        mounts = [m.split() for m in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
        for line in pathlib.Path("/proc/%d/cgroup" % pid1).read_text().splitlines():
            _, names, path = line.split(":", 2)
            for m in mounts:
                kind, options = m[m.index("-") + 1], m[m.index("-") + 3].split(",")
                if (kind == "cgroup2" and not names) or (
                        kind == "cgroup" and names and names.split(",")[0] in options):
                    procs.append(pathlib.Path(m[4] + path) / "cgroup.procs")
        q = subprocess.Popen(["sh", "-c", "read x; " + script], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        for f in procs:
            if "dugout/slot-" in str(f):
                f.write_text(str(q.pid))
        out, _ = q.communicate("go\n", timeout=300)
        return out
    finally:
        p.kill()
        p.wait()


# ---- 34 to 36: greed and stubbornness -------------------------------------------------------------------


def can(home, what) -> bool:
    facts = {f["name"]: f for f in home.ok("doctor", "--json").json}
    return what in facts["cgroup"]["value"].split(" not ")[0].split()


def run_one(home, tmp_path, script, *flags, **task):
    (tmp_path / "p.json").write_text(pipeline({"t": {**sh(script), "image": "p:1", **task}}))
    r = home("run", tmp_path / "p.json", "--no-cache", "--json", *flags)
    return r, r.json["tasks"][0]


def test_34_a_fork_bomb_stays_in_its_box(home):
    if not can(home, "pids"):
        pytest.skip("no limit on processes here")
    r = box(home, "sh", "-c", "b() { b | b & }; b 2>/dev/null; sleep 1; exit 3",
            flags=["--pids", "60"], timeout=300)
    assert r.rc in (2, 3), r
    assert "limit of 60 processes" in r.err, r
    n = int(calls(home, ["threads 100000"], ["--pids", "200"])[0])
    assert 150 < n < 200


def test_34_a_memory_hog_is_killed_and_said(home, tmp_path):
    if not can(home, "memory"):
        pytest.skip("no limit on memory here")
    r = box(home, "/probe", "alloc", "2000", flags=["--memory", "64Mi"])
    assert r.rc == 137 and "out of memory: the limit is 64" in r.err, r
    r, t = run_one(home, tmp_path, "/probe alloc 2000", "--memory", "64Mi")
    assert r.rc == 1 and "out of memory" in t["error"] and "64" in t["error"], t
    assert 32 << 20 <= t["peak_memory_bytes"] <= 66 << 20


def test_34_a_log_flood_keeps_head_and_tail(home, tmp_path):
    (home.home / "config.yaml").write_text("log: 1Mi\n")
    try:
        r, t = run_one(home, tmp_path, "echo first; yes 0123456789abcdef | head -c 300000000; "
                                       "echo; echo last")
    finally:
        (home.home / "config.yaml").unlink()
    assert t["state"] == "SUCCEEDED", t
    log = home.ok("logs", "@latest/t").out
    assert len(log) < (1 << 20) + 500
    assert log.startswith("first\n") and log.endswith("\nlast\n") and "left out here" in log


def test_34_a_hog_of_descriptors_hits_its_own_limit(home):
    out = calls(home, ["fds"])
    assert out[1] in ("EMFILE", "ENFILE") and int(out[0]) <= 1048576


def with_word(word: str) -> set:
    """Processes that have the word among their arguments, as PID 1 of a box has its command's."""
    out = set()
    for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in p.read_bytes().split(b"\0"):
                out.add(int(p.parent.name))
        except OSError:
            pass
    return out


def test_35_nothing_is_left_of_a_step_that_will_not_go(home, write):
    word = "stubborn-%d" % os.getpid()
    (home.home / "config.yaml").write_text("grace: 1s\n")
    try:
        f = write({"t": {"command": ["/probe", "daemon", word], "image": "p:1"}})
        r = ever_longer(lambda timeout: home("run", f, "--timeout", timeout),
                        lambda r: home.ok("logs", "@latest/t").out == "left\n")
    finally:
        (home.home / "config.yaml").unlink()
    assert r.rc == 124
    wait_until(lambda: not with_word(word))
    assert "time-out" in home.ok("show", "@latest", "--json").json["tasks"][0]["error"]


def test_35_what_a_step_leaves_running_ends_with_it(home):
    word = "left-%d" % os.getpid()
    p = home.start("box", "p:1", "--", "sh", "-c",
                   "/probe daemon %s >/tmp/said & until [ -s /tmp/said ]; do :; done; exit 4" % word)
    wait_until(lambda: p.poll() is not None)
    assert p.returncode == 4
    wait_until(lambda: not with_word(word))


def test_36_a_killed_supervisor_leaves_nothing(home, write):
    word = "orphan-%d" % os.getpid()
    f = write({"t": {"command": ["sh", "-c", "sleep 600; true", word], "image": "p:1"}})
    p = home.start("run", f)
    try:
        first = wait_until(lambda: with_word(word))
        pid_files = [q for q in (home.home / "runs").glob("*/*.*/pid") if
                     not (q.parent / "result.json").exists()]
        assert len(pid_files) == 1
        os.kill(int(pid_files[0].read_text().split()[0]), 9)
        wait_until(lambda: not first & with_word(word))  # the next attempt has the word, too
    finally:
        p.terminate()
        p.communicate(timeout=300)
    home("cancel", "@latest")
    home.ok("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0")
    assert str(home.home) not in pathlib.Path("/proc/self/mountinfo").read_text()
    assert not list((home.home / "tmp").iterdir()) and not list((home.home / "trash").iterdir())
    assert not list((home.home / "runs").glob("*/*.*/box/*"))


# ---- 37 to 39: network, cgroups, credentials --------------------------------------------------------------


@pytest.fixture
def services():
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    name = "dugout-test-%d" % os.getpid()
    unix.bind("\0" + name)
    unix.listen()
    yield tcp.getsockname()[1], name
    tcp.close()
    unix.close()


def test_37_services_of_the_host_cannot_be_reached(home, services):
    port, name = services
    assert calls(home, ["connect %d" % port, "abstract " + name]) == ["ECONNREFUSED"] * 2
    # loopback of its own is up, and there is nothing else
    r = box(home, "sh", "-c", "ls /sys/class/net; cat /proc/net/route | wc -l")
    assert r.out.split() == ["lo", "1"], r


def test_37_with_the_host_s_network_they_can_and_it_is_said(home, services):
    port, name = services
    r = box(home, "sh", "-c", "/probe connect %d; /probe abstract %s" % (port, name),
            flags=["--network", "host"])
    assert r.out.split() == ["ok", "ok"]
    assert "127.0.0.1" in r.err, r


@pytest.fixture(scope="module")
def user(home, tmp_path_factory):
    """The same image in a home of an ordinary user."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    base = pathlib.Path(tempfile.mkdtemp(prefix="dugout-sec-user-"))
    base.chmod(0o755)
    shutil.copy(BIN, base / "dugout")
    work = base / "work"
    work.mkdir()
    os.chown(work, 12346, 12346)

    def call(*args):
        return subprocess.run(
            as_user(12346, base / "dugout", *args), cwd=work, capture_output=True, text=True,
            timeout=300, env={"PATH": os.environ["PATH"], "DUGOUT_HOME": str(work / "home"),
                              "HOME": str(work)})

    home.ok("image", "export", "p:1", base / "p.oci")
    (base / "p.oci").chmod(0o644)
    r = call("image", "load", base / "p.oci", "--name", "p:1")
    assert r.returncode == 0, r.stderr
    if call("box", "p:1", "--", "true").returncode == 125:
        pytest.skip("user namespaces cannot be had here")
    yield call
    shutil.rmtree(base)


@pytest.mark.parametrize("network", ["none", "host"])
def test_38_a_user_s_box_cannot_write_the_cgroup_tree(user, network):
    script = """find /sys/fs/cgroup -type f 2>/dev/null | while read f; do
        (: >>$f) 2>/dev/null && echo opened $f; done
    mkdir /sys/fs/cgroup/x 2>/dev/null && echo made
    grep ' /sys' /proc/self/mountinfo | while read a b c d where options rest; do
        case ,$options, in *,rw,*) echo "rw $where";; esac; done; echo end"""
    r = user("box", "--network", network, "p:1", "--", "sh", "-c", script)
    assert r.stdout == "end\n", r


@pytest.mark.parametrize("who, groups", [
    ("0", ""), ("1001", ""), ("1001:1002", ""), ("worker", " 50 60"), ("worker:other", "")])
def test_39_groups_and_capabilities_are_exactly_those_asked_for(home, image, who, groups):
    image(tar_of(dir_("etc"), file_("etc/passwd", b"root:x:0:0::/:/bin/sh\nworker:x:7:8::/w:/bin/sh\n"),
                 file_("etc/group", b"root:x:0:\nwheel:x:50:worker\nx:x:60:a,worker\nother:x:9:\n")))
    r = subprocess.run(["setpriv", "--groups", "1,2,3,999", BIN, "box", "--user", who, "evil:1",
                        "--", "/probe", "id"], env=home.env(), capture_output=True, text=True)
    lines = r.stdout.splitlines()
    assert lines[0].split("groups")[1].rstrip() == groups, r.stdout
    caps = dict(line.split(":\t") for line in lines[1:])
    zero = "0" * 16
    assert caps["CapInh"] == zero and caps["CapAmb"] == zero
    want = "00000000800004fb" if who == "0" else zero
    assert caps["CapPrm"] == caps["CapEff"] == caps["CapBnd"] == want, caps
    assert caps["NoNewPrivs"] == "1"


def test_39_inherited_capabilities_and_groups_of_a_caller_do_not_arrive(home):
    r = subprocess.run(["setpriv", "--inh-caps", "+net_admin,+sys_time", "--ambient-caps",
                        "+net_admin,+sys_time", "--groups", "4,5", BIN, "box", "p:1", "--", "/probe",
                        "id"], env=home.env(), capture_output=True, text=True)
    assert "CapInh:\t0000000000000000" in r.stdout and "CapAmb:\t0000000000000000" in r.stdout, r
    assert r.stdout.startswith("uid 0 0 0 gid 0 0 0 groups\n"), r


# ---- 40: the image's environment --------------------------------------------------------------------------


def test_40_no_host_process_takes_the_image_s_environment(home, image, canary, write, tmp_path):
    spy = tmp_path / "spy.so"
    (tmp_path / "spy.c").write_text(
        '#include <fcntl.h>\n__attribute__((constructor)) static void f(void)'
        '{ (void)open("%s/loaded", O_CREAT | O_WRONLY, 0600); }\n' % canary.path)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", spy, tmp_path / "spy.c"], check=True)
    evil = ["LD_PRELOAD=%s" % spy, "LD_AUDIT=%s" % spy, "GCONV_PATH=%s" % tmp_path,
            "LD_LIBRARY_PATH=%s" % tmp_path, "BASH_ENV=%s" % spy, "PATH=/probe:/bin",
            "NVIDIA_VISIBLE_DEVICES=all", "DUGOUT_HOME=/nowhere", "HOME=/evil"]
    image(Env=evil)
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nenv >%s/hook.env\n" % tmp_path)
    hook.chmod(0o755)
    (home.home / "config.yaml").write_text("hooks: {on_success: %s}\n" % hook)
    try:
        home.ok("run", write({"t": {**sh("echo $LD_PRELOAD"), "image": "evil:1"}}), "--no-cache")
        wait_until(lambda: (tmp_path / "hook.env").exists() and (tmp_path / "hook.env").read_text())
    finally:
        (home.home / "config.yaml").unlink()
    assert home.ok("logs", "@latest/t").out == "%s\n" % spy
    env = (tmp_path / "hook.env").read_text()
    assert "spy" not in env and "evil" not in env and "NVIDIA" not in env, env
    assert canary.same()


# ---- 45: binds ------------------------------------------------------------------------------------------------


def test_45_a_target_behind_a_link_stays_in_the_root(home, image, canary, tmp_path):
    image(tar_of(link("l", "/"), link("up", "../../../../../.."), link("h", str(canary.path)),
                 dir_(str(canary.path)[1:]), dir_("in")))
    src = tmp_path / "src"
    src.mkdir()
    (src / "f").write_text("mine")
    for dst, seen in (("/l/in", "/in/f"), ("/up/in", "/in/f"), ("/h", str(canary.path) + "/f"),
                      ("/h/sub", str(canary.path) + "/sub/f"), ("/l/new/dir", "/new/dir/f")):
        r = box(home, "cat", seen, image="evil:1", flags=["-v", "%s:%s" % (src, dst)])
        assert r.out == "mine", r
    assert canary.same()
    for dst in ("/", "/proc", "/proc/self", "/sys/fs", "/dev", "/x/../proc", "relative"):
        r = box(home, "true", flags=["-v", "%s:%s" % (src, dst)])
        assert r.rc in (2, 125), (dst, r)


def test_45_read_only_is_read_only_all_the_way_down(home, tmp_path):
    outer, inner = tmp_path / "o", tmp_path / "o" / "i"
    inner.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "t", inner], check=True)
    try:
        (inner / "f").write_text("x")
        r = box(home, "sh", "-c", "cat /m/i/f; echo y >/m/i/f; echo y >/m/g; rm /m/i/f",
                flags=["-v", "%s:/m" % outer])
        assert r.out == "x" and r.err.count("Read-only file system") == 3, r
        r = box(home, "sh", "-c", "echo y >/m/i/f; grep ' /m' /proc/self/mountinfo",
                flags=["-v", "%s:/m:rw" % outer])
        assert (inner / "f").read_text() == "y\n"
        assert all("nosuid,nodev" in line for line in r.out.splitlines()), r
    finally:
        subprocess.run(["umount", inner], check=True)


# ---- what outlives a box ------------------------------------------------------------------------------

GIVE = """
import array, os, socket, sys, time
flags, path = getattr(os, sys.argv[1]), sys.argv[2]
os.makedirs(os.path.dirname(path), exist_ok=True)
if sys.argv[3] == "dir":
    os.mkdir(path)
    path += "/f"
with open(path, "w") as f:
    f.write("GOOD")
fd = os.open(path, flags)
s = socket.socket(socket.AF_UNIX)
while s.connect_ex("/v/sock"):
    time.sleep(0.05)
s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
s.recv(1)
"""
TAKE = """
import array, os, socket, time
l = socket.socket(socket.AF_UNIX)
l.bind("/v/sock")
l.listen()
c, _ = l.accept()
_, given, _, _ = c.recvmsg(1, socket.CMSG_SPACE(4))
fd = array.array("i", given[0][2])[0]
c.send(b"k")
while not os.path.exists("/v/stored"):
    time.sleep(0.05)
try:
    os.pwrite(os.open("/proc/self/fd/%d" % fd, os.O_RDWR), b"EVIL", 0)
except OSError as e:
    print(e.strerror)
"""


@pytest.mark.parametrize("kind", ["file", "dir"])
@pytest.mark.parametrize("flags", ["O_PATH", "O_RDONLY", "O_RDWR"])
def test_what_was_stored_is_not_written_through_a_descriptor_handed_on(python_home, tmp_path, flags, kind):
    """By two tasks that work together, the second of which lives on."""
    (tmp_path / "v").mkdir()
    image, run = {"image": "python:3.12-slim"}, "handed-%s-%s" % (flags.lower().replace("_", "-"), kind)
    (tmp_path / "p.json").write_text(pipeline({
        "give": {**image, "command": ["python3", "-c", GIVE, flags, "{{$.outputs.artifacts['o'].path}}", kind],
                 "art_out": {"o": "system.Artifact"}},
        "take": {**image, "command": ["python3", "-c", TAKE]}}))
    p = python_home.start("run", tmp_path / "p.json", "-v", "%s:/v:rw" % (tmp_path / "v"),
                          "--jobs", "2", "--name", run)
    wait_until(lambda: python_home("show", run).rc == 0 and
               python_home.states(run).get("give") == "SUCCEEDED")
    (tmp_path / "v" / "stored").touch()
    _, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    if flags == "O_RDWR":  # the task's own copy was open for writing, and is not what was stored
        assert python_home.ok("logs", run + "/take").out == ""
    else:
        assert python_home.ok("logs", run + "/take").out == "Read-only file system\n"
    python_home.ok("artifact", "export", run + "/give:o", tmp_path / "o")
    assert (tmp_path / "o" / "f" if kind == "dir" else tmp_path / "o").read_text() == "GOOD"
    python_home.ok("fsck", "--full")
