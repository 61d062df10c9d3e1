# SPDX-License-Identifier: Apache-2.0
"""Old name of the runtime, used by components that KFP 2.0 betas compiled."""
