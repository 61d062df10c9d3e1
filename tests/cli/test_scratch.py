# SPDX-License-Identifier: Apache-2.0
"""`scratch:` in the config: attempts write on another file system than the home."""

import shutil
import subprocess

import pytest

from conftest import Dugout, pipeline, sh

ART = "{{$.outputs.artifacts['%s'].path}}".__mod__
INP = "{{$.inputs.artifacts['%s'].path}}".__mod__
PARAM = "{{$.outputs.parameters['said'].output_file}}"


@pytest.fixture
def other(tmp_path):
    """A directory on another file system: tmpfs, mounted for the test."""
    at = tmp_path / "scratch"
    at.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", at], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield at
    subprocess.run(["umount", "-l", at], check=True)


def configure(dugout, where):
    (dugout.home / "config.yaml").write_text("scratch: %s\n" % where)


@pytest.fixture
def there(dugout, other):
    """Where the home's attempts write."""
    configure(dugout, other)
    return other


def below(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def step(fails=False):
    make = ('mkdir -p "$1/sub" "$(dirname "$0")"; echo file >"$0"; echo in >"$1/sub/f"; ln -s f "$1/sub/l"; '
            'dd if=/dev/zero of="$1/holes" bs=1 count=1 seek=1M 2>/dev/null; echo root >/tmp/x; '
            'mkdir -p "$(dirname "$2")"; stat -f -c %T /tmp "$(dirname "$0")" >"$2"')
    return {**sh(make + ("; exit 3" if fails else ""), ART("file"), ART("dir"), PARAM),
            "art_out": {"file": "system.Dataset", "dir": "system.Dataset"}, "out": {"said": "STRING"}}


def use():
    return {**sh('cat "$0" "$1/sub/f" "$1/sub/l"; stat -c %s "$1/holes"', INP("file"), INP("dir")),
            "art_in": {"file": "a.file", "dir": "a.dir"}}


def run(dugout, tmp_path, tasks):
    path = tmp_path / "p.json"
    path.write_text(pipeline(tasks))
    return dugout("run", path, "--no-cache", "--json")


def outputs(r):
    assert r.rc == 0, r
    return {k: v[0]["digest"] for k, v in r.json["tasks"][0]["outputs"]["artifacts"].items()}


GC_ALL = ("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0")


def test_attempts_write_there_and_outputs_come_home(dugout, there, tmp_path):
    r = run(dugout, tmp_path, {"a": step(), "b": use()})
    assert r.rc == 0, r
    said = {t["path"]: t["outputs"]["parameters"] for t in r.json["tasks"]}["a"]["said"]
    assert said.split()[-1] == "tmpfs"
    assert dugout.ok("logs", "@latest/b").out.split() == ["file", "in", "in", "1048577"]
    dugout.ok("fsck", "--full")
    links = list((dugout.home / "runs" / r.json["run_id"]).glob("*/scratch"))
    assert len(links) == 2 and all(p.resolve().is_relative_to(there) for p in links)
    assert not list((dugout.home / "runs").glob("*/*/io"))


def test_the_same_bytes_have_the_same_digests_as_at_home(dugout, there, tmp_path):
    elsewhere = outputs(run(dugout, tmp_path, {"a": step()}))
    (dugout.home / "config.yaml").unlink()
    assert outputs(run(dugout, tmp_path, {"a": step()})) == elsewhere


def test_gc_removes_what_is_left_there_with_its_attempt(dugout, there, tmp_path):
    def left():
        return [p for p in below(there) if p.endswith("sub/f")]

    assert run(dugout, tmp_path, {"a": step(fails=True)}).rc == 1
    assert left(), "what a failed attempt wrote stays"
    dugout.ok("gc", "--grace", "0s", "--keep-runs", "1")
    assert left(), "as long as its attempt"
    (dugout.home / "config.yaml").unlink()  # gc knows where it was
    dugout.ok(*GC_ALL, "--dry-run")
    assert left()
    dugout.ok(*GC_ALL)
    assert len(below(there)) == 1, below(there)


def test_two_homes_share_one_directory(dugout, there, tmp_path):
    assert run(dugout, tmp_path, {"a": step()}).rc == 0
    (own,) = there.iterdir()
    second = Dugout(tmp_path / "second")
    shutil.copytree(dugout.home, second.home, symlinks=True)
    assert run(second, tmp_path, {"a": step()}).rc == 0
    (other,) = [p for p in there.iterdir() if p != own]
    had = below(own)
    second.ok(*GC_ALL)  # a copy of the first home, which knows where that one writes
    assert below(other) == [] and below(own) == had


def test_a_bind_mount_of_the_homes_own_file_system_will_do(dugout, tmp_path):
    """The same device, but rename and link refuse: outputs are copied."""
    real, at = tmp_path / "real", tmp_path / "bound"
    real.mkdir()
    at.mkdir()
    if subprocess.run(["mount", "--bind", real, at], capture_output=True).returncode:
        pytest.skip("no bind mount can be made here")
    try:
        configure(dugout, at)
        assert run(dugout, tmp_path, {"a": step(), "b": use()}).rc == 0
        dugout.ok("fsck", "--full")
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_a_place_that_will_not_do_is_refused_before_the_start(dugout, there, tmp_path):
    configure(dugout, there / "absent")
    r = run(dugout, tmp_path, {"a": step()})
    assert r.rc == 3 and "absent does not exist" in r.err and "scratch:" in r.err, r
    configure(dugout, "relative")
    r = run(dugout, tmp_path, {"a": step()})
    assert r.rc == 2 and "absolute path" in r.err, r
    configure(dugout, there)
    assert run(dugout, tmp_path, {"a": step()}).rc == 0
    (own,) = there.iterdir()
    own.chmod(0o777)
    r = run(dugout, tmp_path, {"a": step()})
    assert r.rc == 2 and "not ours alone" in r.err, r
    assert len(dugout.ok("runs", "--json").json) == 1
