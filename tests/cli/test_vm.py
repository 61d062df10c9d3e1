# SPDX-License-Identifier: Apache-2.0
"""dugout alone on a bare kernel with cgroup v2: tests/vm/run-vm.sh boots it in qemu."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import typing

import pytest

import matrix
from hostile import compile_probe

# Two boots in software emulation: 90 s on a quiet machine of two cores.
pytestmark = pytest.mark.skipif(
    os.environ.get("DUGOUT_TEST_VM") == "0", reason="DUGOUT_TEST_VM=0: no kernel is booted"
)

TOP = pathlib.Path(__file__).resolve().parents[2]
VM = TOP / "build" / "vm"


class Step(typing.NamedTuple):
    rc: int
    output: str


class Guest:
    """What one boot left behind: each step's status and output, and the JSON of `show`."""

    def __init__(self, scenario):
        proc = subprocess.run(
            [TOP / "tests" / "vm" / "run-vm.sh", scenario],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            text=True, errors="replace", timeout=3600,
            env={"VM_TIMEOUT_S": "1200", **os.environ},
        )
        if proc.returncode == 77:
            pytest.skip(proc.stderr.strip().splitlines()[-1])
        self.passed = proc.returncode == 0
        self.story = proc.stdout + proc.stderr
        self.steps = {
            name: Step(int(rc), output)
            for output, name, rc in re.findall(
                rf"^\$ [^\n]*\n(.*?)^VM-RESULT {scenario} (\S+) rc=(\d+)$",
                proc.stdout, re.M | re.S,
            )
        }
        handed_over = VM / f"{scenario}.json"
        self.run_json = handed_over.read_text() if handed_over.exists() else ""


@pytest.fixture(scope="module")
def with_overlay():
    return Guest("A")


@pytest.fixture(scope="module")
def without_overlay():
    return Guest("B")


def said(run):
    return run["outputs"]["parameters"]["Output"]


def test_hello_runs_from_one_file_on_a_bare_kernel(with_overlay):
    assert with_overlay.passed, with_overlay.story
    assert "HELLO, WORLD" in with_overlay.steps["hello"].output
    run = json.loads(with_overlay.run_json)
    assert run["state"] == "SUCCEEDED"
    assert said(run) == "HELLO, WORLD"
    assert {t["path"]: t["state"] for t in run["tasks"]} == {"greet": "SUCCEEDED", "shout": "SUCCEEDED"}


def test_with_overlay_nothing_is_said_of_flat(with_overlay):
    assert "flat" not in with_overlay.steps["hello"].output.lower()


def test_a_second_run_there_is_all_cached(with_overlay):
    assert with_overlay.steps["again"].rc == 0, with_overlay.story
    assert "nothing new" in with_overlay.steps["again"].output


def test_a_memory_limit_is_enforced_by_cgroup_v2(with_overlay):
    assert with_overlay.steps["within"].rc == 0, with_overlay.story
    assert "42" in with_overlay.steps["within"].output
    assert with_overlay.steps["beyond"].rc == 137, with_overlay.story
    assert "not limited" not in with_overlay.steps["beyond"].output


def test_without_overlay_it_runs_flat_and_says_so(without_overlay):
    assert without_overlay.passed, without_overlay.story
    told = without_overlay.steps["hello"].output.lower()
    assert "overlay" in told and "flat" in told
    run = json.loads(without_overlay.run_json)
    assert run["state"] == "SUCCEEDED"
    assert said(run) == "HELLO, WORLD"


# ---- the matrix: v2 with controllers, for root and for users ---------------------------------------


@pytest.fixture(scope="module")
def users(tiny_tar, tmp_path_factory):
    base = tmp_path_factory.mktemp("vm")
    given = VM / "input"
    given.mkdir(parents=True, exist_ok=True)
    shutil.copy(matrix.archive(tiny_tar, base), given / "p.tar")
    shutil.copy(base / "probe", given / "probe")
    (given / "m.json").write_text(matrix.text())
    return Guest("C")


@pytest.mark.parametrize("who, ids, limits", [
    ("root", "host", True), ("plain", "one", False), ("delegated", "one", True),
    ("range", "range", True)])
def test_48_on_v2_the_record_is_what_a_box_sees(users, who, ids, limits, capsys):
    assert users.passed, users.story
    part = re.search(r"^MATRIX %s$(.*?)^MATRIX-END %s$" % (who, who), users.story, re.M | re.S).group(1)
    results = [json.loads(line[7:]) for line in part.splitlines() if line.startswith("RESULT ")]
    hog = [r for r in results if r["oom"] or r["exitCode"] == 7][0]
    (look,) = [r for r in results if r is not hog]
    said = matrix.check(look, hog, part, ids)
    assert said["cgroup"] == ("v2" if limits else "none")
    assert said["pids"] == said["cpu"] == matrix.enforced(hog)["memory"] == limits
    with capsys.disabled():
        print("\nv2     %-9s %s hog: %s" % (who, json.dumps(said), hog["error"]))


# ---- fs-verity ---------------------------------------------------------------------------------------


def test_blobs_are_sealed_where_the_file_system_has_it(tmp_path):
    given = VM / "input"
    given.mkdir(parents=True, exist_ok=True)
    shutil.copy(compile_probe(tmp_path), given / "probe")
    guest = Guest("V")
    assert guest.passed, guest.story
    assert "not permitted" in guest.steps["write"].output.lower()
    assert json.loads(guest.steps["fsck"].output)["sealed"] == 1
    (found,) = json.loads(guest.steps["damage"].output)["findings"]
    assert "is not what was sealed" in found["text"], found
