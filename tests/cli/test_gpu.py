# SPDX-License-Identifier: Apache-2.0
"""GPUs on trees that look like a machine with some: found, handed out, kept apart, drained."""

import os

import pytest

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
