"""Checks that a potential is suitable for molecular dynamics, run in LAMMPS with the exported files.

docs/md_checks.md describes each check, its threshold and the reason for it.
"""
