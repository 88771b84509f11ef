"""Model inputs: what a model is given for a configuration, how it is computed, cached and batched."""

from __future__ import annotations
