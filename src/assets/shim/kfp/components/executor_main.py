# SPDX-License-Identifier: Apache-2.0
"""``python3 -m kfp.components.executor_main``: the old name of ``kfp.dsl.executor_main``."""

from kfp.dsl.executor_main import main

if __name__ == "__main__":
    main()
