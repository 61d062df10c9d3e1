# SPDX-License-Identifier: Apache-2.0
"""The part of the ``kfp`` package that compiled components need at run time.

dugout mounts this package read-only into a box, so that images need ``python3`` and nothing
else. It holds ``kfp.dsl`` with the artifact classes and annotations, and the program
``kfp.dsl.executor_main`` that runs a component's function. It cannot compile pipelines.
"""

__version__ = "2.16.0+dugout"

TYPE_CHECK = True


def __getattr__(name: str):
    """Load ``kfp.dsl`` when it is asked for; name what is not here (PEP 562)."""
    if name in ("dsl", "components"):
        import importlib

        return importlib.import_module("kfp." + name)
    raise AttributeError(
        "kfp.%s is not in dugout's runtime module, which only runs compiled components; "
        "put kfp into packages_to_install or into the image to use it" % name
    )
