# SPDX-License-Identifier: Apache-2.0
"""Artifact classes: a URI, a path that it maps to, and metadata."""

_ROOTS = (("gs://", "/gcs/"), ("minio://", "/minio/"), ("s3://", "/s3/"))

# Set by the executor while a component runs: remote form of the directory of the task's outputs.
_task_root = None


def _path_of(uri: str) -> str:
    """Map a URI to the path under which its bytes lie in the box."""
    for scheme, root in _ROOTS:
        if uri.startswith(scheme):
            return root + uri[len(scheme):]
    if uri.startswith("oci://"):
        return "/oci/" + uri[len("oci://"):].replace("/", "_")
    return uri


def _uri_of(path: str) -> str:
    """Map a path back to its URI; other paths stay as they are."""
    for scheme, root in _ROOTS:
        if path.startswith(root):
            return scheme + path[len(root):]
    if path.startswith("/oci/"):
        rest = path[len("/oci/"):]
        if rest.endswith("/models"):
            rest = rest[: -len("/models")]
        return "oci://" + rest.replace("_", "/")
    return path


def get_uri(suffix: str = "Output") -> str:
    """Return a URI below the task's own root, for an artifact that the function makes.

    Args:
        suffix: last part of the URI.

    Raises:
        RuntimeError: outside of a running component.
    """
    if _task_root is None:
        raise RuntimeError("dsl.get_uri() can only be called while a component runs")
    if _task_root == "/tmp/kfp_outputs":
        import warnings

        warnings.warn("dsl.get_uri() has no task root here and returns ''", RuntimeWarning)
        return ""
    return _uri_of(_task_root) + "/" + suffix


class Artifact:
    """Something a task made or reads.

    Attributes:
        name: name of the artifact.
        uri: where it is, in the terms of the pipeline.
        metadata: JSON object kept beside it.
        path: local path of its bytes; setting it sets the URI.
    """

    schema_title = "system.Artifact"
    schema_version = "0.0.1"

    def __init__(self, name=None, uri=None, metadata=None):
        self.name = name or ""
        self.uri = uri or ""
        self.metadata = metadata or {}
        self._custom_path = None

    def __repr__(self) -> str:
        return "%s(name=%r, uri=%r)" % (type(self).__name__, self.name, self.uri)

    def _mapped(self) -> str:
        if self.metadata.get("_kfp_workspace"):
            return "/kfp-workspace/.artifacts/" + _path_of(self.uri).lstrip("/")
        return _path_of(self.uri)

    @property
    def path(self) -> str:
        """Local path of the bytes."""
        return self._custom_path if self._custom_path else self._mapped()

    @path.setter
    def path(self, path: str) -> None:
        self.uri = _uri_of(path)

    @property
    def custom_path(self):
        """A path outside of the task root that holds the bytes, or None."""
        return self._custom_path

    @custom_path.setter
    def custom_path(self, path) -> None:
        self._custom_path = path

    def set_path(self, path: str) -> None:
        """Say that the bytes lie at ``path``, anywhere in the container."""
        self._custom_path = path


class Dataset(Artifact):
    """Data to train on, or to evaluate with."""

    schema_title = "system.Dataset"


class Model(Artifact):
    """A trained model."""

    schema_title = "system.Model"

    @property
    def framework(self) -> str:
        """Name of the framework, kept in the metadata."""
        return self.metadata.get("framework", "")

    @framework.setter
    def framework(self, framework: str) -> None:
        self.metadata["framework"] = framework

    def _mapped(self) -> str:
        path = super()._mapped()
        if self.uri.startswith("oci://"):
            path += "/models"
        return path


class HTML(Artifact):
    """A page to look at."""

    schema_title = "system.HTML"


class Markdown(Artifact):
    """A text to look at."""

    schema_title = "system.Markdown"


class Metrics(Artifact):
    """Numbers by name."""

    schema_title = "system.Metrics"

    def log_metric(self, metric: str, value: float) -> None:
        """Record one number."""
        self.metadata[metric] = value


def _matrix_of(metadata: dict) -> dict:
    """The confusion matrix inside metadata, which must have been started."""
    matrix = metadata.get("confusionMatrix")
    if matrix is None:
        raise ValueError("set_confusion_matrix_categories() must be called first")
    return matrix


def _set_categories(metadata: dict, categories) -> None:
    metadata["confusionMatrix"] = {
        "annotationSpecs": [{"displayName": c} for c in categories],
        "rows": [{"row": [0] * len(categories)} for _ in categories],
    }


def _category_index(matrix: dict, category: str) -> int:
    names = [spec["displayName"] for spec in matrix["annotationSpecs"]]
    if category not in names:
        raise ValueError("category %r is none of %s" % (category, names))
    return names.index(category)


def _log_row(metadata: dict, category: str, row) -> None:
    matrix = _matrix_of(metadata)
    index = _category_index(matrix, category)
    if len(row) != len(matrix["annotationSpecs"]):
        raise ValueError(
            "row has %d values, and there are %d categories"
            % (len(row), len(matrix["annotationSpecs"]))
        )
    matrix["rows"][index] = {"row": list(row)}


def _log_cell(metadata: dict, row_category: str, col_category: str, value) -> None:
    matrix = _matrix_of(metadata)
    row = _category_index(matrix, row_category)
    matrix["rows"][row]["row"][_category_index(matrix, col_category)] = value


def _log_matrix(metadata: dict, categories, matrix) -> None:
    _set_categories(metadata, categories)
    if len(matrix) != len(categories):
        raise ValueError(
            "matrix has %d rows, and there are %d categories" % (len(matrix), len(categories))
        )
    for category, row in zip(categories, matrix):
        _log_row(metadata, category, row)


class ClassificationMetrics(Artifact):
    """ROC curve and confusion matrix of a classifier."""

    schema_title = "system.ClassificationMetrics"

    def log_roc_data_point(self, fpr: float, tpr: float, threshold: float) -> None:
        """Add one point of the ROC curve."""
        self.metadata.setdefault("confidenceMetrics", []).append(
            {"confidenceThreshold": threshold, "recall": tpr, "falsePositiveRate": fpr}
        )

    def log_roc_curve(self, fpr, tpr, threshold) -> None:
        """Add a ROC curve: three lists of equal length."""
        if not len(fpr) == len(tpr) == len(threshold):
            raise ValueError(
                "fpr, tpr and threshold must have equal lengths, not %d, %d and %d"
                % (len(fpr), len(tpr), len(threshold))
            )
        for point in zip(fpr, tpr, threshold):
            self.log_roc_data_point(*point)

    def set_confusion_matrix_categories(self, categories) -> None:
        """Start a confusion matrix of zeroes."""
        _set_categories(self.metadata, list(categories))

    def log_confusion_matrix_row(self, row_category: str, row) -> None:
        """Set one row, by the name of its category."""
        _log_row(self.metadata, row_category, row)

    def log_confusion_matrix_cell(self, row_category: str, col_category: str, value) -> None:
        """Set one cell, by the names of its categories."""
        _log_cell(self.metadata, row_category, col_category, value)

    def log_confusion_matrix(self, categories, matrix) -> None:
        """Set the whole confusion matrix."""
        _log_matrix(self.metadata, list(categories), matrix)


class SlicedClassificationMetrics(Artifact):
    """Classification metrics for slices of the data."""

    schema_title = "system.SlicedClassificationMetrics"

    def _slice(self, name: str) -> dict:
        slices = self.metadata.setdefault("evaluationSlices", [])
        for entry in slices:
            if entry["slice"] == name:
                return entry["sliceClassificationMetrics"]
        slices.append({"slice": name, "sliceClassificationMetrics": {}})
        return slices[-1]["sliceClassificationMetrics"]

    def log_roc_reading(self, slice: str, threshold: float, tpr: float, fpr: float) -> None:
        """Add one point of a slice's ROC curve."""
        self._slice(slice).setdefault("confidenceMetrics", []).append(
            {"confidenceThreshold": threshold, "recall": tpr, "falsePositiveRate": fpr}
        )

    def load_roc_readings(self, slice: str, readings) -> None:
        """Add points ``[threshold, tpr, fpr]`` of a slice's ROC curve."""
        for threshold, tpr, fpr in readings:
            self.log_roc_reading(slice, threshold, tpr, fpr)

    def set_confusion_matrix_categories(self, slice: str, categories) -> None:
        """Start a slice's confusion matrix."""
        _set_categories(self._slice(slice), list(categories))

    def log_confusion_matrix_row(self, slice: str, row_category: str, row) -> None:
        """Set one row of a slice's confusion matrix."""
        _log_row(self._slice(slice), row_category, row)

    def log_confusion_matrix_cell(
        self, slice: str, row_category: str, col_category: str, value
    ) -> None:
        """Set one cell of a slice's confusion matrix."""
        _log_cell(self._slice(slice), row_category, col_category, value)

    def load_confusion_matrix(self, slice: str, categories, matrix) -> None:
        """Set a slice's whole confusion matrix."""
        _log_matrix(self._slice(slice), list(categories), matrix)


CLASSES = {
    cls.schema_title: cls
    for cls in (
        Artifact,
        Dataset,
        Model,
        Metrics,
        ClassificationMetrics,
        SlicedClassificationMetrics,
        HTML,
        Markdown,
    )
}
