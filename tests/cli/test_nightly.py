# SPDX-License-Identifier: Apache-2.0
"""The nightly retrain of pipelines/nightly: a sweep in parallel, a gate, promotion, and a notice."""

import pytest

from conftest import ROOT, Dugout, rootfs

NIGHTLY = ROOT / "pipelines" / "nightly" / "nightly.yaml"
GROUP = "exit-handler-1/condition-branches-4/"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    d = Dugout(tmp_path_factory.mktemp("nightly") / "home")
    d.ok("image", "import", rootfs("python-notebook"), "--name", "python:3.12-slim")
    return d


def test_the_sweep_the_gate_the_promotion_and_the_notice(home):
    home.ok("run", NIGHTLY, "--tag", GROUP + "condition-5/promote:card=nightly:card")
    states = home.states()
    assert [states["exit-handler-1/for-loop-3[%d]/fit" % i] for i in range(3)] == ["SUCCEEDED"] * 3
    assert states[GROUP + "condition-5/promote"] == "SUCCEEDED"
    assert states[GROUP + "condition-6"] == "SKIPPED"
    assert "exit-handler-1 is COMPLETE" in home.ok("logs", "@latest/notify").out


def test_a_high_gate_holds_back(home):
    home.ok("run", NIGHTLY, "-p", "gate=0.99")
    states = home.states()
    assert states[GROUP + "condition-5/promote"] == "SKIPPED"
    assert states[GROUP + "condition-6/hold-back"] == "SUCCEEDED"
    assert states["notify"] == "SUCCEEDED"


def test_a_failing_fit_fails_the_run_and_the_notice_goes_out(home, tmp_path):
    text = NIGHTLY.read_text()
    broken = tmp_path / "nightly.yaml"
    before = next(x for x in text.splitlines() if x.strip().startswith("raw: "))
    broken.write_text(text.replace(before, before.partition("raw:")[0] + "raw: '[-1, 20]'"))
    r = home("run", broken)
    assert r.rc == 1, r
    states = home.states()
    assert states["exit-handler-1/for-loop-3[0]/fit"] == "FAILED"
    assert states["exit-handler-1"] == "FAILED" and states["notify"] == "SUCCEEDED"
    assert "exit-handler-1 is FAILED" in home.ok("logs", "@latest/notify").out
