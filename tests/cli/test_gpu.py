# SPDX-License-Identifier: Apache-2.0
"""GPUs on trees that look like a machine with some: found, handed out, kept apart, drained."""

import json
import os
import random
import shutil
import subprocess
import time

import pytest

from conftest import BIN, pipeline, sh, wait_until
from hostile import canary

import gputree
from gputree import DRIVER, PCI, UUID

if os.geteuid() != 0:
    pytest.skip("only root can make device nodes", allow_module_level=True)


def use(d, tree, extra=""):
    """Let a home look for GPUs in this tree."""
    (d.home / "config.yaml").write_text("gpu_root: %s\n%s" % (tree.root, extra))
    return tree


@pytest.fixture
def two(dugout, tmp_path):
    """A home on a machine with two NVIDIA cards."""
    dugout.tree = use(dugout, gputree.nvidia(tmp_path / "machine"))
    return dugout


def gpus(d):
    return d.ok("gpu", "ls", "--json").json["gpus"]


# ---- finding --------------------------------------------------------------------------------


def test_nvidia_cards_are_found_by_pci_address_with_the_minor_the_driver_says(two):
    doc = two.ok("gpu", "ls", "--json").json
    assert doc["nvidia_driver"] == DRIVER
    assert [(g["name"], g["id"], g["pci"], g["nodes"], g["state"]) for g in doc["gpus"]] == [
        ("0", UUID[0], PCI[0], ["/dev/nvidia1"], "free"),
        ("1", UUID[1], PCI[1], ["/dev/nvidia0"], "free")]
    assert "NVIDIA A100-SXM4-40GB" in two.ok("gpu", "ls").out


def test_mig_instances_take_the_place_of_their_card(dugout, tmp_path):
    use(dugout, gputree.nvidia(tmp_path / "machine", mig=(0,)))
    found = gpus(dugout)
    assert [(g["name"], g["state"]) for g in found] == [
        ("0", "unusable"), ("0:1:0", "free"), ("0:2:0", "free"), ("1", "free")]
    assert "MIG is on" in found[0]["reason"]
    assert found[1]["id"] == "MIG-%s/1/0" % UUID[0]
    assert found[1]["nodes"] == ["/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap110",
                                 "/dev/nvidia-caps/nvidia-cap111"]


def test_amd_cards_are_found_by_their_compute_nodes(dugout, tmp_path):
    use(dugout, gputree.amd(tmp_path / "machine"))
    assert [(g["id"], g["pci"], g["model"], g["nodes"]) for g in gpus(dugout)] == [
        ("GPU-00000000000003e8", "0000:c1:00.0", "AMD aldebaran", ["/dev/kfd", "/dev/dri/renderD128"]),
        ("GPU-00000000000003e9", "0000:c5:00.0", "AMD aldebaran", ["/dev/kfd", "/dev/dri/renderD129"])]


def test_intel_graphics_are_found_by_their_render_node(dugout, tmp_path):
    use(dugout, gputree.intel(tmp_path / "machine"))
    assert [(g["vendor"], g["pci"], g["nodes"]) for g in gpus(dugout)] == [
        ("intel", "0000:00:02.0", ["/dev/dri/renderD128"])]


def test_a_jetson_is_found_by_the_nodes_of_its_lists(dugout, tmp_path):
    t = use(dugout, gputree.Tree(tmp_path / "machine"))
    t.node("dev/nvmap", 10, 60)
    t.node("dev/nvhost-gpu", 242, 1)
    t.write("etc/nvidia-container-runtime/host-files-for-container.d/l4t.csv",
            "dev, /dev/nvmap\ndev, /dev/nvhost-gpu\ndev, /dev/none\nlib, /usr/lib/x.so\n")
    t.write("proc/device-tree/model", "NVIDIA Jetson AGX Orin\0")
    (g,) = gpus(dugout)
    assert (g["vendor"], g["nodes"]) == ("tegra", ["/dev/nvmap", "/dev/nvhost-gpu"])


def test_a_card_without_driver_is_listed_with_the_reason(dugout, tmp_path):
    t = use(dugout, gputree.Tree(tmp_path / "machine"))
    t.pci("0000:3b:00.0", "0x10de", "0x030200")
    (g,) = gpus(dugout)
    assert (g["state"], g["reason"]) == ("unusable", "the NVIDIA driver is not loaded for it")


def test_without_unified_memory_the_reason_says_what_to_run(dugout, tmp_path):
    t = use(dugout, gputree.nvidia(tmp_path / "machine"))
    t.write("proc/devices", "Character devices:\n195 nvidia-frontend\n")
    assert "nvidia-modprobe" in gpus(dugout)[0]["reason"]
    out = dugout.ok("doctor").out
    assert "0 ready of 2" in out and "gpus: dugout gpu ls says" in out, out


def test_doctor_has_a_line_about_gpus(two, tmp_path):
    row = {r["name"]: r for r in two.ok("doctor", "--json").json}["gpus"]
    assert (row["state"], row["value"]) == ("good", "2 ready of 2, NVIDIA driver " + DRIVER)


def test_hostile_trees_are_held_against_ceilings(dugout, tmp_path):
    t = use(dugout, gputree.nvidia(tmp_path / "machine"))
    t.write("proc/driver/nvidia/gpus/%s/information" % PCI[0], "x" * 1_000_000)
    t.write("proc/driver/nvidia/gpus/..;rm/information", "Model: evil\n")
    t.write("proc/driver/nvidia/gpus/%s/information" % PCI[1],
            "Model: \x1b[31m\nGPU UUID: ../../../etc\nDevice Minor: 99999\n")
    found = gpus(dugout)
    assert {g["id"]: g["model"] for g in found}[PCI[1]] == "?[31m"
    assert all(g["state"] == "unusable" for g in found)
    os.remove(t.root / "proc/devices")
    os.symlink("/etc/passwd", t.root / "proc/devices")  # leads nowhere: the root is "/"
    dugout.ok("gpu", "ls")


# ---- draining ----------------------------------------------------------------------------------


def test_a_drained_gpu_says_why_until_it_is_undrained(two):
    two.ok("gpu", "drain", "1", "-m", "fan is broken")
    assert [(g["state"], g["reason"]) for g in gpus(two)] == [("free", None),
                                                             ("drained", "fan is broken")]
    for f in (two.tree.root / "run/lock/dugout").glob("drain.*"):
        f.unlink()  # a reboot: what was drained by hand stays drained
    assert gpus(two)[1]["state"] == "drained"
    two.ok("gpu", "undrain", UUID[1][:12])
    assert [g["state"] for g in gpus(two)] == ["free", "free"]
    assert two("gpu", "drain", "7", "-m", "x").rc == 3
    assert two("gpu", "drain", "0").rc == 2


def test_drains_of_other_users_do_not_count(two):
    gpus(two)
    f = two.tree.root / "run/lock/dugout" / ("drain." + UUID[0])
    f.write_text("mine now\n")
    os.chown(f, 12345, 12345)
    assert gpus(two)[0]["state"] == "free"


# ---- boxes: exact nodes, files, environment, device rules --------------------------------------

LIB = "/usr/local/dugout/nv/lib"
NODES = "cd /dev; find . -type c | grep -e nvidia -e dri -e kfd | sort"


def nodes(d, *args, image="tiny"):
    """Device nodes of GPUs in a box: path -> major:minor."""
    r = d.ok("box", *args, image, "--", "sh", "-c", NODES + ' | while read n; do stat -c "%n %t:%T %a" $n; done')
    return {w[0][1:]: "%d:%d %s" % (*(int(x, 16) for x in w[1].split(":")), w[2])
            for w in map(str.split, r.out.splitlines())}


def test_a_box_has_the_nodes_of_its_gpu_and_no_other(two):
    assert nodes(two, "--gpus", "1") == {
        "/nvidiactl": "195:255 666", "/nvidia-uvm": "%d:0 666" % gputree.UVM,
        "/nvidia-uvm-tools": "%d:1 666" % gputree.UVM, "/nvidia1": "195:1 666"}
    assert "/nvidia0" in nodes(two, "--gpus", "device=1")
    assert {"/nvidia0", "/nvidia1"} <= set(nodes(two, "--gpus", "all"))
    assert nodes(two) == {} and nodes(two, "--gpus", "none") == {}


def test_an_image_cannot_ask_for_gpus_by_itself(two, tiny_tar):
    two.ok("image", "import", tiny_tar, "--name", "greedy", "--env", "NVIDIA_VISIBLE_DEVICES=all")
    assert nodes(two, image="greedy") == {}
    r = two.ok("box", "--gpus", "1", "greedy", "--", "sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES")
    assert r.out.strip() == UUID[0]


def test_mig_boxes_get_their_instance(dugout, tmp_path):
    use(dugout, gputree.nvidia(tmp_path / "machine", mig=(0,)))
    assert nodes(dugout, "--gpus", "device=0:2:0") == {
        "/nvidiactl": "195:255 666", "/nvidia-uvm": "%d:0 666" % gputree.UVM,
        "/nvidia-uvm-tools": "%d:1 666" % gputree.UVM, "/nvidia1": "195:1 666",
        "/nvidia-caps/nvidia-cap120": "%d:120 666" % gputree.CAPS,
        "/nvidia-caps/nvidia-cap121": "%d:121 666" % gputree.CAPS}
    r = dugout.ok("box", "--gpus", "nvidia.com/mig-1g.5gb=2", "tiny", "--", "env")
    assert "NVIDIA_VISIBLE_DEVICES=MIG-%s/1/0,MIG-%s/2/0\n" % (UUID[0], UUID[0]) in r.out
    assert "does not tell their size" in r.err


def test_amd_and_intel_boxes_get_nodes_only(dugout, tmp_path):
    use(dugout, gputree.amd(tmp_path / "amd"))
    assert nodes(dugout, "--gpus", "1") == {"/kfd": "%d:0 666" % gputree.KFD,
                                           "/dri/renderD128": "226:128 666"}
    r = dugout.ok("box", "--gpus", "device=1", "tiny", "--", "sh", "-c",
                  "env; test ! -e /usr/local/dugout")
    assert "ROCR_VISIBLE_DEVICES=GPU-00000000000003e9\n" in r.out
    use(dugout, gputree.intel(tmp_path / "intel"))
    assert nodes(dugout, "--gpus", "gpu.intel.com/i915=1") == {"/dri/renderD128": "226:128 666"}


def test_the_drivers_libraries_are_there_by_all_their_names(two):
    r = two.ok("box", "--gpus", "1", "tiny", "--", "sh", "-c",
               "cd %s; for f in *; do echo $f $(readlink $f); done" % LIB)
    v = DRIVER
    assert dict(line.partition(" ")[::2] for line in r.out.splitlines()) == {
        "libcuda.so": "libcuda.so.1", "libcuda.so.1": "libcuda.so." + v, "libcuda.so." + v: "",
        "libnvidia-ml.so.1": "libnvidia-ml.so." + v, "libnvidia-ml.so." + v: "",
        "libnvidia-ptxjitcompiler.so.1": "libnvidia-ptxjitcompiler.so." + v,
        "libnvidia-ptxjitcompiler.so." + v: "",
        "libnvidia-brandnew.so.1": "libnvidia-brandnew.so." + v, "libnvidia-brandnew.so." + v: ""}
    r = two.ok("box", "--gpus", "1", "--env", "NVIDIA_DRIVER_CAPABILITIES=video", "tiny", "--", "ls", LIB)
    assert r.out.split() == ["libnvidia-encode.so.1", "libnvidia-encode.so." + v]
    r = two.ok("box", "--gpus", "1", "--env", "NVIDIA_DRIVER_CAPABILITIES=all", "tiny", "--", "ls", LIB)
    assert "libGLX_nvidia.so.0" in r.out and "libGLX_indirect.so.0" in r.out
    r = two.ok("box", "--gpus", "1", "tiny", "--", "sh", "-c",
               "nvidia-smi; cat /lib/firmware/nvidia/%s/gsp_ga10x.bin; touch %s/x" % (v, LIB)
               + "; echo $LD_LIBRARY_PATH $CUDA_DEVICE_ORDER; cat /etc/ld.so.conf.d/000-dugout.conf")
    assert r.out == "smi\nfirmware%s PCI_BUS_ID\n%s\n" % (LIB, LIB)
    assert "Read-only file system" in r.err


def test_the_images_own_linker_finds_the_driver_by_its_cache_alone(python_home, tmp_path):
    cc = shutil.which("gcc")
    if not cc:
        pytest.skip("no C compiler for a library")
    t = use(python_home, gputree.nvidia(tmp_path / "machine"))
    (tmp_path / "cuda.c").write_text("int cuInit(void) { return 42; }")
    subprocess.run([cc, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-o",
                    t.root / gputree.LIBDIR / ("libcuda.so." + DRIVER), tmp_path / "cuda.c"], check=True)
    code = "import ctypes; print(ctypes.CDLL('%s').cuInit(), ctypes.CDLL('libz.so.1') is not None)"
    try:
        for name in ("libcuda.so.1", "libcuda.so"):
            r = python_home.ok("box", "--gpus", "1", "python:3.12-slim", "--", "env", "-u",
                               "LD_LIBRARY_PATH", "python3", "-c", code % name)
            assert r.out == "42 True\n"
    finally:
        (python_home.home / "config.yaml").unlink()


def below(pid: int) -> list:
    """Processes below one."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            found = list(map(int, f.read().split()))
    except OSError:
        return []  # it has just ended
    return found + [x for child in found for x in below(child)]


def slots_of(pid: int) -> list:
    """The slot whose device rules hold for a process."""
    try:
        with open("/proc/%d/cgroup" % pid) as f:
            paths = [line.rstrip().split(":", 2)[2] for line in f if ":devices:" in line]
    except OSError:
        return []
    return [path for path in paths if "/slot-" in path]


def rules_of(d, script, *flags):
    """A box that runs a script of three lines and stays: it, its device rules, the lines."""
    p = d.start("box", *flags, "tiny", "--", "sh", "-c", script)
    lines = [p.stdout.readline().strip() for _ in range(3)]
    path = wait_until(lambda: [slot for pid in below(p.pid) for slot in slots_of(pid)])[0]
    with open("/sys/fs/cgroup/devices%s/devices.list" % path) as f:
        rules = {r for r in f.read().splitlines() if r.split()[1].split(":")[0] not in ("1", "5", "136")}
    return p, rules, lines


def test_the_device_rule_knows_the_granted_nodes_only(two):
    if not os.path.isdir("/sys/fs/cgroup/devices"):
        pytest.skip("no v1 devices controller here")
    script = ("for n in nvidia1 nvidia0; do (: </dev/$n) 2>&1 | sed 's/.*: //'; done; "
              "mknod /tmp/n c 195 0 2>&1 | sed 's/.*: //'; exec sleep 600")
    p, rules, lines = rules_of(two, script, "--gpus", "1")
    p.kill()
    p.wait()
    # the node is there and allowed, and no driver stands behind it; the other is not there at all
    assert lines[0] in ("No such device or address", "No such device")
    assert lines[1].lower() in ("no such file or directory", "no such file")
    assert lines[2] == "Operation not permitted"
    assert rules == {"c 195:255 rw", "c 195:1 rw", "c %d:0 rw" % gputree.UVM, "c %d:1 rw" % gputree.UVM}
    for _ in range(2):  # whoever has that slot next has none of them
        p, rules, _ = rules_of(two, script)
        assert rules == set()
        p.kill()
        p.wait()
        two.ok("box", "--gpus", "1", "tiny", "--", "true")


def test_the_image_of_a_later_cuda_is_refused_and_a_minor_one_is_said(two, tiny_tar):
    two.ok("image", "import", tiny_tar, "--name", "late", "--env", "NVIDIA_REQUIRE_CUDA=cuda>=13.0")
    two.ok("image", "import", tiny_tar, "--name", "soon", "--env", "NVIDIA_REQUIRE_CUDA=cuda>=12.8")
    r = two("box", "--gpus", "1", "late", "--", "true")
    assert r.rc == 125 and "needs CUDA 13.0" in r.err and DRIVER in r.err
    r = two.ok("box", "--gpus", "1", "soon", "--", "true")
    assert "needs CUDA 12.8" in r.err
    two.ok("box", "--gpus", "1", "--env", "NVIDIA_DISABLE_REQUIRE=1", "late", "--", "true")


def test_gpus_that_are_not_there_or_drained_or_busy_are_said(two):
    r = two("box", "--gpus", "3", "tiny", "--", "true")
    assert r.rc == 125 and "asks for 3 GPUs, and this box has 2" in r.err
    r = two("box", "--gpus", "google.com/tpu=1", "tiny", "--", "true")
    assert r.rc == 125 and "google.com/tpu" in r.err
    two.ok("gpu", "drain", "0", "-m", "hot")
    r = two("box", "--gpus", "2", "tiny", "--", "true")
    assert r.rc == 125 and "is drained: hot" in r.err
    p = two.start("box", "--gpus", "1", "tiny", "--", "sh", "-c", "echo up; sleep 600")
    assert p.stdout.readline() == "up\n"
    state = {g["name"]: (g["state"], g["reason"]) for g in gpus(two)}
    assert state["1"][0] == "in use" and "dugout box tiny (pid %d)" % p.pid in state["1"][1]
    r = two("box", "--gpus", "1", "--gpu-wait", "300ms", "tiny", "--", "true")
    assert r.rc == 125 and "dugout box tiny (pid %d)" % p.pid in r.err
    p.kill()
    two.ok("box", "--gpus", "1", "--gpu-wait", "300s", "tiny", "--", "true")  # a crash freed it


def test_without_the_drivers_libraries_it_is_said_which(dugout, tmp_path):
    use(dugout, gputree.nvidia(tmp_path / "machine", libs=False))
    r = dugout("box", "--gpus", "1", "tiny", "--", "true")
    assert r.rc == 125 and "libcuda.so." + DRIVER in r.err


@pytest.mark.parametrize("path, to, rc", [
    ("etc/ld.so.cache", "canary", 0), ("etc/ld.so.conf.d", ".", 125), ("usr/local/dugout", ".", 125),
    ("usr/local/cuda/compat", ".", 0)])
def test_links_of_an_image_lead_nowhere(two, canary, tmp_path, tiny_tar, path, to, rc):
    canary.file.write_bytes(gputree.ld_so_cache([("libcanary.so.1", "/lib/libcanary.so.1")]))
    canary.before = canary.look()
    image = tmp_path / "rootfs"
    (image / path).parent.mkdir(parents=True)
    os.symlink(canary.path / to, image / path)
    (image / "etc").mkdir(exist_ok=True)
    (image / "etc/ld.so.conf").write_text("include /../../etc/passwd\n")
    tar = tmp_path / "hostile.tar"
    shutil.copy(tiny_tar, tar)
    subprocess.run(["tar", "-rf", tar, "-C", image, "."], check=True)
    two.ok("image", "import", tar, "--name", "hostile")
    r = two("box", "--gpus", "1", "hostile", "--", "cat", "/etc/ld.so.cache")
    assert canary.same()
    assert "libcanary" not in r.out, r
    assert r.rc == rc and (rc != 0 or "libcuda" in r.out), r


# ---- runs --------------------------------------------------------------------------------------


def gpu_task(script, count="1", kind="nvidia.com/gpu", **more):
    acc = {}
    if kind is not None:
        acc["resourceType"] = kind
    if count is not None:
        acc["resourceCount"] = count
    return {**sh(script), "resources": {"accelerator": acc}, "cache": False, **more}


SAY = "echo gpu=$NVIDIA_VISIBLE_DEVICES $(ls /dev | grep -c '^nvidia[0-9]')"


def log(d, task, run="@latest"):
    return d.ok("logs", "%s/%s" % (run, task)).out


@pytest.mark.parametrize("kind,count", [("nvidia.com/gpu", "1"), ("NVIDIA_TESLA_A100", "1"),
                                        ("nvidia-tesla-a100", None), ("", "1"), ("gpu", "1")])
def test_a_task_gets_what_it_asks_for_however_it_is_spelled(two, write, kind, count):
    r = two.ok("run", write({"train": gpu_task(SAY, count, kind), "plain": {**sh(SAY), "cache": False}}),
               "--json")
    tasks = {t["path"]: t for t in r.json["tasks"]}
    assert tasks["train"]["gpus"] == [UUID[0]] and tasks["plain"]["gpus"] == []
    assert log(two, "train") == "gpu=%s 1\n" % UUID[0]
    assert log(two, "plain") == "gpu= 0\n"
    assert UUID[0] in two.ok("show", "@latest/train").out


def test_old_spellings_of_the_fields_are_understood(two, write):
    task = {**sh(SAY), "resources": {"accelerator": {"type": "nvidia.com/gpu", "count": 2}}}
    two.ok("run", write({"train": task}))
    assert log(two, "train") == "gpu=%s,%s 2\n" % (UUID[0], UUID[1])


def test_a_model_that_is_not_here_is_said_and_served(two, write):
    r = two.ok("run", write({"train": gpu_task(SAY, "1", "NVIDIA_TESLA_T4")}))
    assert "nvidia_tesla_t4 was asked for and is not here: NVIDIA A100" in r.err


def test_too_many_gpus_refuse_the_run_before_it_is_recorded(two, write):
    f = write({"train": gpu_task(SAY, "3")})
    r = two("run", f)
    assert r.rc == 3 and "task train: it asks for 3 GPUs (nvidia.com/gpu), and this box has 2" in r.err
    assert two("plan", f).rc == 3
    assert two("run", write({"train": gpu_task(SAY, "1", "cloud-tpus.google.com/v3")})).rc == 3
    assert two("run", write({"train": gpu_task(SAY, "1", "amd.com/gpu")})).rc == 3
    r = two("run", write({"train": gpu_task(SAY, "2")}), "--gpus", "1")
    assert r.rc == 2 and "--gpus 1 is all" in r.err
    assert two.ok("runs", "--json").json == []


def test_gpus_none_insists_on_running_without(two, write):
    r = two.ok("run", write({"train": gpu_task(SAY, "8")}), "--gpus", "none")
    assert "runs without" in r.err and log(two, "train") == "gpu= 0\n"


def test_a_later_cuda_refuses_the_run(two, write, tiny_tar):
    two.ok("image", "import", tiny_tar, "--name", "late", "--env", "NVIDIA_REQUIRE_CUDA=cuda>=13.0")
    r = two("run", write({"train": gpu_task(SAY, image="late")}))
    assert r.rc == 3 and "needs CUDA 13.0" in r.err


def marks(path):
    """(start or end, GPU) in the order in which tasks wrote them."""
    return [line.split() for line in path.read_text().splitlines()]


def never_shared(events):
    held = set()
    for what, gpu in events:
        if what == "start":
            assert gpu not in held, events
            held.add(gpu)
        else:
            held.remove(gpu)
    assert not held


WORK = "echo start $NVIDIA_VISIBLE_DEVICES >>/marks/m; sleep 0.3; echo end $NVIDIA_VISIBLE_DEVICES >>/marks/m"


def test_two_runs_take_turns_and_never_share(two, tmp_path):
    (tmp_path / "marks").mkdir()
    f = tmp_path / "p.json"
    f.write_text(pipeline({"t%d" % i: gpu_task(WORK) for i in range(4)}))
    args = ["run", f, "--jobs", "4", "-v", "%s:/marks:rw" % (tmp_path / "marks")]
    started = [two.start(*args) for _ in range(3)]
    for p in started:
        out, err = p.communicate(timeout=300)
        assert p.returncode == 0, err
    events = marks(tmp_path / "marks/m")
    assert len(events) == 24
    never_shared(events)
    assert {g for _, g in events} == set(UUID)


def test_gpus_n_caps_what_one_run_has(two, tmp_path, write):
    (tmp_path / "marks").mkdir()
    f = write({"t%d" % i: gpu_task(WORK) for i in range(3)})
    two.ok("run", f, "--jobs", "4", "--gpus", "1", "-v", "%s:/marks:rw" % (tmp_path / "marks"))
    assert [e[0] for e in marks(tmp_path / "marks/m")] == ["start", "end"] * 3


def test_shared_gpus_are_shared_when_the_config_says_so(two, tmp_path, write):
    use(two, two.tree, "gpus: shared\n")
    (tmp_path / "marks").mkdir()
    script = ("echo $NVIDIA_VISIBLE_DEVICES >>/marks/$0; i=0; "
              "while [ $(ls /marks | wc -l) -lt 3 ] && [ $i -lt 3000 ]; do sleep 0.1; i=$((i+1)); done; "
              "[ $i -lt 3000 ]")
    f = write({n: {**gpu_task(""), **sh(script, n)} for n in "abc"})
    two.ok("run", f, "--jobs", "3", "-v", "%s:/marks:rw" % (tmp_path / "marks"))


def test_a_checkout_cannot_make_gpus_shared_or_look_elsewhere(two, tmp_path):
    for key in ("gpus: shared", "gpu_root: /tmp"):
        (tmp_path / "dugout.yaml").write_text(key + "\n")
        r = subprocess.run([BIN, "gpu", "ls"], cwd=tmp_path, env=two.env(), capture_output=True, text=True)
        assert r.returncode == 2 and "cannot be set by a file of a checkout" in r.stderr


def test_gpu_wait_bounds_the_queue_and_names_who_has_them(two, write):
    p = two.start("box", "--gpus", "2", "tiny", "--", "sh", "-c", "echo up; sleep 600")
    assert p.stdout.readline() == "up\n"
    r = two("run", write({"train": gpu_task(SAY)}), "--gpu-wait", "1s")
    assert r.rc == 1 and "no GPU became free in time" in r.err
    assert "dugout box tiny (pid %d)" % p.pid in r.err and "waits for 1 GPU" in r.err


def test_the_lease_lives_with_the_supervisor_not_with_the_engine(two, tmp_path, write):
    f = write({"train": gpu_task("echo up >/marks/up; until [ -e /marks/go ]; do sleep 0.1; done", "2")})
    (tmp_path / "marks").mkdir()
    p = two.start("run", f, "-v", "%s:/marks:rw" % (tmp_path / "marks"))
    wait_until(lambda: (tmp_path / "marks/up").exists())
    p.kill()
    p.communicate()
    assert [g["state"] for g in gpus(two)] == ["in use", "in use"]
    assert "task train" in gpus(two)[0]["reason"]
    (tmp_path / "marks/go").touch()
    wait_until(lambda: [g["state"] for g in gpus(two)] == ["free", "free"])
    two.ok("runs")


def test_a_killed_supervisor_frees_its_gpu_at_once_and_the_task_is_tried_again(two, tmp_path, write):
    (tmp_path / "marks").mkdir()
    script = "echo x >>/marks/n; [ $(wc -l </marks/n) -gt 1 ] || sleep 600"
    p = two.start("run", write({"train": gpu_task(script, "2")}), "-v", "%s:/marks:rw" % (tmp_path / "marks"))
    wait_until(lambda: (tmp_path / "marks/n").exists())
    pid = next((two.home / "runs").glob("*/*.1/pid")).read_text().split()[0]
    os.kill(int(pid), 9)
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    task = two.ok("show", "@latest", "--json").json["tasks"][0]
    assert (task["attempts"], task["host_failures"]) == (2, 1)


def test_twenty_boxes_over_two_gpus_and_a_killer_never_share_one(two, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    # the oracle is a lock that the command itself holds
    (tmp_path / "oracle.c").write_text('''
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/file.h>
        #include <unistd.h>
        int main(void) {
            int mine, taken = open("/marks/taken", O_WRONLY | O_APPEND | O_CREAT, 0666);
            if (chdir("/marks") < 0 || taken < 0)
                return 9;
            mine = open(getenv("NVIDIA_VISIBLE_DEVICES"), O_RDWR | O_CREAT, 0666);
            if (mine < 0)
                return 8;
            if (flock(mine, LOCK_EX | LOCK_NB) < 0)
                return open("both", O_WRONLY | O_CREAT, 0666) < 0 ? 7 : 6;
            if (write(taken, "x ", 2) != 2)
                return 5;
            usleep(100000);
            return 0;
        }''')
    cc = shutil.which("gcc") or shutil.which("cc")
    if not cc:
        pytest.skip("no C compiler for the program that watches")
    subprocess.run([cc, "-static", "-o", tmp_path / "oracle", tmp_path / "oracle.c"], check=True)

    def start():
        return two.start("box", "--gpus", "1", "-v", "%s:/marks:rw" % marks,
                         "-v", "%s:/oracle" % (tmp_path / "oracle"), "tiny", "--", "/oracle")

    rng = random.Random(1)
    running = [start() for _ in range(20)]
    kills, until = 0, time.monotonic() + 8

    def taken():
        return len((marks / "taken").read_text().split()) if (marks / "taken").exists() else 0

    while time.monotonic() < until or kills <= 20 or taken() <= 20:
        assert time.monotonic() < until + 300, (kills, taken())
        time.sleep(rng.random() * 0.1)
        i = rng.randrange(20)
        if running[i].poll() is None:
            running[i].kill()
            kills += 1
        running[i].communicate()
        running[i] = start()
    for p in running:
        out, err = p.communicate(timeout=300)
        assert p.returncode == 0, err
    assert not (marks / "both").exists(), (kills, taken())
    wait_until(lambda: [g["state"] for g in gpus(two)] == ["free", "free"])


# ---- health ------------------------------------------------------------------------------------


def uptime_us():
    return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)


def test_a_gpu_that_fails_is_drained_and_the_retry_gets_another(two, tmp_path, write):
    (tmp_path / "marks").mkdir()
    (two.tree.root / "dev/kmsg").write_text("")
    script = ("echo $NVIDIA_VISIBLE_DEVICES >>/marks/n; [ $(wc -l </marks/n) -gt 1 ] || "
              "{ touch /marks/go; while [ ! -e /marks/done ]; do sleep 0.05; done; exit 1; }")
    p = two.start("run", write({"train": gpu_task(script)}), "-v", "%s:/marks:rw" % (tmp_path / "marks"))
    wait_until(lambda: (tmp_path / "marks/go").exists())
    (two.tree.root / "dev/kmsg").write_text(
        "4,99,%d,-;NVRM: Xid (PCI:%s): 79, pid=1, GPU has fallen off the bus.\n"
        % (uptime_us(), PCI[0][:-2]))
    (tmp_path / "marks/done").touch()
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    assert "GPU %s failed and is drained: Xid 79" % UUID[0] in err
    assert (tmp_path / "marks/n").read_text().split() == UUID
    task = two.ok("show", "@latest", "--json").json["tasks"][0]
    assert (task["state"], task["attempts"], task["host_failures"], task["gpus"]) == (
        "SUCCEEDED", 2, 1, [UUID[1]])
    assert [(g["state"], g["reason"]) for g in gpus(two)] == [
        ("drained", "Xid 79: GPU has fallen off the bus."), ("free", None)]
    r = two("run", write({"train": gpu_task(SAY, "2")}))
    assert r.rc == 3 and "is drained: Xid 79" in r.err


def test_a_task_that_hangs_on_a_dead_gpu_is_no_fault_of_its_own(two, tmp_path, write):
    """It ends by its time-out, and what the driver said counts all the same."""
    (two.tree.root / "dev/kmsg").write_text(
        "4,99,%d,-;NVRM: Xid (PCI:%s): 79, pid=1, GPU has fallen off the bus.\n"
        % (uptime_us() + 10**11, PCI[0][:-2]))
    r = two("run", write({"train": gpu_task("exec sleep 600")}), "--task-timeout", "1s")
    assert r.rc == 1 and "GPU %s failed and is drained: Xid 79" % UUID[0] in r.err, r
    task = two.ok("show", "@latest", "--json").json["tasks"][0]
    assert (task["attempts"], task["host_failures"], task["gpus"]) == (2, 1, [UUID[1]])
    assert task["error"].startswith("stopped: the task's time-out of 1")
    assert [g["state"] for g in gpus(two)] == ["drained", "free"]


def test_a_program_that_crashes_by_itself_drains_nothing(two, tmp_path, write):
    (two.tree.root / "dev/kmsg").write_text(
        "4,99,%d,-;NVRM: Xid (PCI:%s): 31, pid=1, MMU Fault\n4,98,1,-;NVRM: Xid (PCI:%s): 79, old\n"
        % (uptime_us() + 10**7, PCI[0][:-2], PCI[0][:-2]))
    r = two("run", write({"train": gpu_task("exit 3")}))
    assert r.rc == 1
    assert [g["state"] for g in gpus(two)] == ["free", "free"]


def test_a_node_that_vanishes_is_the_hosts_failure(two, tmp_path, write):
    (tmp_path / "marks").mkdir()
    script = ("[ -e /marks/again ] && exit 0; touch /marks/again; "
              "while [ ! -e /marks/done ]; do sleep 0.05; done; exit 1")
    p = two.start("run", write({"train": gpu_task(script)}), "-v", "%s:/marks:rw" % (tmp_path / "marks"))
    wait_until(lambda: (tmp_path / "marks/again").exists())
    (two.tree.root / "dev/nvidia1").unlink()
    (tmp_path / "marks/done").touch()
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    assert "/dev/nvidia1 vanished" in err
    assert gpus(two)[0]["state"] == "drained"


def removed(cgroup) -> bool:
    try:
        os.rmdir(cgroup)
    except OSError:
        return False  # what died in it is not all gone
    return True


def test_a_box_that_does_not_die_is_lost_and_its_gpu_quarantined(two, tmp_path, write):
    freezer = "/sys/fs/cgroup/freezer"
    if not os.path.isdir(freezer):
        pytest.skip("no v1 freezer: nothing else makes a process that SIGKILL does not end")
    (tmp_path / "marks").mkdir()
    mine = "%s/dugout-test-%d" % (freezer, os.getpid())
    os.mkdir(mine)
    try:
        p = two.start("run", write({"train": gpu_task("touch /marks/up; sleep 600")}),
                      "-v", "%s:/marks:rw" % (tmp_path / "marks"))
        wait_until(lambda: (tmp_path / "marks/up").exists())
        supervisor = next((two.home / "runs").glob("*/*.1/pid")).read_text().split()[0]
        kids = open("/proc/%s/task/%s/children" % (supervisor, supervisor)).read().split()
        for pid in kids:
            open(mine + "/cgroup.procs", "w").write(pid)
        open(mine + "/freezer.state", "w").write("FROZEN")
        p.terminate()
        time.sleep(0.3)  # when both come as one, ten seconds of grace pass
        p.terminate()
        out, err = p.communicate(timeout=300)
        assert p.returncode == 143, err
        r = two.ok("show", "@latest/train").out
        assert "LOST" in r
        g = gpus(two)[0]
        assert g["state"] == "draining" and "whose box has not died yet" in g["reason"]
        assert g["drained"] == "a task did not die of SIGKILL on it"
        two.ok("gpu", "undrain", "0")
        r = two("box", "--gpus", "2", "--gpu-wait", "300ms", "tiny", "--", "true")
        assert r.rc == 125 and "whose box has not died yet" in r.err
    finally:
        open(mine + "/freezer.state", "w").write("THAWED")
        wait_until(lambda: not open(mine + "/cgroup.procs").read())
        wait_until(lambda: removed(mine))
    two.ok("box", "--gpus", "2", "--gpu-wait", "300s", "tiny", "--", "true")


# ---- CDI -----------------------------------------------------------------------------------------


def cdi_file(tree, text, name="x.json", where="etc/cdi"):
    if not isinstance(text, str):
        text = json.dumps(text)
    f = tree.write("%s/%s" % (where, name), text)
    os.chmod(f, 0o644)
    return f


def cdi_spec(devices, edits=None, kind="example.com/npu", version="0.6.0"):
    return {"cdiVersion": version, "kind": kind, "containerEdits": edits or {},
            "devices": [{"name": n, "containerEdits": x} for n, x in devices.items()]}


@pytest.fixture
def npu(dugout, tmp_path):
    """A home on a machine whose only devices are those that CDI files name."""
    t = dugout.tree = use(dugout, gputree.Tree(tmp_path / "machine"))
    t.node("dev/npu0", 195, 40)
    t.node("dev/npu1", 195, 41)
    t.write("opt/npu/libnpu.so.2.7", gputree.elf("libnpu.so.2"))
    return dugout


NPU = {"0": {"deviceNodes": [{"path": "/dev/npu0"}]},
       "1": {"deviceNodes": [{"path": "/dev/npu/one", "hostPath": "/dev/npu1", "major": 195, "minor": 41}]}}


def test_a_cdi_device_is_given_with_nodes_mounts_env_and_known_hooks(npu, write):
    cdi_file(npu.tree, cdi_spec(NPU, {
        "env": ["NPU_HOME=/opt/npu"],
        "mounts": [{"hostPath": "/opt/npu/libnpu.so.2.7", "containerPath": "/opt/lib/libnpu.so.2.7",
                    "options": ["ro", "nosuid", "nodev", "bind"]}],
        "hooks": [
            {"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
             "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "libnpu.so.2::/opt/lib/libnpu.so"]},
            {"hookName": "createContainer", "path": "/usr/bin/nvidia-ctk",
             "args": ["nvidia-ctk", "hook", "update-ldcache", "--folder", "/opt/lib"]},
            {"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
             "args": ["nvidia-cdi-hook", "chmod", "--mode", "755", "--path", "/dev/npu"]}]}))
    assert [(g["id"], g["state"], g["nodes"]) for g in gpus(npu)] == [
        ("example.com/npu=0", "free", ["/dev/npu0"]), ("example.com/npu=1", "free", ["/dev/npu1"])]
    npu.ok("run", write({"t": gpu_task(
        "find /dev -name 'npu*' -o -name one | sort; echo $NPU_HOME; readlink /opt/lib/libnpu.so; "
        "readlink /opt/lib/libnpu.so.2; cat /etc/ld.so.conf.d/000-dugout.conf; grep -c libnpu.so.2 /etc/ld.so.cache",
        "1", "example.com/npu")}))
    assert log(npu, "t").splitlines() == ["/dev/npu0", "/opt/npu", "libnpu.so.2", "libnpu.so.2.7",
                                         "/opt/lib", "1"]
    r = npu.ok("box", "--gpus", "device=example.com/npu=1", "tiny", "--", "stat", "-c", "%t:%T", "/dev/npu/one")
    assert r.out == "c3:29\n"


def test_yaml_as_nvidia_ctk_writes_it_is_read(npu):
    cdi_file(npu.tree, """---
cdiVersion: 0.5.0
kind: example.com/npu
containerEdits:
  deviceNodes:
  - path: /dev/npu1
    permissions: rw
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/npu0
  name: "0"
""", "x.yaml")
    r = npu.ok("box", "--gpus", "example.com/npu=1", "tiny", "--", "sh", "-c", "ls /dev | grep npu")
    assert r.out == "npu0\nnpu1\n"


def test_the_later_directory_wins_and_a_device_twice_in_one_is_unusable(npu):
    cdi_file(npu.tree, cdi_spec({"0": NPU["0"]}, {"env": ["FROM=etc"]}))
    cdi_file(npu.tree, cdi_spec({"0": NPU["0"]}, {"env": ["FROM=run"]}), where="var/run/cdi")
    r = npu.ok("box", "--gpus", "1", "tiny", "--", "sh", "-c", "echo $FROM")
    assert r.out == "run\n"
    cdi_file(npu.tree, cdi_spec({"1": NPU["1"]}), "y.json")
    cdi_file(npu.tree, cdi_spec({"1": NPU["1"]}), "z.json")
    assert [(g["id"], g["state"]) for g in gpus(npu)] == [("example.com/npu=0", "free"),
                                                         ("example.com/npu=1", "unusable")]


HOSTILE = {
    "root": ({"mounts": [{"hostPath": "/", "containerPath": "/host"}]}, "uncover the host"),
    "etc": ({"mounts": [{"hostPath": "/etc", "containerPath": "/host"}]}, "uncover the host"),
    "over-root": ({"mounts": [{"hostPath": "/opt/npu", "containerPath": "/"}]}, "uncover the host"),
    "proc": ({"mounts": [{"hostPath": "/opt/npu", "containerPath": "/proc/sys"}]}, "nothing of /proc"),
    "dots": ({"mounts": [{"hostPath": "/opt/../etc", "containerPath": "/x"}]}, 'without ".."'),
    "tmpfs": ({"mounts": [{"hostPath": "/opt/npu", "containerPath": "/x", "type": "tmpfs"}]}, "of that type"),
    "hook": ({"hooks": [{"hookName": "prestart", "path": "/tmp/x", "args": ["x"]}]}, "hook /tmp/x is not known"),
    "hook-name": ({"hooks": [{"hookName": "prestart", "path": "/usr/bin/nvidia-cdi-hook",
                              "args": ["nvidia-cdi-hook", "explode"]}]}, "explode is not known"),
    "chmod": ({"hooks": [{"hookName": "prestart", "path": "/usr/bin/nvidia-cdi-hook",
                          "args": ["nvidia-cdi-hook", "chmod", "--path", "/etc/shadow"]}]}, "chmod of /etc/shadow"),
    "block": ({"deviceNodes": [{"path": "/dev/npu0", "type": "b"}]}, "character devices only"),
    "not-dev": ({"deviceNodes": [{"path": "/etc/passwd", "hostPath": "/dev/npu0"}]}, "below /dev"),
    "rdt": ({"intelRdt": {"closID": "x"}}, "is not done in boxes"),
    "gone": ({"mounts": [{"hostPath": "/opt/gone", "containerPath": "/x"}]}, "is stale: there is no /opt/gone"),
    "other": ({"deviceNodes": [{"path": "/dev/npu0", "major": 1, "minor": 1}]}, "is stale: /dev/npu0 is 195:40 now"),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_hostile_and_stale_cdi_files_are_refused_with_the_reason(npu, what):
    edits, why = HOSTILE[what]
    cdi_file(npu.tree, cdi_spec({"0": NPU["0"]}, edits))
    r = npu("box", "--gpus", "1", "tiny", "--", "true")
    if r.rc == 125 and "and this box has 0" in r.err:
        r.err += npu.ok("gpu", "ls").err  # the file was refused as a whole
    assert r.rc == 125 and why in r.err, r


def test_cdi_files_that_others_can_write_or_that_are_no_files_are_not_read(npu):
    f = cdi_file(npu.tree, cdi_spec({"0": NPU["0"]}))
    os.chmod(f, 0o666)
    assert "nobody else can write" in npu.ok("gpu", "ls").err
    os.chmod(f, 0o644)
    os.chmod(f.parent, 0o777)
    assert "others than root can write there" in npu.ok("gpu", "ls").err and gpus(npu) == []
    os.chmod(f.parent, 0o755)
    os.chown(f, 12345, 12345)
    assert gpus(npu) == []
    f.unlink()
    os.mkfifo(f)
    assert gpus(npu) == []
    f.unlink()
    with open(f, "w") as big:
        big.truncate(1 << 30)
    assert "over 1 MiB" in npu.ok("gpu", "ls").err
    f.write_text("[" * 100000)
    npu.ok("gpu", "ls")
    for version in ("0.2.0", "2.0.0", "x"):
        cdi_file(npu.tree, cdi_spec({"0": NPU["0"]}, version=version))
        assert gpus(npu) == []
    doc = cdi_spec({"0": NPU["0"]}, version="1.1.0")
    doc["shiny"] = 1
    cdi_file(npu.tree, doc)
    assert "shiny is not known" in npu.ok("gpu", "ls").err and len(gpus(npu)) == 1


def test_what_gpu_cdi_prints_gives_the_same_box(two):
    script = (NODES + "; cd %s && sha256sum * | cut -c1-80; env | grep -e NVIDIA -e LD_ -e CUDA | sort; "
              "nvidia-smi" % LIB)
    before = two.ok("box", "--gpus", "device=1", "tiny", "--", "sh", "-c", script).out
    text = two.ok("gpu", "cdi").out
    doc = json.loads(text)
    assert (doc["kind"], [d["name"] for d in doc["devices"]]) == ("nvidia.com/gpu", UUID)
    for m in doc["containerEdits"]["mounts"] + [n for d in doc["devices"] for n in d["containerEdits"]["deviceNodes"]]:
        m["hostPath"] = m.get("hostPath", m.get("path")).replace(str(two.tree.root), "")
    for n in doc["containerEdits"]["deviceNodes"]:
        n["hostPath"] = n.get("hostPath", n["path"]).replace(str(two.tree.root), "")
    cdi_file(two.tree, doc)
    (two.tree.root / "etc/ld.so.cache").unlink()  # by itself nothing would be found where it was
    os.rename(two.tree.root / gputree.LIBDIR, two.tree.root / "elsewhere")
    r = two("box", "--gpus", "device=1", "tiny", "--", "true")
    assert r.rc == 125 and "is stale" in r.err + r.out or "libcuda" in r.err
    os.rename(two.tree.root / "elsewhere", two.tree.root / gputree.LIBDIR)
    after = two.ok("box", "--gpus", "device=1", "tiny", "--", "sh", "-c", script).out
    assert after == before and "/nvidia0" in after and "/nvidia1\n" not in after


def test_a_cdi_file_that_gives_more_than_was_granted_is_not_used(two):
    nodes_of_both = [{"path": "/dev/nvidia0"}, {"path": "/dev/nvidia1"}]
    cdi_file(two.tree, cdi_spec({"0": {"deviceNodes": nodes_of_both}}, kind="nvidia.com/gpu"))
    assert "/nvidia0" not in nodes(two, "--gpus", "device=0")


def test_a_stale_file_of_a_card_that_is_found_anyway_is_named_and_passed_over(two):
    cdi_file(two.tree, cdi_spec({"0": {"deviceNodes": [{"path": "/dev/nvidia1"}]}},
                                {"mounts": [{"hostPath": "/usr/lib/libcuda.so.1.2", "containerPath": "/x"}]},
                                kind="nvidia.com/gpu"))
    r = two.ok("box", "--gpus", "1", "tiny", "--", "ls", LIB)
    assert "is stale" in r.err and "libcuda.so." + DRIVER in r.out


# ---- an ordinary user ------------------------------------------------------------------------------


def test_an_ordinary_users_box_has_the_hosts_nodes_bound(tiny_tar, tmp_path_factory):
    setpriv = shutil.which("setpriv")
    if not setpriv:
        pytest.skip("setpriv is not installed")
    base = tmp_path_factory.mktemp("user")
    for d in [base, *base.parents][:3]:
        os.chmod(d, 0o755)
    t = gputree.nvidia(base / "machine")
    for f in (base / "machine/dev").glob("nvidia*"):
        os.chmod(f, 0o666)
    work = base / "work"
    (work / "home").mkdir(parents=True)
    shutil.copy(BIN, base / "dugout")
    shutil.copy(tiny_tar, base / "tiny.tar")
    (work / "home/config.yaml").write_text("gpu_root: %s\n" % t.root)
    for f in (work, work / "home", work / "home/config.yaml"):
        os.chown(f, 12345, 12345)

    def call(*args):
        return subprocess.run(
            [setpriv, "--reuid", "12345", "--regid", "12345", "--clear-groups", "--inh-caps", "-all",
             base / "dugout", *args],
            env={"PATH": os.environ["PATH"], "HOME": str(work), "DUGOUT_HOME": str(work / "home")},
            cwd=work, capture_output=True, text=True, timeout=300)

    assert call("image", "import", base / "tiny.tar", "--name", "tiny").returncode == 0
    if call("box", "tiny", "--", "true").returncode == 125:
        pytest.skip("user namespaces cannot be had here")
    r = call("box", "--gpus", "1", "tiny", "--", "sh", "-c",
             "cd /dev; for n in nvidia*; do stat -c '%%n %%t:%%T' $n; done; ls %s | wc -l" % LIB)
    assert r.stdout.split("\n")[:-1] == [
        "nvidia-uvm 1ff:0", "nvidia-uvm-tools 1ff:1", "nvidia1 c3:1", "nvidiactl c3:ff", "9"], r.stderr
    (t.root / "dev/nvidia1").unlink()
    r = call("box", "--gpus", "device=0", "tiny", "--", "true")
    assert r.returncode == 125 and "/dev/nvidia1 is missing" in r.stderr
