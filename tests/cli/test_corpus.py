# SPDX-License-Identifier: Apache-2.0
"""KFP's own test data: every file of the index runs to the state that the index names, and what the
index says of its outputs and logs is looked at. One line a file is printed (whatever becomes of the
output of tests that pass), and written to build/test/out/corpus.txt.

Images of the corpus are names only; the config's aliases map them to one image. What a file needs
beside that (secrets, a model image) is set up here, as a user would.
"""

import csv
import io
import json
import re
import tarfile

import pytest

from conftest import ROOT, SHARED, Dugout, rootfs

CORPUS = SHARED / "kfp-corpus"

# what required root parameters get: by name, else by type
GIVEN = {"a": "2", "b": "3", "message": "Hello", "first_message": "Hello", "message1": "Hello ",
         "second_message": " World", "message2": "World", "first_number": "10", "second_number": "20"}
BY_TYPE = {"NUMBER_INTEGER": "3", "NUMBER_DOUBLE": "1.5", "STRING": "text", "BOOLEAN": "true",
           "LIST": '["a","b"]', "STRUCT": '{"A":1,"B":2}'}


def rows():
    if not (CORPUS / "index.tsv").exists():
        return []
    with open(CORPUS / "index.tsv") as f:
        return list(csv.DictReader(f, delimiter="\t"))


needs_corpus = pytest.mark.skipif(
    not rows(), reason="no corpus: set DUGOUT_SHARED to the folder that holds kfp-corpus")


class Run:
    """A finished run, for the checks."""

    def __init__(self, dugout: Dugout, run: str = "@latest"):
        self.dugout, self.run = dugout, run
        self.doc = dugout.ok("show", run, "--json").json
        self.tasks = {t["path"]: t for t in self.doc["tasks"]}
        self.outputs = self.doc["outputs"]["parameters"]

    def log(self, path: str) -> str:
        return self.dugout.ok("logs", "%s/%s" % (self.run, path)).out

    def logs(self) -> str:
        """All that containers printed, without what the runtime module says itself."""
        text = "".join(self.log(p) for p, t in self.tasks.items()
                       if t["kind"] == "container" and t["attempts"])
        return "\n".join(x for x in text.splitlines() if "KFP Executor" not in x)

    def state(self, path: str) -> str:
        return self.tasks[path]["state"]

    def ran(self, pattern: str) -> list:
        return sorted(p for p, t in self.tasks.items()
                      if re.search(pattern, p) and t["state"] == "SUCCEEDED")

    def artifacts(self, type_: str) -> list:
        return [a for t in self.doc["tasks"] for l in t["outputs"]["artifacts"].values() for a in l
                if a["type"] == type_]

    def output(self, key: str, name="Output"):
        """Output of the one task of this name, wherever it is."""
        (task,) = [t for p, t in self.tasks.items() if p.rpartition("/")[2] == key]
        return task["outputs"]["parameters"].get(name)


def in_order(r: Run, *groups) -> bool:
    """Every task of a group ends before any of the next one begins."""
    spans = [[(r.tasks[p]["started"], r.tasks[p]["finished"]) for p in r.ran(g)] for g in groups]
    return all(spans) and all(max(e for _, e in a) <= min(b for b, _ in c)
                              for a, c in zip(spans, spans[1:]))


def one_group(r: Run, *names) -> bool:
    """Exactly one of the branches was taken."""
    return sum(r.state(n) == "SUCCEEDED" for n in names) == 1


def nested(r: Run) -> bool:
    """What is in a skipped group is skipped."""
    return all(t["state"] == "SKIPPED" for p, t in r.tasks.items()
               for g in [p.rpartition("/")[0]] if g and r.state(g) == "SKIPPED")


CHECKS = {
    "add_numbers": lambda r: r.outputs == {"Output": 5},
    "artifact_cache": lambda r: "foo" in r.logs(),
    "artifact_crust": lambda r: "foo" in r.logs(),
    "collected_parameters": lambda r: all("model_id_s%d" % i in r.logs() for i in (1, 2, 3)),
    "component_with_optional_inputs": lambda r: all(x in r.logs() for x in ("Hello", "World", "None")),
    "container_component_with_no_inputs": lambda r: r.logs().strip() != "",
    "flip_coin": lambda r: one_group(r, "condition-1", "condition-4") and nested(r)
    and re.search(r"(heads|tails) and -?\d+ (<=|>) -?\d+!", r.logs()) is not None,
    "if_else_with_oneof_artifacts": lambda r: r.logs().count("heads") >= 2
    and len([p for p in r.tasks if p.endswith("condition-3") and r.state(p) == "SKIPPED"]) == 1,
    "missing_kubernetes_optional_inputs": lambda r: len(r.ran(".")) >= 1,
    "mixed_parameters": lambda r: re.search(r"\b3\b", r.logs()) is not None,
    "modelcar": lambda r: len(r.output("get-model-files-list").split(", ")) == 11
    and r.artifacts("system.Model")[-1] is not None,
    "multiple_artifacts_namedtuple": lambda r: "foo" in r.logs() and "bar" in r.logs(),
    "multiple_parameters_namedtuple": lambda r: "foo" in r.logs() and "bar" in r.logs(),
    "notebook_component_simple": lambda r: len(r.logs()) > 0,
    # the index wants bar before baz, too, but in the file both depend on the loop alone
    "parallel_for_after_dependency": lambda r: len(r.ran(r"^for-loop-2\[\d\]/")) == 3
    and in_order(r, r"^for-loop-2\[\d\]/", "^print-op-[23]$"),
    "parameter_cache": lambda r: "foo" in r.logs(),
    "parameter_oneof": lambda r: re.search("Got (heads|tails)!", r.logs()) is not None and nested(r),
    "parameters_simple": lambda r: r.outputs["Output"] == [2, 4, 6] and r.output("add") == 12
    and 12 in [int(v) for v in r.tasks["add-container"]["outputs"]["parameters"].values()],
    "pipeline_with_artifact_custom_path": lambda r: any(
        v is True for t in r.doc["tasks"] for v in t["outputs"]["parameters"].values()),
    "pipeline_with_env": lambda r: all(x in r.logs() for x in ("val0", "val2", "val3")),
    "pipeline_with_importer_workspace": lambda r: "part-000.txt,part-001.txt" in json.dumps(r.outputs)
    and "123" in json.dumps(r.outputs),
    "pipeline_with_input_status_state": lambda r: len(r.ran("^exit")) >= 1,
    "pipeline_with_placeholders": lambda r: all(t["state"] == "SUCCEEDED" for t in r.doc["tasks"]),
    "pipeline_with_pod_metadata": lambda r: all(
        v is True for t in r.doc["tasks"] for v in t["outputs"]["parameters"].values()),
    "pipeline_with_retry": lambda r: r.output("add") == 8,
    "pipeline_with_secret_as_env": lambda r: len(r.ran(".")) == 2
    or all(t["state"] == "SUCCEEDED" for t in r.doc["tasks"]),
    "pipeline_with_submit_request": lambda r: all(t["attempts"] == 1 for t in r.doc["tasks"]),
    "pipeline_with_volume_long_name": lambda r: any(
        t["outputs"]["parameters"].get("name") for t in r.doc["tasks"]),
    "pipeline_with_workspace": lambda r: r.outputs["Output"] == "Hello from workspace!",
    "producer_consumer_param_pipeline": lambda r: "Hello world, this is an output parameter\n"
    in [v for t in r.doc["tasks"] for v in t["outputs"]["parameters"].values()],
    "pythonic_artifacts_test_pipeline": lambda r: all(t["state"] == "SUCCEEDED" for t in r.doc["tasks"]),
    "two_step_pipeline_containerized": lambda r: "Hello KFP Containerized!" in r.logs(),
    "component_with_env_variable": lambda r: r.outputs == {"Output": "env_var_value"},
    "concat_message": lambda r: r.outputs == {"Output": "Hello World"},
    "container_no_input": lambda r: r.logs().strip() != "",
    "dict_input": lambda r: "'A': 1" in r.logs() and "'B': 2" in r.logs(),
    "embedded_artifact": lambda r: len(r.ran(".")) == len(r.tasks) == 2,
    "iris_pipeline_compiled": lambda r: any(
        "confusionMatrix" in a["metadata"] for a in r.artifacts("system.ClassificationMetrics"))
    and any("framework" in a["metadata"] for a in r.artifacts("system.Model")),
    "lightweight_python_functions_pipeline": lambda r: len(r.artifacts("system.Dataset")) == 2
    and r.artifacts("system.Model")[0]["metadata"]["accuracy"] == 0.9,
    "lightweight_python_functions_with_outputs": lambda r: any(
        v == "123" for t in r.doc["tasks"] for v in t["outputs"]["parameters"].values())
    and r.artifacts("system.Metrics") != [],
    "pipeline_with_after": lambda r: in_order(
        r, *["^%s$" % p for p in sorted(r.tasks, key=lambda p: r.tasks[p]["started"])])
    and len(r.tasks) == 3,
    "pipeline_with_condition": lambda r: r.state("condition-1") in ("SUCCEEDED", "SKIPPED") and nested(r),
    "pipeline_with_metrics_outputs": lambda r: len(r.artifacts("system.Metrics")) == 3
    and all("accuracy" in a["metadata"] for a in r.artifacts("system.Metrics")),
    "pipeline_with_nested_conditions": lambda r: nested(r),
    "pipeline_with_nested_conditions_yaml": lambda r: nested(r) and len(
        [p for p, t in r.tasks.items() if t["kind"] == "condition"]) == 6,
    "pipeline_with_outputs": lambda r: r.dugout.ok(
        "artifact", "cat", "a%d" % r.doc["outputs"]["artifacts"]["Output"][0]["id"]).out == "world\n",
    "pipeline_with_params_containing_format": lambda r: all(
        x in r.logs() for x in ("Hello KFP", "Hello KFP, again.", "1 and KFP.", "2 and KFP.")),
    "pipeline_with_reused_component": lambda r: [r.output(p) for p in ("add-numbers", "add-numbers-2", "add-numbers-3")]
    == [5, 10, 17],
    "placeholder_with_if_placeholder_none_input_value": lambda r: "--arg0 input0 --arg2 default value"
    in r.logs(),
    "fail_v2": lambda r: [t["exit_code"] for t in r.doc["tasks"]] == [1] and r.logs() != "",
    "pipeline_with_exit_handler": lambda r: "Exit handler has worked!" in r.logs(),
    "pipeline_with_multiple_exit_handlers": lambda r: len(
        [t for p, t in r.tasks.items() if "/" not in p and t["kind"] == "container"
         and t["state"] == "SUCCEEDED"]) >= 3,
}

CACHED_AGAIN = ("add_numbers", "artifact_cache", "parameter_cache")  # the index says so


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with one image that all names of the corpus are aliases of, secrets, a model image."""
    d = Dugout(tmp_path_factory.mktemp("corpus") / "home")
    d.ok("image", "import", rootfs("python-notebook"), "--name", "corpus:all")
    names = {i.strip(",;") for row in rows() for i in row["images"].split()} - {"-", ""}
    aliases = "".join('    "%s": "corpus:all"\n' % n for n in sorted(names)
                      if not n.startswith(("argostub/", "registry.domain.local/modelcar")))
    (d.home / "config.yaml").write_text("images:\n  aliases:\n" + aliases)
    for secret, key, value in (("test-secret-1", "username", "user1"),
                               ("test-secret-2", "password", "psw1"),
                               ("test-secret-3", "password", "psw2")):
        (d.home / "secrets" / secret).mkdir(parents=True, exist_ok=True)
        (d.home / "secrets" / secret / key).write_text(value)
    model_image(d)
    return d


def model_image(d: Dugout):
    """registry.domain.local/modelcar:test, whose /models holds the eleven files the index names"""
    row = [r for r in rows() if r["file"].endswith("modelcar.yaml")]
    files = re.findall(r"[\w.]+\.(?:json|txt|safetensors)", row[0]["notes"]) if row else []
    tar = d.home.parent / "model.tar"
    with tarfile.open(tar, "w") as t:
        for f in files:
            info = tarfile.TarInfo("models/" + f)
            info.size = 3
            t.addfile(info, io.BytesIO(b"{}\n"))
    d.ok("image", "import", tar, "--name", "registry.domain.local/modelcar:test")


def parameters(row):
    for part in row["required_params"].split(";"):
        name, _, type_ = part.strip().partition(":")
        if type_:
            yield from ("-p", "%s=%s" % (name, GIVEN.get(name, BY_TYPE[type_])))


def walk(home, row):
    """-> (state reached, text for the table, None or what is wrong)"""
    path = CORPUS / row["file"]
    name = path.name.partition(".")[0]
    args = ["run", path, *parameters(row)]
    if row["offline"] == "yes+wheels":
        args += ["--packages", "image"]
    r = home(*args, timeout=300)
    state = {0: "SUCCEEDED", 1: "FAILED"}.get(r.rc, "REJECTED")
    line = r.err.splitlines()[-1] if r.err else ""
    if state != row["expected_state"]:
        if row["offline"] == "no" and state == "REJECTED" and len(r.err.splitlines()) == 1:
            return state, "skipped: needs the network: " + line[:100], None
        return state, line[:100], r.err[-800:]
    if state == "REJECTED":
        clear = len(r.err.splitlines()) == 1 and r.err.startswith("dugout: ")
        return state, line[:100], None if clear else r.err[-400:]
    try:
        right = CHECKS[name](Run(home))
    except (KeyError, ValueError, IndexError, AssertionError) as e:
        right, line = False, repr(e)
    if not right:
        return state, "WRONG OUTPUTS", "%s: %s" % (row["checks"], json.dumps(Run(home).doc)[:1500])
    if name in CACHED_AGAIN and "nothing new" not in home.ok(*args).err:
        return state, "NOT CACHED", "the second run was not all hits"
    return state, "checked: " + row["checks"][:70], None


@needs_corpus
def test_every_file_ends_as_the_index_says(home, capsys):
    wrong, table = [], []
    for row in rows():
        state, text, why = walk(home, row)
        table.append((row["file"], row["expected_state"], state, text))
        if why:
            wrong.append((row["file"], why))
    lines = ["%-60s %-10s %-10s" % ("FILE", "EXPECTED", "REACHED")]
    lines += ["%-60s %-10s %-10s %s" % one for one in table]
    report = ROOT / "build" / "test" / "out" / "corpus.txt"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("\n".join(lines) + "\n")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert not wrong, wrong
