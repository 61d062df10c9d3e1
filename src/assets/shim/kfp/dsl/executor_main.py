# SPDX-License-Identifier: Apache-2.0
"""Run the function of one compiled component.

``python3 -m kfp.dsl.executor_main --component_module_path F --function_to_execute NAME
--executor_input JSON``. Nothing heavy is imported: a step should cost Python's own start-up and
little more, so there is no argparse, no inspect and no datetime here.
"""

import json
import os
import sys

from kfp.dsl import artifacts
from kfp.dsl.annotations import (
    InputPath,
    OutputPath,
    PipelineTaskFinalStatus,
    TaskConfig,
    _EmbeddedMarker,
    _InputMarker,
    _OutputMarker,
)

_PARAMETER_WORDS = frozenset(
    "int integer float double str string text bool boolean dict list jsonobject jsonarray".split()
)
_PARAMETER_TYPES = (str, int, float, bool, dict, list)
_MISSING = object()


def _log(text: str) -> None:
    import time

    sys.stdout.write("[KFP Executor %s INFO]: %s\n" % (time.strftime("%Y-%m-%d %H:%M:%S"), text))
    sys.stdout.flush()


# ---- what an annotation means ---------------------------------------------------------------


def _strip_optional(annotation):
    """``Optional[X]`` and ``X | None`` count as X."""
    members = getattr(annotation, "__args__", None)
    origin = getattr(annotation, "__origin__", None)
    is_union = (
        getattr(origin, "_name", None) == "Union"
        or str(origin) == "typing.Union"
        or type(annotation).__name__ == "UnionType"
    )
    if is_union and members:
        rest = [m for m in members if m is not type(None)]
        if len(rest) == 1:
            return rest[0], len(rest) != len(members)
    return annotation, False


def _is_artifact_class(type_) -> bool:
    return isinstance(type_, type) and (
        issubclass(type_, artifacts.Artifact) or hasattr(type_, "schema_title")
    )


def _is_pydantic(type_) -> bool:
    return isinstance(type_, type) and hasattr(type_, "model_validate") and hasattr(
        type_, "model_dump"
    )


def _list_item(type_):
    """X of ``List[X]``; None for other annotations."""
    origin = getattr(type_, "__origin__", None)
    if origin is list or getattr(origin, "__name__", "") == "List":
        members = getattr(type_, "__args__", None) or (None,)
        return members[0]
    return None


def _is_parameter(type_) -> bool:
    if type_ in (PipelineTaskFinalStatus, TaskConfig) or _is_pydantic(type_):
        return True
    if isinstance(type_, str):
        return type_.split("[")[0].split(".")[-1].strip().lower() in _PARAMETER_WORDS
    if isinstance(type_, type) and issubclass(type_, _PARAMETER_TYPES):
        return not hasattr(type_, "_fields")
    origin = getattr(type_, "__origin__", None)
    if origin is not None:
        return origin in (list, dict) and not _is_artifact_class(_list_item(type_))
    # unsubscripted typing.List and typing.Dict
    return str(type_) in ("typing.List", "typing.Dict")


def _resolve(annotation, module):
    """Text annotations (``from __future__ import annotations``) are looked up in the module."""
    if isinstance(annotation, str) and annotation.lower() not in _PARAMETER_WORDS:
        return eval(annotation, vars(module))
    return annotation


# ---- artifacts ----------------------------------------------------------------------------------


def _make_artifact(entry: dict, annotated=None):
    """An artifact object of the class that its schema title or annotation names."""
    title = (entry.get("type") or {}).get("schemaTitle", "")
    cls = artifacts.CLASSES.get(title)
    if cls is None or (
        title == artifacts.Artifact.schema_title and _is_artifact_class(annotated)
    ):
        cls = annotated if _is_artifact_class(annotated) else artifacts.Artifact
    fields = {
        "uri": entry.get("uri", ""),
        "name": entry.get("name", ""),
        "metadata": entry.get("metadata") or {},
    }
    if hasattr(cls, "_from_executor_fields"):
        made = cls._from_executor_fields(**fields)
    else:
        made = cls(**fields)
    custom = entry.get("customPath") or entry.get("custom_path")
    if custom:
        made.custom_path = custom
    return made


def _make_directories(path: str) -> None:
    directory = os.path.dirname(path)
    if directory:
        os.makedirs(directory, exist_ok=True)


class Executor:
    """Binds the arguments of one function, calls it, writes down what it gave.

    Args:
        executor_input: the parsed executor input.
        function: the component's function.
        module: the module that it lives in.
    """

    def __init__(self, executor_input: dict, function, module):
        self.function = function
        self.module = module
        self.inputs = executor_input.get("inputs") or {}
        self.outputs = executor_input.get("outputs") or {}
        self.output_file = self.outputs["outputFile"]
        self.made = {}
        self.result = {}
        artifacts._task_root = os.path.dirname(self.output_file)
        for name, held in (self.outputs.get("artifacts") or {}).items():
            entries = held.get("artifacts") or []
            if entries:
                annotation = self._annotation(name)
                self.made[name] = _make_artifact(entries[0], getattr(annotation, "type", None))
                _make_directories(self.made[name].path)

    def _annotation(self, name: str):
        given = _resolve(getattr(self.function, "__annotations__", {}).get(name), self.module)
        return _strip_optional(given)[0]

    # ---- arguments ----

    def _input_artifact(self, name: str, annotated=None, required=False):
        entries = (self.inputs.get("artifacts") or {}).get(name, {}).get("artifacts") or []
        if not entries:
            if required:
                raise ValueError("input artifact %r was not given" % name)
            return None
        return _make_artifact(entries[0], annotated)

    def _input_artifacts(self, name: str, annotated=None):
        held = (self.inputs.get("artifacts") or {}).get(name)
        if held is None:
            return None
        return [_make_artifact(entry, annotated) for entry in held.get("artifacts") or []]

    def _parameter(self, name: str, type_):
        value = (self.inputs.get("parameterValues") or {}).get(name)
        if value is None:
            return _MISSING  # Python's own default acts
        if type_ is PipelineTaskFinalStatus:
            return PipelineTaskFinalStatus.from_struct(value)
        if type_ is TaskConfig:
            return TaskConfig.from_struct(value)
        if _is_pydantic(type_):
            return type_.model_validate(value)
        return value

    def _output_path(self, name: str, type_):
        if type_ is not None and _is_parameter(type_):
            held = (self.outputs.get("parameters") or {}).get(name)
            if held is None:
                raise ValueError("output parameter %r is not declared" % name)
            _make_directories(held["outputFile"])
            return held["outputFile"]
        if name not in self.made:
            raise ValueError("output artifact %r is not declared" % name)
        return self.made[name].path

    def _embedded(self, type_):
        made = type_() if _is_artifact_class(type_) else artifacts.Artifact()
        path = vars(self.module).get("__KFP_EMBEDDED_ASSET_FILE") or vars(self.module).get(
            "__KFP_EMBEDDED_ASSET_DIR"
        )
        if path is None:
            raise RuntimeError("this component has no embedded artifact")
        made.set_path(path)
        made.uri = path
        return made

    def _argument(self, name: str, annotation):
        type_, _ = _strip_optional(annotation)
        if isinstance(type_, InputPath):
            if type_.type is not None and _is_parameter(type_.type):
                return self._parameter(name, type_.type)
            return self._input_artifact(name, required=True).path
        if isinstance(type_, OutputPath):
            return self._output_path(name, type_.type)
        if isinstance(type_, _OutputMarker):
            if name not in self.made:
                raise ValueError("output artifact %r is not declared" % name)
            return self.made[name]
        if isinstance(type_, _EmbeddedMarker):
            return self._embedded(type_.type)
        if isinstance(type_, _InputMarker):
            item = _list_item(type_.type)
            if item is not None:
                return self._input_artifacts(name, item)
            return self._input_artifact(name, type_.type)
        if _is_parameter(type_):
            return self._parameter(name, type_)
        item = _list_item(type_)
        if item is not None:
            return self._input_artifacts(name, item)
        if _is_artifact_class(type_):
            return self._input_artifact(name, type_)
        return self._parameter(name, type_)

    def arguments(self) -> dict:
        """Keyword arguments for the function, by its annotations."""
        bound = {}
        for name, annotation in getattr(self.function, "__annotations__", {}).items():
            if name == "return":
                continue
            value = self._argument(name, _resolve(annotation, self.module))
            if value is not _MISSING:
                bound[name] = value
        return bound

    # ---- results ----

    def _put_parameter(self, name: str, type_, value, optional: bool) -> None:
        if value is None and optional:
            self.result.setdefault("parameterValues", {})[name] = None
            return
        if _is_pydantic(type_):
            value = json.loads(value.model_dump_json(by_alias=True))
        else:
            wanted = getattr(type_, "__origin__", None) or type_
            if isinstance(wanted, type) and wanted in _PARAMETER_TYPES:
                allowed = (int, float) if wanted is float else (wanted,)
                value = _plain(value)
                if not isinstance(value, allowed) or (
                    wanted in (int, float) and isinstance(value, bool)
                ):
                    raise ValueError(
                        "output %r must be of type %s, and the function returned %s"
                        % (name, wanted.__name__, type(value).__name__)
                    )
        self.result.setdefault("parameterValues", {})[name] = value

    def _put_artifact(self, name: str, value) -> None:
        made = self.made.get(name)
        if made is None:
            raise ValueError("output artifact %r is not declared" % name)
        if isinstance(value, artifacts.Artifact) or hasattr(value, "schema_title"):
            if not value.name:
                value.name = made.name
            if not value.uri:
                value.uri = made.uri
            self.made[name] = value
            return
        with open(made.path, "w") as out:
            out.write(str(value))

    def _put(self, name: str, annotation, value) -> None:
        type_, optional = _strip_optional(annotation)
        if isinstance(type_, _OutputMarker):
            type_ = type_.type
        if value is None and not _is_parameter(type_):
            return
        if _is_parameter(type_):
            self._put_parameter(name, type_, value, optional)
        elif _is_artifact_class(type_) or _list_item(type_) is not None:
            self._put_artifact(name, value)
        else:
            raise RuntimeError(
                "output %r: the return annotation %r is neither a parameter nor an artifact"
                % (name, annotation)
            )

    def take(self, value) -> None:
        """Take what the function returned."""
        if value is None:
            return
        annotation = _resolve(
            getattr(self.function, "__annotations__", {}).get("return"), self.module
        )
        fields = getattr(annotation, "_fields", None)
        if fields is None:
            self._put("Output", annotation, value)
            return
        types = getattr(annotation, "__annotations__", None) or getattr(
            annotation, "_field_types", {}
        )
        plain = isinstance(value, tuple) and not hasattr(value, "_fields")
        if plain and len(value) != len(fields):
            raise RuntimeError(
                "the function returned %d values, and %d are declared" % (len(value), len(fields))
            )
        for i, name in enumerate(fields):
            one = value[i] if plain else getattr(value, name)
            self._put(name, _resolve(types[name], self.module), one)

    def write(self) -> None:
        """Write the executor output file. Of a distributed job only the chief writes."""
        if not _is_chief():
            return
        out = dict(self.result)
        if self.made:
            out["artifacts"] = {}
        for name, made in self.made.items():
            entry = {"name": made.name, "uri": made.uri, "metadata": made.metadata}
            if getattr(made, "custom_path", None):
                entry["custom_path"] = made.custom_path
            out["artifacts"][name] = {"artifacts": [entry]}
        _make_directories(self.output_file)
        with open(self.output_file, "w") as stream:
            json.dump(out, stream, default=_plain_or_fail)


def _plain(value):
    """numpy's scalars are Python's to us."""
    if not isinstance(value, _PARAMETER_TYPES) and hasattr(value, "item"):
        try:
            return value.item()
        except (TypeError, ValueError):
            return value
    return value


def _plain_or_fail(value):
    plain = _plain(value)
    if plain is value:
        raise TypeError(
            "an output holds %r, which JSON cannot express" % type(value).__name__
        )
    return plain


def _is_chief() -> bool:
    text = os.environ.get("CLUSTER_SPEC")
    if not text:
        return True
    task = json.loads(text).get("task") or {}
    return task.get("type") in ("chief", "master", "workerpool0")


# ---- the program --------------------------------------------------------------------------------


def _options(words) -> dict:
    known = {"component_module_path": None, "function_to_execute": None, "executor_input": None}
    i = 0
    while i < len(words):
        name, eq, value = words[i].partition("=")
        key = name[2:] if name.startswith("--") else ""
        if key in known:
            if not eq:
                i += 1
                value = words[i] if i < len(words) else ""
            known[key] = value
        i += 1
    return known


def _configured_path(function: str) -> str:
    """The module of a containerised component, by ``kfp_config.ini`` in the working directory."""
    import configparser

    config = configparser.ConfigParser()
    config.optionxform = str
    if not config.read("kfp_config.ini"):
        raise RuntimeError(
            "neither --component_module_path nor kfp_config.ini says where %s is" % function
        )
    try:
        return config["Components"][function]
    except KeyError:
        raise RuntimeError("kfp_config.ini has no component %s" % function)


def _load(path: str):
    import importlib.util

    directory, base = os.path.split(os.path.abspath(path))
    name = os.path.splitext(base)[0]
    sys.path.insert(0, directory)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("%s is no Python module" % path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that what the function defines can be pickled
    spec.loader.exec_module(module)
    return module


def main(words=None) -> None:
    """Run the component that the command line names."""
    options = _options(sys.argv[1:] if words is None else words)
    function_name = options["function_to_execute"]
    if not function_name:
        sys.exit("executor_main: --function_to_execute is wanted")
    if not options["executor_input"]:
        sys.exit("executor_main: --executor_input is wanted")
    module = _load(options["component_module_path"] or _configured_path(function_name))
    executor_input = json.loads(options["executor_input"])
    _log("Got executor_input:\n" + json.dumps(executor_input, indent=4))
    function = getattr(module, function_name)
    function = getattr(function, "python_func", function)
    executor = Executor(executor_input, function, module)
    executor.take(function(**executor.arguments()))
    executor.write()


if __name__ == "__main__":
    main()
