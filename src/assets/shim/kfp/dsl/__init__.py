# SPDX-License-Identifier: Apache-2.0
"""``kfp.dsl`` at run time: what ``from kfp.dsl import *`` gives to a component's function."""

from kfp.dsl.artifacts import (
    Artifact,
    ClassificationMetrics,
    Dataset,
    HTML,
    Markdown,
    Metrics,
    Model,
    SlicedClassificationMetrics,
    get_uri,
)
from kfp.dsl.annotations import (
    EmbeddedInput,
    Input,
    InputPath,
    Output,
    OutputPath,
    PipelineTaskFinalStatus,
    TaskConfig,
)

PIPELINE_JOB_NAME_PLACEHOLDER = "{{$.pipeline_job_name}}"
PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER = "{{$.pipeline_job_resource_name}}"
PIPELINE_JOB_ID_PLACEHOLDER = "{{$.pipeline_job_uuid}}"
PIPELINE_TASK_NAME_PLACEHOLDER = "{{$.pipeline_task_name}}"
PIPELINE_TASK_ID_PLACEHOLDER = "{{$.pipeline_task_uuid}}"
PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER = "{{$.outputs.output_file}}"
PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER = "{{$}}"
PIPELINE_ROOT_PLACEHOLDER = "{{$.pipeline_root}}"
PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER = "{{$.pipeline_job_create_time_utc}}"
PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER = "{{$.pipeline_job_schedule_time_utc}}"
WORKSPACE_PATH_PLACEHOLDER = "{{$.workspace_path}}"


def run_notebook(**params):
    """Stand-in until a notebook component's own code replaces it."""
    raise RuntimeError("dsl.run_notebook() works only inside a notebook component")


def component(func=None, **_options):
    """Leave a decorated function as it is: decorators mean nothing at run time."""
    if func is None:
        return lambda f: f
    return func


pipeline = component
container_component = component
notebook_component = component

__all__ = [
    "Artifact",
    "ClassificationMetrics",
    "Dataset",
    "HTML",
    "Input",
    "InputPath",
    "Markdown",
    "Metrics",
    "Model",
    "Output",
    "OutputPath",
    "PipelineTaskFinalStatus",
    "SlicedClassificationMetrics",
    "TaskConfig",
    "get_uri",
    "run_notebook",
] + [name for name in dir() if name.endswith("_PLACEHOLDER")]


def __getattr__(name: str):
    raise AttributeError(
        "kfp.dsl.%s is not in dugout's runtime module, which only runs compiled components" % name
    )
