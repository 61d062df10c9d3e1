# SPDX-License-Identifier: Apache-2.0
"""`export mlmd`, read the way ML Metadata's own library reads: the checks on opening, the
statements it makes, and how it turns rows into values. Debian's SQLite does the reading, which is
another and older one than the one that wrote."""

import base64
import json
import sqlite3
import struct

import pytest

from conftest import sh
from test_platform import importing, kube  # noqa: F401 (a fixture)
from test_report import MATRIX, step, tasks

NODE = {
    "Artifact": ("artifact_id", "uri, state"),
    "Execution": ("execution_id", "last_known_state"),
    "Context": ("context_id", ""),
}
COLUMNS = {
    "Type": "id, name, version, type_kind, description, input_type, output_type, external_id",
    "TypeProperty": "type_id, name, data_type",
    "ParentType": "type_id, parent_type_id",
    "Artifact": "id, type_id, uri, state, name, external_id, create_time_since_epoch, "
                "last_update_time_since_epoch",
    "Execution": "id, type_id, last_known_state, name, external_id, create_time_since_epoch, "
                 "last_update_time_since_epoch",
    "Context": "id, type_id, name, external_id, create_time_since_epoch, "
               "last_update_time_since_epoch",
    "ParentContext": "context_id, parent_context_id",
    "Event": "id, artifact_id, execution_id, type, milliseconds_since_epoch",
    "EventPath": "event_id, is_index_step, step_index, step_key",
    "Association": "id, context_id, execution_id",
    "Attribution": "id, context_id, artifact_id",
    "MLMDEnv": "schema_version",
}  # fmt: skip
VALUES = "name, is_custom_property, int_value, double_value, string_value, byte_value, " \
         "proto_value, bool_value"  # fmt: skip
SEEDS = {"mlmd.Dataset": 1, "mlmd.Model": 1, "mlmd.Metrics": 1, "mlmd.Statistics": 1,
         "mlmd.Train": 0, "mlmd.Transform": 0, "mlmd.Process": 0, "mlmd.Evaluate": 0,
         "mlmd.Deploy": 0}  # fmt: skip


# ---- protobuf's Struct, from its definition ----


def fields(b):
    at = 0

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            c = b[at]
            at += 1
            v |= (c & 0x7F) << shift
            shift += 7
            if not c & 0x80:
                return v

    while at < len(b):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
        elif kind == 1:
            yield tag >> 3, b[at : at + 8]
            at += 8
        else:
            assert kind == 2
            n = varint()
            yield tag >> 3, b[at : at + n]
            at += n


def read_value(b):
    ((field, v),) = fields(b)
    return {
        1: lambda: None,
        2: lambda: struct.unpack("<d", v)[0],
        3: lambda: v.decode(),
        4: lambda: bool(v),
        5: lambda: read_struct(v),
        6: lambda: [read_value(x) for _, x in fields(v)],
    }[field]()


def read_struct(b):
    out = {}
    for _, entry in fields(b):
        parts = dict(fields(entry))
        out[parts[1].decode()] = read_value(parts[2])
    return out


# ---- the library, as far as it reads ----


class Store:
    def __init__(self, path):
        self.db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
        self.check()

    def all(self, sql, *args):
        return self.db.execute(sql, args).fetchall()

    def check(self):
        """What is looked at before a file is used."""
        assert self.all("SELECT schema_version FROM MLMDEnv") == [(10,)]
        for table, columns in COLUMNS.items():
            self.all("SELECT %s FROM %s LIMIT 1" % (columns, table))
        for node, (key, _) in NODE.items():
            self.all("SELECT %s, %s FROM %sProperty LIMIT 1" % (key, VALUES, node))
        for name, kind in SEEDS.items():
            assert len(self.types(name, kind)) == 1, name

    def types(self, name, kind):
        return self.all("SELECT %s FROM Type WHERE name = ? AND version IS NULL AND type_kind = ?"
                        % COLUMNS["Type"], name, kind)  # fmt: skip

    def node(self, table, id_):
        key, _ = NODE[table]
        rows = self.all("SELECT %s, T.name AS type FROM %s AS N LEFT JOIN Type AS T ON "
                        "N.type_id = T.id WHERE N.id IN (?)"
                        % (", ".join("N." + c.strip() for c in COLUMNS[table].split(",")), table),
                        id_)  # fmt: skip
        assert len(rows) == 1
        names = [c.strip() for c in COLUMNS[table].split(",")] + ["type"]
        node = dict(zip(names, rows[0]))
        for column in ("id", "type_id", "state", "last_known_state", "create_time_since_epoch",
                       "last_update_time_since_epoch"):  # fmt: skip
            assert column not in node or isinstance(node[column], int), (table, column)
        node["properties"] = {}
        for row in self.all("SELECT %s FROM %sProperty WHERE %s IN (?)" % (VALUES, table, key), id_):
            name, custom, *values = row
            assert custom == 1
            node["properties"][name] = self.value(values)
        return node

    @staticmethod
    def value(values):
        i, d, s, byte, proto, b = values
        assert sum(v is not None for v in (i, d, s, proto, b)) == 1 and byte is None
        if i is not None:
            assert isinstance(i, int)
            return i
        if d is not None:
            assert isinstance(d, float)
            return d
        assert isinstance(s, str)
        if s.startswith("mlmd-struct::"):
            return read_struct(base64.b64decode(s[len("mlmd-struct::") :], validate=True))
        return s

    def by_type(self, table, type_, kind):
        ids = self.all("SELECT id FROM %s WHERE type_id = ?" % table, self.types(type_, kind)[0][0])
        return [self.node(table, i) for (i,) in ids]

    def by_name(self, table, type_, kind, name):
        rows = self.all("SELECT id FROM %s WHERE type_id = ? AND name = ?" % table,
                        self.types(type_, kind)[0][0], name)  # fmt: skip
        assert len(rows) == 1
        return self.node(table, rows[0][0])

    def events(self, column, id_):
        out = []
        for row in self.all("SELECT %s FROM Event WHERE %s IN (?) ORDER BY id"
                            % (COLUMNS["Event"], column), id_):  # fmt: skip
            path = self.all("SELECT %s FROM EventPath WHERE event_id IN (?)"
                            % COLUMNS["EventPath"], row[0])  # fmt: skip
            assert len(path) == 1 and path[0][1] == 0 and path[0][2] is None
            out.append({"artifact": row[1], "execution": row[2], "type": row[3],
                        "ms": row[4], "key": path[0][3]})  # fmt: skip
        return out

    def linked(self, table, of, id_, want):
        return {r[0] for r in self.all("SELECT %s FROM %s WHERE %s IN (?)" % (want, table, of), id_)}

    def upstream(self, artifact):
        return {r[0] for r in self.all(
            "WITH RECURSIVE w(k, id) AS (SELECT 0, ? UNION SELECT 1, e.execution_id FROM w CROSS "
            "JOIN Event e WHERE w.k = 0 AND e.artifact_id = w.id AND e.type IN (1, 4) UNION "
            "SELECT 0, e.artifact_id FROM w CROSS JOIN Event e WHERE w.k = 1 AND "
            "e.execution_id = w.id AND e.type IN (2, 3)) SELECT id FROM w WHERE k = 0",
            artifact)}  # fmt: skip


@pytest.fixture
def export(dugout, tmp_path):
    def export_(name="out.db"):
        path = tmp_path / name
        dugout.ok("export", "mlmd", path)
        return Store(path)

    return export_


def test_the_schema_is_that_of_version_10(dugout, write, export):
    dugout.ok("run", write(tasks(), name="churn"))
    s = export()
    tables = {r[0] for r in s.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"sqlite_sequence"} == set(COLUMNS) | {n + "Property" for n in NODE}
    indexes = [r[0] for r in s.all("SELECT name FROM sqlite_master WHERE type = 'index'")]
    assert len(indexes) == 40
    assert sum(i.startswith("sqlite_autoindex_") for i in indexes) == 16
    assert not s.all("SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')")
    declared = dict(
        ("%s.%s" % (t, c[1]), (c[2], c[3]))
        for t in tables - {"sqlite_sequence"}
        for c in s.all("PRAGMA table_info(%s)" % t)
    )
    for column, want in {
        "Type.id": ("INTEGER", 0), "Type.name": ("VARCHAR(255)", 1), "Type.type_kind": ("TINYINT(1)", 1),
        "Artifact.type_id": ("INT", 1), "Artifact.uri": ("TEXT", 0), "Artifact.state": ("INT", 0),
        "Artifact.create_time_since_epoch": ("INT", 1), "Context.name": ("VARCHAR(255)", 1),
        "Execution.name": ("VARCHAR(255)", 0), "ArtifactProperty.double_value": ("DOUBLE", 0),
        "ArtifactProperty.bool_value": ("BOOLEAN", 0), "ContextProperty.proto_value": ("BLOB", 0),
        "Event.milliseconds_since_epoch": ("INT", 0), "MLMDEnv.schema_version": ("INTEGER", 0),
    }.items():  # fmt: skip
        assert declared[column] == want, column
    assert s.all("PRAGMA journal_mode") == [("delete",)]
    assert s.all("PRAGMA integrity_check") == [("ok",)]


def test_a_run_reads_as_kfp_would_have_written_it(dugout, write, export):
    f = write(tasks(), name="churn", inputs={"parameters": {"n": {
        "parameterType": "NUMBER_INTEGER", "defaultValue": 5, "isOptional": True}}})  # fmt: skip
    run = dugout.ok("run", f, "--json").json
    s = export()
    context = s.by_name("Context", "system.PipelineRun", 2, run["run_id"])
    pipeline = s.by_name("Context", "system.Pipeline", 2, "churn")
    assert s.linked("ParentContext", "context_id", context["id"], "parent_context_id") == {
        pipeline["id"]}  # fmt: skip
    assert context["properties"]["resource_name"] == "run-resource"
    assert context["properties"]["pipeline_root"].endswith("/churn/" + run["run_id"])

    root = s.by_name("Execution", "system.DAGExecution", 0, "run/" + run["run_id"])
    assert root["properties"]["inputs"] == {"n": 5.0}
    assert root["properties"]["total_dag_tasks"] == 4
    executions = s.by_type("Execution", "system.ContainerExecution", 0)
    by_name = {e["properties"]["task_name"]: e for e in executions}
    assert set(by_name) == {"load", "profile", "train", "evaluate"}
    for e in executions:
        p = e["properties"]
        assert e["name"] is None and e["last_known_state"] == 3
        assert p["parent_dag_id"] == root["id"] and p["pod_name"] == "" and p["namespace"] == ""
        assert p["image"].startswith("sha256:") and len(p["cache_fingerprint"]) == 64
        assert p["dugout.component_digest"].startswith("sha256:")
        assert p["dugout.exit_code"] == 0 and p["dugout.attempt"] == 1
        assert e["last_update_time_since_epoch"] == p["dugout.ended_ms"]
        assert s.linked("Association", "execution_id", e["id"], "context_id") == {
            context["id"], pipeline["id"]}  # fmt: skip

    (model,) = s.by_type("Artifact", "system.Model", 1)
    (data,) = s.by_type("Artifact", "system.Dataset", 1)
    assert model["state"] == 2 and model["name"] is None
    assert model["uri"] == "cas://sha256/" + model["properties"]["dugout.digest"][7:]
    assert data["properties"]["rows"] == 5000.0 and isinstance(data["properties"]["rows"], float)
    assert data["properties"]["display_name"] == "data"
    assert s.all("SELECT id FROM Artifact WHERE uri = ?", data["uri"]) == [(data["id"],)]
    events = s.events("execution_id", by_name["train"]["id"])
    assert [(e["artifact"], e["type"], e["key"]) for e in events] == [
        (data["id"], 3, "data"), (model["id"], 4, "model")]  # fmt: skip
    assert s.linked("Attribution", "artifact_id", model["id"], "context_id") == {
        context["id"], pipeline["id"]}  # fmt: skip
    assert s.upstream(model["id"]) == {model["id"], data["id"]}


def test_metrics_and_nested_metadata_come_back(dugout, write, export):
    dugout.ok("run", write(tasks(), name="churn"))
    s = export()
    (m,) = s.by_type("Artifact", "system.Metrics", 1)
    assert m["properties"]["f1"] == 0.912345678 and m["properties"]["accuracy"] == 0.93
    (c,) = s.by_type("Artifact", "system.ClassificationMetrics", 1)
    assert c["properties"]["confusionMatrix"] == {"struct": json.loads(
        json.dumps(MATRIX), parse_int=float)}  # fmt: skip
    assert len(c["properties"]["confidenceMetrics"]["list"]) == 21
    assert s.linked("ParentType", "type_id", c["type_id"], "parent_type_id") == set()
    assert s.linked("ParentType", "type_id", m["type_id"], "parent_type_id") == {
        s.types("mlmd.Metrics", 1)[0][0]}  # fmt: skip


def test_odd_metadata_is_kept_where_it_can_be(dugout, write, export):
    odd = {"tiny": 1e-7, "yes": True, "none": None, "list": [1, "zwei", None, {"a": False}],
           "text": "gr\u00fc\u00df <b>", "n" * 300: 1, "deep": {"a": {"b": {"c": [[]]}}}}  # fmt: skip
    f = write({"a": {**step("", {"d": odd}, {"d": "x"}), "art_out": {"d": "system.Dataset"}}})
    dugout.ok("run", f)
    r = dugout.ok("export", "mlmd", f.parent / "x.db")
    assert "2 properties were left out" in r.err
    (d,) = export().by_type("Artifact", "system.Dataset", 1)
    p = d["properties"]
    assert p["tiny"] == 1e-7 and p["yes"] == 1 and "none" not in p and p["text"] == odd["text"]
    assert p["list"] == {"list": [1.0, "zwei", None, {"a": False}]}
    assert p["deep"] == {"struct": {"a": {"b": {"c": [[]]}}}}


def test_a_cache_hit_gives_out_the_old_artifacts(dugout, write, export):
    f = write(tasks(), name="churn")
    dugout.ok("run", f)
    dugout.ok("run", f)
    s = export()
    models = s.by_type("Artifact", "system.Model", 1)
    assert len(models) == 1
    outputs = [e for e in s.events("artifact_id", models[0]["id"]) if e["type"] == 4]
    made, hit = (s.node("Execution", e["execution"]) for e in outputs)
    assert (made["last_known_state"], hit["last_known_state"]) == (3, 5)
    assert hit["properties"]["cached_execution_id"] == str(made["id"])
    assert hit["properties"]["cache_fingerprint"] == made["properties"]["cache_fingerprint"]


def test_failures_skips_and_tags(dugout, write, export):
    assert dugout("run", write(tasks("exit 3"), name="churn")).rc == 1
    dugout.ok("tag", "a1", "data:v1")
    s = export()
    state = {e["properties"]["task_name"]: e["last_known_state"]
             for e in s.by_type("Execution", "system.ContainerExecution", 0)}  # fmt: skip
    assert state == {"load": 3, "profile": 3, "train": 4, "evaluate": 6}
    (root,) = s.by_type("Execution", "system.DAGExecution", 0)
    assert root["last_known_state"] == 4
    ref = s.by_name("Context", "dugout.Ref", 2, "data:v1")
    assert s.linked("Attribution", "context_id", ref["id"], "artifact_id") == {1}


def test_statements_of_lists_use_the_indexes(dugout, write, export):
    dugout.ok("run", write(tasks(), name="churn"))
    s = export()

    def plan(sql, *args):
        return " ".join(r[3] for r in s.all("EXPLAIN QUERY PLAN " + sql, *args))

    shapes = [
        "SELECT artifact_id FROM ArtifactProperty WHERE name = 'f1' AND is_custom_property = 1 "
        "AND double_value > 0.9",
        "SELECT execution_id FROM ExecutionProperty WHERE name = 'image' AND "
        "is_custom_property = 1 AND string_value = 'x'",
        "SELECT execution_id FROM ExecutionProperty WHERE name = 'parent_dag_id' AND "
        "is_custom_property = 1 AND int_value = 1",
        "SELECT id FROM Artifact WHERE uri = 'x'",
        "SELECT id FROM Artifact WHERE external_id IN ('x')",
        "SELECT id FROM Execution ORDER BY create_time_since_epoch DESC, id DESC LIMIT 5",
        "SELECT id FROM Artifact ORDER BY last_update_time_since_epoch ASC, id ASC LIMIT 5",
        "SELECT context_id FROM ParentContext WHERE parent_context_id IN (1)",
    ]
    for sql in shapes:
        s.all(sql)
        assert "INDEX" in plan(sql), sql


def test_two_exports_agree_and_never_overwrite(dugout, write, tmp_path):
    dugout.ok("run", write({"a": sh("true")}, name="p"))
    dugout.ok("export", "mlmd", tmp_path / "a.db")
    dugout.ok("export", "mlmd", tmp_path / "b.db")
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()
    r = dugout("export", "mlmd", tmp_path / "a.db")
    assert r.rc == 2 and "exists" in r.err
    assert not [p for p in tmp_path.iterdir() if "dugout-" in p.name]


def test_an_importer_is_an_importer_execution(dugout, kube, tmp_path, export):
    (tmp_path / "f.csv").write_text("one\n")
    dugout.ok("run", importing(kube, str(tmp_path / "f.csv")))
    s = export()
    (imp,) = s.by_type("Execution", "system.ImporterExecution", 0)
    (data,) = s.by_type("Artifact", "system.Dataset", 1)
    assert imp["last_known_state"] == 3 and "pod_name" not in imp["properties"]
    assert [(e["artifact"], e["type"]) for e in s.events("execution_id", imp["id"])] == [
        (data["id"], 4)]  # fmt: skip
    (use,) = s.by_type("Execution", "system.ContainerExecution", 0)
    assert s.events("execution_id", use["id"])[0]["artifact"] == data["id"]
