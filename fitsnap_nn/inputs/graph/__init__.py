"""Neighbour graphs as model input."""

from __future__ import annotations
