# SPDX-License-Identifier: Apache-2.0
"""Values through every path: what goes in comes out, byte for byte and kind for kind."""

import json

import pytest

from conftest import out_param, sh

TEXTS = {
    "empty": "",
    "space": " ",
    "newline": "two\nlines\n",
    "quotes": "it's \"quoted\" \\ and `back`",
    "braces": "{{ jinja }} {{$}} {{$.inputs.parameters['x']}}",
    "structured": '{"Concat": ["a", "b"]}',
    "shell": "$(rm -rf /) $HOME $$ ${X} ; & |",
    "env": "$(LEVEL)",
    "number": "007",
    "true": "true",
    "null": "null",
    "unicode": "Zürich 東京 🚀 \u2028",
    "json": '{"a": [1, null, "x"]}',
    "percent": "100%s %d %n",
    "long": "x" * 100000,
    "control": "a\tb\x01c\x7f",
}

# type, the value, its text form
TYPED = [
    ("NUMBER_INTEGER", 0, "0"),
    ("NUMBER_INTEGER", -7, "-7"),
    ("NUMBER_INTEGER", 9007199254740991, "9007199254740991"),
    ("NUMBER_DOUBLE", 0.1, "0.1"),
    ("NUMBER_DOUBLE", 1e300, "1e+300"),
    ("NUMBER_DOUBLE", -1.5e-300, "-1.5e-300"),
    ("NUMBER_DOUBLE", 3, "3"),
    ("BOOLEAN", True, "true"),
    ("BOOLEAN", False, "false"),
    ("LIST", [], "[]"),
    ("LIST", [1, "two", None, True, {"x": []}], '[1,"two",null,true,{"x":[]}]'),
    ("STRUCT", {}, "{}"),
    ("STRUCT", {"": 1, "a b": "é\n\"", "n": None, "d": {"e": 1e300}},
     '{"":1,"a b":"é\\n\\"","n":null,"d":{"e":1e+300}}'),
]

COPY = 'mkdir -p "$(dirname "$1")"; printf %s "$0" >"$1"'


def types(doc, task, **kinds):
    """Set the declared types of a component's parameters."""
    comp = doc["components"]["comp-" + task]
    for side in ("inputDefinitions", "outputDefinitions"):
        for name, p in comp.get(side, {}).get("parameters", {}).items():
            if name in kinds:
                p["parameterType"] = kinds[name]


@pytest.fixture
def chain(write):
    """A file: root parameter x -> task a (an argument, copied to its output file) -> task b."""

    def make(kind):
        f = write(
            {
                "a": {**sh(COPY, "{{$.inputs.parameters['x']}}", out_param("y")),
                      "inp": {"x": "x"}, "out": {"y": kind}, "env": {"LEVEL": "3"}},
                "b": {**sh(COPY, "{{$.inputs.parameters['y']}}", out_param("z")),
                      "inp": {"y": "a.y"}, "out": {"z": kind}},
            },
            inputs={"parameters": {"x": {"parameterType": kind}}},
            outputs={"z": "b.z"},
        )
        doc = json.loads(f.read_text())
        types(doc, "a", x=kind)
        types(doc, "b", y=kind)
        f.write_text(json.dumps(doc))
        return f

    return make


def same(got, want):
    """Equal in kind too: 1 is not True, and an integer is no text."""
    return json.dumps(got, sort_keys=True) == json.dumps(want, sort_keys=True)


def outputs(dugout, *args):
    return dugout.ok("run", *args, "--json").json


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_comes_back_as_it_went_in(dugout, chain, name):
    text = TEXTS[name]
    doc = outputs(dugout, chain("STRING"), "-p", "x=" + text)
    assert doc["parameters"] == {"x": text}
    assert doc["outputs"]["parameters"] == {"z": text}
    assert doc["tasks"][1]["inputs"]["parameters"] == {"y": text}


def test_all_typed_values_come_back(dugout, chain, tmp_path):
    for kind, value, text in TYPED:
        f = chain(kind)
        doc = outputs(dugout, f, "-p", "x=" + text)
        assert same(doc["outputs"]["parameters"], {"z": value}), (kind, value)
        params = tmp_path / "params.json"
        params.write_text(json.dumps({"x": value}))
        doc = outputs(dugout, f, "--params", params)
        assert same(doc["outputs"]["parameters"], {"z": value}), (kind, value)
        assert all(t["cached"] for t in doc["tasks"]), "by flag and by file it is the same value"


def test_a_value_of_another_kind_is_refused(dugout, chain, tmp_path):
    params = tmp_path / "params.json"
    for kind, wrong in [
        ("STRING", 3), ("STRING", True), ("STRING", None), ("NUMBER_INTEGER", "3"),
        ("NUMBER_INTEGER", 1.5), ("NUMBER_INTEGER", True), ("NUMBER_DOUBLE", "0.5"),
        ("BOOLEAN", "true"), ("BOOLEAN", 1), ("LIST", "[1]"), ("LIST", {}), ("STRUCT", []),
    ]:
        params.write_text(json.dumps({"x": wrong}))
        r = dugout("run", chain(kind), "--params", params)
        assert r.rc == 2 and "parameter x: want " + kind in r.err, (kind, wrong, r)
    for kind, text in [("NUMBER_INTEGER", "1.0"), ("NUMBER_INTEGER", ""), ("NUMBER_DOUBLE", "inf"),
                       ("NUMBER_DOUBLE", "nan"), ("BOOLEAN", "yes"), ("LIST", "a,b"),
                       ("STRUCT", "[]")]:
        r = dugout("run", chain(kind), "-p", "x=" + text)
        assert r.rc == 2 and "parameter x: want " + kind in r.err, (kind, text, r)


def test_an_integer_that_a_double_cannot_hold_is_refused(dugout, chain):
    r = dugout("run", chain("NUMBER_INTEGER"), "-p", "x=9007199254740993")
    assert r.rc == 2 and "9007199254740993" in r.err and "STRING" in r.err, r


def test_an_output_of_another_kind_fails_its_task(dugout, write):
    for kind, text in [("NUMBER_INTEGER", "1.5"), ("NUMBER_INTEGER", "one"), ("BOOLEAN", "maybe"),
                       ("LIST", "{}"), ("STRUCT", "nope"), ("NUMBER_DOUBLE", "")]:
        f = write({"t": {**sh(COPY, text, out_param("y")), "out": {"y": kind}}})
        r = dugout("run", f)
        assert r.rc == 1, (kind, text)
        assert "y: want " + kind in r.err, (kind, text, r)


def test_an_output_text_keeps_its_last_newline_and_a_number_loses_its_spaces(dugout, write):
    script = 'mkdir -p "$(dirname "$0")"; printf " 12 \\n" >"$0"; printf " 12 \\n" >"$1"'
    f = write({"t": {**sh(script, out_param("n"), out_param("s")),
                     "out": {"n": "NUMBER_INTEGER", "s": "STRING"}}})
    doc = outputs(dugout, f)
    assert doc["tasks"][0]["outputs"]["parameters"] == {"n": 12, "s": " 12 \n"}


# ---- constants ---------------------------------------------------------------------------


def test_constants_are_filled_in_and_data_is_not(dugout, write):
    f = write(
        {"t": {**sh(COPY, "{{$.inputs.parameters['msg']}}", out_param("y")),
               "inp": {"who": "who", "n": "=2",
                       "msg": "=<{{$.inputs.parameters['who']}}|{{$.inputs.parameters['n']}}>"},
               "out": {"y": "STRING"}}},
        inputs={"parameters": {"who": {"parameterType": "STRING"}}}, outputs={"y": "t.y"})
    doc = outputs(dugout, f, "-p", "who={{$.inputs.parameters['n']}} \"quoted\"\n")
    assert doc["outputs"]["parameters"]["y"] == \
        "<{{$.inputs.parameters['n']}} \"quoted\"\n|2>"


def test_the_facts_of_a_run_are_placeholders(dugout, write):
    names = ["pipeline_job_name", "pipeline_job_resource_name", "pipeline_job_uuid",
             "pipeline_task_name", "pipeline_task_uuid", "pipeline_job_create_time_utc",
             "pipeline_job_schedule_time_utc"]
    f = write(
        {"t": {**sh(COPY, "{{$.inputs.parameters['all']}}", out_param("y")),
               "inp": {"all": "=" + " ".join("{{$.%s}}" % n for n in names)},
               "out": {"y": "STRING"}}}, outputs={"y": "t.y"})
    doc = outputs(dugout, f, "--name", "mine")
    job, resource, uuid, task, task_uuid, created, due = doc["outputs"]["parameters"]["y"].split()
    assert (job, uuid, task) == ("mine", doc["run_id"], "t")
    assert resource.startswith("p-") and len(task_uuid) == 36
    assert created == due == doc["created"]


def test_a_constant_may_hold_the_executor_s_own_input(dugout, write):
    f = write({"t": {**sh(COPY, "{{$.inputs.parameters['all']}}", out_param("y")),
                     "inp": {"n": "=2", "all": "={{$.outputs.output_file}} {{$}}"},
                     "out": {"y": "STRING"}}}, outputs={"y": "t.y"})
    path, _, text = outputs(dugout, f)["outputs"]["parameters"]["y"].partition(" ")
    own = json.loads(text)
    assert own["outputs"]["outputFile"] == path
    assert own["inputs"]["parameterValues"] == {"n": "2", "all": "{{$.outputs.output_file}} {{$}}"}


def test_a_resumed_run_keeps_its_resource_name(dugout, write, tmp_path):
    gate = tmp_path / "gate"
    gate.mkdir()
    f = write({"t": {**sh("echo $0; test -e /gate/open", "{{$.inputs.parameters['n']}}"),
                     "inp": {"n": "={{$.pipeline_job_resource_name}}"}}})
    assert dugout("run", f, "--name", "mine", "-v", "%s:/gate" % gate).rc == 1
    first = dugout.ok("logs", "mine/t").out
    (gate / "open").write_text("")
    dugout.ok("resume", "mine")
    assert first.startswith("p-") and dugout.ok("logs", "mine/t").out == first


def test_a_constant_that_names_itself_is_said(dugout, write):
    f = write({"t": {**sh("true"), "inp": {"a": "=x{{$.inputs.parameters['b']}}",
                                           "b": "={{$.inputs.parameters['a']}}"}}})
    r = dugout("run", f)
    assert r.rc == 1 and "refers to itself" in r.err, r


# ---- the command line of a task ----------------------------------------------------------


def argv_of(dugout, write, args, inputs=None, inp=None, given=(), env=None):
    """What a task finds as its arguments."""
    f = write(
        {"t": {"command": ["sh", "-c", 'mkdir -p "$(dirname "$0")"; for a; do printf "%s\\0" "$a"; '
                                       'done >"$0"', out_param("y")],
               "args": args, "inp": inp or {}, "out": {"y": "STRING"}, "env": env or {},
               "cache": False}},
        inputs={"parameters": inputs} if inputs else None)
    doc = json.loads(f.read_text())
    for name, p in (inputs or {}).items():
        defs = doc["components"]["comp-t"].get("inputDefinitions", {}).get("parameters", {})
        if name in defs:
            defs[name] = dict(p)
    f.write_text(json.dumps(doc))
    r = dugout.ok("run", f, *[x for g in given for x in ("-p", g)], "--json")
    return r.json["tasks"][0]["outputs"]["parameters"]["y"].split("\0")[:-1]


OPT = {"x": {"parameterType": "STRING", "isOptional": True}}


def test_if_present_and_concat_nest(dugout, write):
    x = "{{$.inputs.parameters['x']}}"
    cond = {"IfPresent": {"InputName": "x", "Then": ["--x", x], "Else": "none"}}
    args = [
        json.dumps(cond),
        json.dumps({"Concat": ["a=", {"IfPresent": {"InputName": "x", "Then": {"Concat": [x, "!"]}}}]}),
        json.dumps({"IfPresent": {"InputName": "x", "Then": {"Concat": ["<", x, ">"]}}}),
        "end",
    ]
    text = 'q"uo\\te\n{{$}}'
    assert argv_of(dugout, write, args, OPT, {"x": "x"}, ["x=" + text]) == \
        ["--x", text, "a=" + text + "!", "<" + text + ">", "end"]
    assert argv_of(dugout, write, args, OPT, {"x": "x"}) == ["none", "a=", "end"]


def test_an_absent_input_is_empty_text_and_said(dugout, write):
    f = write({"t": {**sh('echo "<$0>"', "{{$.inputs.parameters['x']}}"), "inp": {"x": "=1"}}})
    doc = json.loads(f.read_text())
    doc["components"]["comp-t"]["inputDefinitions"]["parameters"]["x"]["isOptional"] = True
    del doc["root"]["dag"]["tasks"]["t"]["inputs"]
    f.write_text(json.dumps(doc))
    r = dugout.ok("run", f)
    assert "its input x has no value" in r.err
    assert dugout.ok("logs", "@latest/t").out == "<>\n"


def test_an_artifact_with_neither_bytes_nor_metadata_is_said(dugout, write):
    meta = """mkdir -p "$(dirname "$0")"; echo '{"artifacts":{"m":{"artifacts":[{"metadata":{"f1":1}}]}}}' >"$0\""""
    f = write({"t": {**sh(meta, "{{$.outputs.output_file}}"),
                     "art_out": {"m": "system.Metrics", "d": "system.Dataset"}}})
    r = dugout.ok("run", f)
    assert "output d: nothing was written to /minio/" in r.err and "output m" not in r.err, r


def test_names_of_the_environment_are_filled_in_but_not_in_data(dugout, write):
    env = {"LEVEL": "3", "TEXT": 'say "hi"', "BOTH": "$(LEVEL)-$$(LEVEL)-$(LATER)", "LATER": "x"}
    args = ["$(LEVEL)", "$$(LEVEL)", "$(NOPE)", "$$", "$(LEVEL", "{{$.inputs.parameters['x']}}",
            '{"Concat": ["$(TEXT)", "$$"]}', "$(BOTH)"]
    assert argv_of(dugout, write, args, OPT, {"x": "x"}, ["x=$(LEVEL) $$"], env) == \
        ["3", "$(LEVEL)", "$(NOPE)", "$", "$(LEVEL", "$(LEVEL) $$", 'say "hi"$',
         "3-$(LEVEL)-$(LATER)"]


def test_the_executor_input_can_be_escaped(dugout, write):
    args = ["{{$}}", '"{{$.json_escape[1]}}"', '"{{$.json_escape[2]}}"', "{{$.nothing}}"]
    plain, once, twice, rest = argv_of(dugout, write, args, OPT, {"x": "x"}, ['x="\\\n'])
    assert json.loads(plain)["inputs"]["parameterValues"] == {"x": '"\\\n'}
    assert json.loads(once) == plain
    assert json.loads('"%s"' % json.loads(twice)) == plain
    assert rest == "{{$.nothing}}"


def test_an_argument_over_the_kernel_s_limit_is_said(dugout, write):
    f = write({"t": {**sh("true", "{{$.inputs.parameters['x']}}"), "inp": {"x": "x"}}},
              inputs={"parameters": {"x": {"parameterType": "STRING"}}})
    params = f.parent / "params.json"
    params.write_text(json.dumps({"x": "x" * 131071}))
    assert dugout("run", f, "--params", params).rc == 0
    params.write_text(json.dumps({"x": "x" * 131072}))
    r = dugout("run", f, "--params", params)
    assert r.rc == 1 and "131072 bytes long" in r.err and "artifacts" in r.err, r


# ---- absent, default, null ------------------------------------------------------------------


def nested(kind="STRING", root=None, dag=None, leaf=None):
    """root x -> DAG task `in` (input x) -> container task `t` (input x), which prints its input."""
    def define(more):
        return {"parameters": {"x": {"parameterType": kind, **(more or {})}}}

    link = {"parameters": {"x": {"componentInputParameter": "x"}}}
    return {
        "pipelineInfo": {"name": "p"}, "schemaVersion": "2.1.0",
        "components": {
            "comp-in": {"inputDefinitions": define(dag),
                        "dag": {"tasks": {"t": {"componentRef": {"name": "comp-t"},
                                                "inputs": link}}}},
            "comp-t": {"executorLabel": "exec-t", "inputDefinitions": define(leaf)},
        },
        "deploymentSpec": {"executors": {"exec-t": {"container": {
            "image": "tiny", "command": ["sh", "-c", 'printf "%s" "$0"', "{{$}}"]}}}},
        "root": {"inputDefinitions": define(root),
                 "dag": {"tasks": {"in": {"componentRef": {"name": "comp-in"}, "inputs": link}}}},
    }


ABSENT = {"isOptional": True}


def default(v):
    return {"isOptional": True, "defaultValue": v}


@pytest.mark.parametrize("root, dag, leaf, want", [
    (ABSENT, ABSENT, ABSENT, None),
    (ABSENT, ABSENT, default("leaf"), "leaf"),
    (ABSENT, default("dag"), default("leaf"), "dag"),
    (default("root"), default("dag"), default("leaf"), "root"),
    (default(""), default("dag"), default("leaf"), ""),
    (default("root"), None, None, "root"),
])
def test_defaults_at_three_levels(dugout, tmp_path, root, dag, leaf, want):
    f = tmp_path / "n.json"
    f.write_text(json.dumps(nested(root=root, dag=dag, leaf=leaf)))
    dugout.ok("run", f)
    seen = json.loads(dugout.ok("logs", "@latest/in/t").out)["inputs"]["parameterValues"]
    assert seen == ({} if want is None else {"x": want})


def test_a_null_where_a_value_is_required_fails_with_the_input_s_name(dugout, tmp_path):
    f = tmp_path / "n.json"
    f.write_text(json.dumps(nested(root=ABSENT, dag=ABSENT)))
    r = dugout("run", f)
    assert r.rc == 1 and "input x is required" in r.err, r


def test_a_string_input_takes_the_text_of_a_number_and_others_do_not_convert(dugout, tmp_path):
    f = tmp_path / "n.json"
    doc = nested()
    doc["root"]["inputDefinitions"]["parameters"]["x"] = {
        "parameterType": "NUMBER_DOUBLE", "defaultValue": 9.0, "isOptional": True}
    f.write_text(json.dumps(doc))
    dugout.ok("run", f)
    seen = json.loads(dugout.ok("logs", "@latest/in/t").out)
    assert seen["inputs"]["parameterValues"] == {"x": "9"}
    doc = nested(kind="NUMBER_INTEGER")
    doc["root"]["inputDefinitions"]["parameters"]["x"] = {
        "parameterType": "STRING", "defaultValue": "9", "isOptional": True}
    f.write_text(json.dumps(doc))
    r = dugout("run", f)
    assert r.rc in (1, 2) and "NUMBER_INTEGER" in r.err, r
