# SPDX-License-Identifier: Apache-2.0
"""Annotations of component functions: markers that say what an argument is."""


class _Marker:
    """What ``Input[T]`` and its kin evaluate to."""

    kind = ""

    def __init__(self, type_):
        self.type = type_

    def __repr__(self) -> str:
        return "%s[%r]" % (self.kind, self.type)

    def __call__(self, *_args, **_kwargs):
        """Let ``typing`` take the marker for a type, as in ``Optional[Input[Dataset]]``."""
        raise TypeError("%r is an annotation" % self)


class _InputMarker(_Marker):
    kind = "Input"


class _OutputMarker(_Marker):
    kind = "Output"


class _EmbeddedMarker(_Marker):
    kind = "EmbeddedInput"


class _Subscriptable:
    """``Input``, ``Output``, ``EmbeddedInput``: generic in an artifact class."""

    def __init__(self, marker):
        self._marker = marker

    def __getitem__(self, type_):
        return self._marker(type_)

    def __repr__(self) -> str:
        return self._marker.kind


Input = _Subscriptable(_InputMarker)
Output = _Subscriptable(_OutputMarker)
EmbeddedInput = _Subscriptable(_EmbeddedMarker)


class InputPath:
    """The argument is the path of an input artifact.

    Args:
        type: artifact class or type name; a parameter type passes the value itself.
    """

    def __init__(self, type=None):
        self.type = type

    def __call__(self):
        raise TypeError("InputPath() is an annotation")


class OutputPath:
    """The argument is the path to write an output parameter or artifact to.

    Args:
        type: a Python type or its name for a parameter file, else an artifact class or name.
    """

    def __init__(self, type=None):
        self.type = type

    def __call__(self):
        raise TypeError("OutputPath() is an annotation")


class PipelineTaskFinalStatus:
    """How another task ended: the argument of an exit task."""

    def __init__(
        self,
        state,
        pipeline_job_resource_name,
        pipeline_task_name,
        error_code=None,
        error_message=None,
    ):
        self.state = state
        self.pipeline_job_resource_name = pipeline_job_resource_name
        self.pipeline_task_name = pipeline_task_name
        self.error_code = error_code
        self.error_message = error_message

    def __repr__(self) -> str:
        return "PipelineTaskFinalStatus(state=%r, pipeline_task_name=%r)" % (
            self.state,
            self.pipeline_task_name,
        )

    @classmethod
    def from_struct(cls, struct: dict) -> "PipelineTaskFinalStatus":
        """Read the JSON struct, in camelCase or snake_case."""

        def get(camel, snake):
            return struct.get(camel, struct.get(snake))

        error = struct.get("error") or {}
        return cls(
            state=struct.get("state"),
            pipeline_job_resource_name=get(
                "pipelineJobResourceName", "pipeline_job_resource_name"
            ),
            pipeline_task_name=get("pipelineTaskName", "pipeline_task_name"),
            error_code=error.get("code"),
            error_message=error.get("message"),
        )


class TaskConfig:
    """Settings of the task that were passed on to its code instead of being applied."""

    def __init__(
        self,
        affinity=None,
        tolerations=None,
        node_selector=None,
        env=None,
        volumes=None,
        volume_mounts=None,
        resources=None,
    ):
        self.affinity = affinity
        self.tolerations = tolerations
        self.node_selector = node_selector
        self.env = env
        self.volumes = volumes
        self.volume_mounts = volume_mounts
        self.resources = resources

    @classmethod
    def from_struct(cls, struct: dict) -> "TaskConfig":
        """Read the JSON struct, in camelCase or snake_case."""
        return cls(
            affinity=struct.get("affinity"),
            tolerations=struct.get("tolerations"),
            node_selector=struct.get("nodeSelector", struct.get("node_selector")),
            env=struct.get("env"),
            volumes=struct.get("volumes"),
            volume_mounts=struct.get("volumeMounts", struct.get("volume_mounts")),
            resources=struct.get("resources"),
        )
