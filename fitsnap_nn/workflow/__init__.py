"""A fit from the input file to the verified potential."""

from __future__ import annotations
