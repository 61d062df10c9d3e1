# SPDX-License-Identifier: Apache-2.0
"""exec: a command in the box of a running task, with no more than the task has."""

import signal

import pytest

from conftest import BIN, sh, wait_until


@pytest.fixture
def running(dugout, write, tmp_path):
    """A home with a task that runs for as long as the test does."""
    marks = tmp_path / "marks"
    marks.mkdir()
    task = {**sh("echo here >/tmp/mine; touch /marks/up; sleep 600"), "env": {"COLOUR": "blue"},
            "resources": {"memoryLimit": 0.1}}
    p = dugout.start("run", write({"t": task}), "-v", "%s:/marks:rw" % marks)
    wait_until((marks / "up").exists)
    wait_until(lambda: dugout.ok("exec", "@latest/t", "ps").out.count(" sleep 600\n") == 2)
    yield dugout
    dugout.ok("cancel", "@latest")
    p.communicate(timeout=300)


def test_a_command_sees_the_tasks_files_processes_and_environment(running):
    r = running.ok("exec", "@latest/t", "--", "sh", "-c", "cat /tmp/mine; echo $COLOUR; ps | grep -c ' sleep 600$'; hostname; pwd")
    assert r.out.split() == ["here", "blue", "2", "t", "/"]


def test_the_status_is_the_commands_own_or_says_why_there_is_none(running):
    assert running("exec", "@latest/t", "sh", "-c", "exit 7").rc == 7
    assert running("exec", "@latest/t", "sh", "-c", "kill -9 $$").rc == 137
    assert running("exec", "@latest/t", "no-such").rc == 127
    assert running("exec", "@latest/t", "/etc").rc == 126
    assert running("exec", "@latest/nope", "true").rc == 125
    assert running("exec", "--user", "nobody-here", "@latest/t", "true").rc == 125
    assert running("exec", "-w", "/nowhere", "@latest/t", "true").rc == 125


def test_it_has_no_more_privilege_than_the_task(running):
    script = "grep -e Cap -e Seccomp: -e NoNewPrivs /proc/%s/status; readlink /proc/%s/ns/user"
    mine = running.ok("exec", "@latest/t", "sh", "-c", script % ("self", "self")).out
    task = running.ok("exec", "@latest/t", "sh", "-c", "p=$(ps | awk '/ sleep 600$/ && !/-c/ {print $1}'); "
                      + script % ("$p", "$p")).out
    assert mine == task and "NoNewPrivs:\t1" in mine and "Seccomp:\t2" in mine
    r = running("exec", "@latest/t", "sh", "-c", "ls -l /proc/self/fd | wc -l; mount -t tmpfs x /mnt")
    assert r.rc != 0 and int(r.out) <= 5
    r = running.ok("exec", "--user", "1001:1002", "@latest/t", "id", "-u")
    assert r.out == "1001\n"


def test_it_runs_within_the_tasks_limits(running):
    text = running.ok("exec", "@latest/t", "cat", "/proc/self/cgroup").out
    other = running.ok("exec", "@latest/t", "cat", "/proc/1/cgroup").out
    assert text == other
    r = running("exec", "@latest/t", "sh", "-c", "head -c 400m /dev/zero | tail -c 399m | wc -c")
    assert r.rc != 0 or "399" not in r.out


def test_dugouts_own_file_is_out_of_reach(running):
    before = open(BIN, "rb").read(64)
    r = running("exec", "@latest/t", "/proc/self/exe", "version")
    assert "dugout" not in r.out  # it is the small program that ends at once
    r = running("exec", "@latest/t", "sh", "-c", "for p in /proc/[0-9]*; do echo $(readlink $p/exe); done")
    assert "dugout" not in r.out.replace("memfd:dugout-init", "")
    assert open(BIN, "rb").read(64) == before


def test_standard_input_is_passed_on_when_asked_for(running):
    assert running.ok("exec", "-i", "@latest/t", "cat", stdin="hello").out == "hello"
    assert running.ok("exec", "@latest/t", "cat", stdin="hello").out == ""


def test_signals_go_to_the_command_and_it_ends_with_us(running):
    p = running.start("exec", "@latest/t", "sh", "-c", "trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.1; done")
    assert p.stdout.readline() == "up\n"
    p.send_signal(signal.SIGTERM)
    assert (p.communicate(timeout=300)[0], p.returncode) == ("got\n", 3)
    p = running.start("exec", "@latest/t", "sh", "-c", "echo up; exec sleep 777")
    assert p.stdout.readline() == "up\n"
    p.kill()
    p.communicate(timeout=300)
    wait_until(lambda: "sleep 777" not in running.ok("exec", "@latest/t", "ps").out)


def test_a_task_that_does_not_run_is_said(dugout, write):
    dugout.ok("run", write({"t": sh("true")}))
    r = dugout("exec", "@latest/t", "true")
    assert r.rc == 125 and "does not run now (it is SUCCEEDED)" in r.err
    r = dugout("exec", "@latest", "true")
    assert r.rc == 125 and "wants RUN/TASK" in r.err
