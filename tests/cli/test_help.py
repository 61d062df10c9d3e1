# SPDX-License-Identifier: Apache-2.0
"""Help, the man page and completion: all from one table, and really understood by others."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import BIN


def words(*args) -> str:
    return subprocess.run([BIN, *args], capture_output=True, text=True, check=True).stdout


def commands() -> list:
    text = words("help").split("commands:\n")[1].split("\noptions:")[0]
    return [line[2:].split("  ")[0] for line in text.splitlines()]


def test_every_command_explains_itself():
    assert len(commands()) > 25
    for command in commands():
        text = words("help", *command.split())
        assert text.startswith("usage: dugout " + command), command
        assert text == words(*command.split(), "--help")


def test_the_man_page_has_every_command_and_no_fault():
    page = words("help", "--man")
    for command in commands():
        assert '.SS "dugout %s' % command in page, command
    if not shutil.which("groff"):
        pytest.skip("groff is not installed: the page was not rendered")
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, text=True,
                          capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def bash_offers(line: str, env) -> set:
    script = words("completion", "bash") + r"""
        COMP_LINE=$1 COMP_POINT=${#1}
        _dugout; printf '%s\n' "${COMPREPLY[@]}"
    """
    return set(subprocess.run(["bash", "--norc", "-c", script, "bash", line], env=env, text=True,
                              capture_output=True, check=True).stdout.split())


def zsh_offers(line: str, env) -> set:
    script = r"""
        compdef() { }; compadd() { shift; cur=${words[CURRENT]}
            for w; do [[ $w == $cur* ]] && print -r -- $w; done }
        _files() { }
        source $1; words=(${(z)2}); [[ $2 == *" " ]] && words+=(""); CURRENT=$#words; _dugout; true
    """
    return set(subprocess.run(["zsh", "-f", "-c", script, "zsh", env["SCRIPT"], line], env=env,
                              text=True, capture_output=True, check=True).stdout.split())


@pytest.mark.parametrize("offers", [bash_offers, zsh_offers])
def test_a_shell_completes_words_options_and_names(offers, dugout, write, tmp_path):
    shell = offers.__name__.split("_")[0]
    if not shutil.which(shell):
        pytest.skip(shell + " is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dugout").symlink_to(BIN)
    (tmp_path / "script").write_text(words("completion", shell))
    env = dugout.env(PATH="%s:%s" % (tmp_path / "bin", os.environ["PATH"]),
                     SCRIPT=str(tmp_path / "script"))
    assert offers("dugout ca", env) == {"cancel"}
    assert {"load", "ls", "tag"} <= offers("dugout image ", env)
    assert offers("dugout run --network ", env) == {"none", "host"}
    assert offers("dugout run --net", env) == {"--network"}
    assert offers("dugout --home /x image exp", env) == {"export"}
    assert offers("dugout run ", env) == set()  # a file: the shell's own affair
    assert offers("dugout run --params ", env) == set()
    assert "tiny:latest" in offers("dugout box ", env)
    assert offers("dugout show @l", env) == {"@latest"}
    assert offers("dugout completion ", env) == {"bash", "zsh"}


def test_the_version_names_what_is_linked_in():
    text = words("version")
    assert re.search(r"^dugout \d+\.\d+", text)
    for line in open(os.path.join(os.path.dirname(__file__), "../../vendor/pins")):
        if line.strip() and not line.startswith("#"):
            name, version = line.split()[:2]
            assert "%s %s" % (name, version) in text
