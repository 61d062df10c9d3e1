# SPDX-License-Identifier: Apache-2.0
"""rerun: the recorded YAML, parameters, images and inputs once more, and the same bytes?"""

from conftest import sh

PATH_OF = "{{$.outputs.artifacts['%s'].path}}"
IN = "{{$.inputs.artifacts['%s'].path}}"
WORD = {"parameters": {"word": {"parameterType": "STRING", "defaultValue": "hello"}}}


def tasks(second):
    return {
        "stable": {**sh('echo "$1" >"$0"', PATH_OF % "a", "{{$.inputs.parameters['w']}}"),
                   "inp": {"w": "word"}, "art_out": {"a": "system.Dataset"}},
        "second": {**sh(second, PATH_OF % "b", IN % "x"), "art_in": {"x": "stable.a"},
                   "art_out": {"b": "system.Model"}},
    }


def test_a_deterministic_run_is_byte_identical(dugout, write):
    f = write(tasks('cat "$1" "$1" >"$0"'), inputs=WORD)
    dugout.ok("run", f, "-p", "word=again", "--name", "first")
    f.write_text("not the pipeline any more")
    r = dugout.ok("rerun", "first", "--verify")
    assert [line.split()[:2] for line in r.out.splitlines()] == [
        ["VERDICT", "OUTPUT"], ["identical", "stable:a"], ["identical", "second:b"]]
    assert "2 of 2 outputs are byte-identical" in r.err
    runs = dugout.ok("runs", "--json").json
    assert len(runs) == 2 and runs[0]["parameters"] == {"word": "again"}
    assert not any(t["cached"] for t in dugout.ok("show", "@latest", "--json").json["tasks"])
    assert dugout.ok("rerun", "first").rc == 0  # without --verify the cache answers
    assert dugout.ok("runs", "--json").json[0]["nothing_new"] is True


def test_what_differs_is_named(dugout, write):
    dugout.ok("run", write(tasks('cat /proc/sys/kernel/random/uuid >"$0"'), inputs=WORD), "--name", "first")
    r = dugout("rerun", "first", "--verify", "--json")
    assert r.rc == 1, r
    assert {o["task"]: o["verdict"] for o in r.json["outputs"]} == {"stable": "identical", "second": "differs"}
    assert (r.json["identical"], r.json["differs"]) == (1, 1)


def test_values_are_outputs_too(dugout, write):
    """A run may give out nothing but numbers: they differ, and no byte of an artifact does."""
    doc = ('{"artifacts":{"m":{"artifacts":[{"name":"m","uri":"{{$.outputs.artifacts[\'m\'].uri}}",'
           '"metadata":{"f1":%s}}]}}}')
    f = write({"t": {**sh('n=$(od -An -N4 -tu4 /dev/urandom | tr -d " "); printf %s $n >"$0"; mkdir -p "$(dirname "$1")"; printf "$2" $n >"$1"',
                          "{{$.outputs.parameters['score'].output_file}}", "{{$.outputs.output_file}}", doc),
                     "out": {"score": "NUMBER_DOUBLE"}, "art_out": {"m": "system.Metrics"}},
               "same": {**sh('printf 7 >"$0"', "{{$.outputs.parameters['seven'].output_file}}"),
                        "out": {"seven": "NUMBER_INTEGER"}}})
    dugout.ok("run", f, "--name", "first")
    r = dugout("rerun", "first", "--verify", "--json")
    assert r.rc == 1, r
    assert {(o["kind"], o["output"], o["verdict"]) for o in r.json["outputs"]} == {
        ("parameter", "score", "differs"), ("metadata", "m", "differs"), ("parameter", "seven", "identical")}
    assert "1 of 3 outputs are byte-identical" in r.err


def test_a_rerun_that_fails_has_no_verdict_and_says_so(dugout, write, tmp_path):
    f = write({"t": {**sh('test -e /gate/x && echo ok >"$0"', PATH_OF % "a"), "art_out": {"a": "system.Dataset"}}})
    (tmp_path / "x").touch()
    dugout.ok("run", f, "--name", "first", "-v", "%s:/gate" % tmp_path)
    (tmp_path / "x").unlink()
    r = dugout("rerun", "first", "--verify", "--json")
    assert r.rc == 1 and r.json["state"] == "FAILED", r


def test_an_image_is_the_one_of_then(dugout, write, tmp_path, tiny_tar):
    f = write(tasks('cat /etc/mark >"$0" 2>&1; cat "$1" >>"$0"'), inputs=WORD)
    dugout.ok("run", f, "--name", "first")
    dugout.ok("image", "import", tiny_tar, "--name", "tiny", "-e", "NEW=1")  # the name means another now
    dugout.ok("rerun", "first", "--verify")
    a, b = [{t["path"]: t["image"] for t in dugout.ok("show", run, "--json").json["tasks"]}
            for run in ("first", "@latest")]
    assert a == b
    assert dugout.ok("run", f, "--no-cache") and dugout.ok("diff", "first", "@latest").out.count("image") == 2


def test_inputs_are_those_of_then(dugout, tmp_path, write):
    data = tmp_path / "day.csv"
    data.write_text("then\n")
    f = write({"t": {**sh('cat "$1" >"$0"', PATH_OF % "b", IN % "x"), "art_in": {"x": "raw"},
                     "art_out": {"b": "system.Dataset"}}},
              inputs={"artifacts": {"raw": {"artifactType": {"schemaTitle": "system.Dataset",
                                                             "schemaVersion": "0.0.1"}}}})
    dugout.ok("run", f, "--input", "raw=%s" % data, "--name", "first")
    data.write_text("now\n")
    assert "1 of 1 outputs are byte-identical" in dugout.ok("rerun", "first", "--verify").err
