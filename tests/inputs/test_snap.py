"""Records of both routes against compute sna/atom on explicit clusters, finite differences of it, and one another."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from clusters import ELEMENTS, displaced, finite_difference, make_configuration, strained

from fitsnap_nn.errors import DataError, LammpsError
from fitsnap_nn.inputs.snap import SnapKernel, kernel
from fitsnap_nn.inputs.snap.bispectrum import n_descriptors
from fitsnap_nn.inputs.snap.compute import SnapCompute, choose_route
from fitsnap_nn.settings.schema import Bispectrum, Reference

NOTHING = Reference(pair_style="zero 10.0")
PLAIN = Bispectrum(
    num_types=2, type=ELEMENTS, twojmax=(4, 3), rcutfac=1.1, rfac0=0.97, wj=(1.0, 0.8), radelem=(2.0, 1.7)
)
SHARED = "1.1 0.97 4 2.0 1.7 1.0 0.8"
REACH = 4.41

OPTIONS = {
    "plain": ({}, "rmin0 0 bzeroflag 0"),
    "bzero": ({"bzeroflag": True}, "rmin0 0 bzeroflag 1"),
    "rmin0": ({"rmin0": 0.3}, "rmin0 0.3 bzeroflag 0"),
    "no switch": ({"switchflag": False}, "bzeroflag 0 switchflag 0"),
    "bnorm": ({"bnormflag": True}, "bzeroflag 0 bnormflag 1"),
    "wselfall": ({"wselfallflag": True, "chemflag": True}, "bzeroflag 0 wselfallflag 1 chem 2 0 1"),
    "chem": ({"chemflag": True, "bzeroflag": True, "bnormflag": True}, "bzeroflag 1 bnormflag 1 chem 2 0 1"),
    "switchinner": (
        {"switchinnerflag": True, "sinner": (2.6, 2.2), "dinner": (0.9, 0.7)},
        "bzeroflag 0 switchinnerflag 1 sinner 2.6 2.2 dinner 0.9 0.7",
    ),
    "quadratic": ({"quadraticflag": True}, "bzeroflag 0 quadraticflag 1"),
    "quadratic chem": (
        {"quadraticflag": True, "chemflag": True, "twojmax": (2,)},
        "bzeroflag 0 quadraticflag 1 chem 2 0 1",
    ),
}

SKEWED = [[4.1, 0.3, -0.6], [1.0, 4.4, 0.5], [-0.7, 0.9, 4.6]]
THREE = [[0.05, 0.1, 0.0], [0.52, 0.45, 0.61], [0.9, 0.55, 0.2]]
CELLS = {
    "skewed": make_configuration(SKEWED, THREE, ("In", "P", "In")),
    "left-handed": make_configuration([SKEWED[1], SKEWED[0], SKEWED[2]], THREE, ("P", "P", "In")),
    "orthogonal": make_configuration(np.diag([4.0, 4.5, 5.0]), THREE, ("In", "P", "P")),
    "one atom": make_configuration([[2.6, 0.2, 0.0], [0.1, 2.8, 0.3], [0.9, 0.0, 2.9]], [[0.2, 0.3, 0.4]], ("P",)),
    "two atoms": make_configuration([[3.1, 0.0, 0.4], [0.0, 3.3, 0.0], [0.2, 0.1, 2.9]], THREE[:2], ("In", "P")),
    "molecule": make_configuration(np.diag([4.0, 4.5, 5.0]), THREE, ("In", "P", "In"), (False, False, False)),
    "slab": make_configuration(np.diag([4.0, 4.5, 5.0]), THREE, ("In", "P", "In"), (True, True, False)),
    "outside": make_configuration(
        SKEWED, np.add(THREE, [[3.0, -2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]]), ("In", "P", "P")
    ),
    "far apart": make_configuration(SKEWED, np.array(THREE) * 10, ("In", "P", "In"), (False, False, False)),
}
WIDE = make_configuration(2.7 * np.array(SKEWED), np.random.default_rng(5).random((12, 3)), ("In", "P") * 6)
MANY = np.random.default_rng(6).random((200, 3))
CASES = [(name, "skewed") for name in OPTIONS] + [("chem", name) for name in CELLS if name != "skewed"]


def dense(record) -> np.ndarray:
    """(N, N, 3, D) dB_i/dR_j from the pairs of a record."""
    n_atoms, n_descriptors = record.descriptors.shape
    gradients = np.zeros((n_atoms, n_atoms, 3, n_descriptors))
    gradients[record.pair_i, record.pair_j] = record.gradients
    return gradients


def assert_close(found, expected, relative):
    """Each descriptor on its own scale, or 1e-2 where it is less than that."""
    scale = np.abs(expected).max(axis=tuple(range(expected.ndim - 1))) + 1e-6 * np.abs(expected).max() + 1e-2
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=relative)


@pytest.mark.parametrize(("options", "cell"), CASES)
def test_record_agrees_with_explicit_clusters(options, cell, route, oracle):
    changes, words = OPTIONS[options]
    configuration = CELLS[cell]
    bispectrum = replace(PLAIN, **changes)
    arguments = f"{SHARED} {words}"
    if bispectrum.twojmax == (2,):
        arguments = arguments.replace("0.97 4", "0.97 2")

    def descriptors(moved):
        return oracle.descriptors(moved, arguments, REACH)

    with SnapCompute(bispectrum, NOTHING, gradients=True, strain=True, route=route) as calculator:
        record = calculator.compute(configuration)
    assert record.descriptors.shape[1] == calculator.n_descriptors == n_descriptors(bispectrum)
    assert_close(record.descriptors, descriptors(configuration), 1e-11)

    gradients = dense(record)
    for atom in range(len(configuration)):
        for axis in range(3):
            expected = finite_difference(lambda h: descriptors(displaced(configuration, atom, axis, h)))  # noqa: B023
            assert_close(gradients[:, atom, axis], expected, 1e-6)
    assert np.array_equal(np.lexsort((record.pair_j, record.pair_i)), np.arange(len(record.pair_i)))
    assert np.abs(record.gradients).max(axis=(1, 2)).all()

    if all(configuration.pbc):
        for direction in range(6):
            expected = finite_difference(lambda h: descriptors(strained(configuration, direction, h)))  # noqa: B023
            assert_close(record.strain_gradients[:, direction], expected, 1e-6)
    else:
        assert record.strain_gradients.shape == (len(configuration), 6, calculator.n_descriptors)
        assert not record.strain_gradients.any()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_both_routes_find_the_same(options, cell, kernel_is_built):
    """But for strain derivatives of small cells, which ``compute snap`` does not know without differences."""
    bispectrum = replace(PLAIN, **OPTIONS[options][0])
    records = []
    for route in ("kernel", "compute snap"):
        with SnapCompute(bispectrum, NOTHING, gradients=True, strain=True, route=route) as calculator:
            records.append(calculator.compute(CELLS[cell]))
    found, expected = records
    assert_close(found.descriptors, expected.descriptors, 1e-12)
    assert_close(dense(found), dense(expected), 1e-12)
    assert_close(found.strain_gradients, expected.strain_gradients, 1e-7)
    pairs = set(zip(found.pair_i, found.pair_j, strict=True))
    assert pairs <= set(zip(expected.pair_i, expected.pair_j, strict=True))


def test_routes_agree_on_wide_cells(kernel_is_built):
    """Where one image of each neighbour is enough, ``compute snap`` gives strain derivatives without step error."""
    records = []
    for route in ("kernel", "compute snap"):
        with SnapCompute(PLAIN, NOTHING, gradients=True, strain=True, route=route) as calculator:
            records.append(calculator.compute(WIDE))
    for found, expected in zip(*records, strict=True):
        assert_close(np.asarray(found), np.asarray(expected), 1e-12)


@pytest.mark.parametrize("strain", [False, True])
def test_records_do_not_depend_on_what_is_computed_together(strain, route):
    """Small cells share the kernel's vectors; large ones are computed in parts."""
    configurations = [*CELLS.values(), make_configuration(4.0 * np.array(SKEWED), MANY, ("In", "P") * 100)]
    with SnapCompute(PLAIN, NOTHING, gradients=True, strain=strain, route=route) as calculator:
        for configuration, record in zip(configurations, calculator.compute_all(configurations), strict=True):
            for found, expected in zip(record, calculator.compute(configuration), strict=True):
                np.testing.assert_array_equal(found, expected, strict=True)


def test_compute_snap_needs_no_strained_configurations_of_wide_cells(oracle):
    """Where one image of each neighbour is enough, strain derivatives come from the gradients, without step error."""
    with SnapCompute(PLAIN, NOTHING, gradients=True, strain=True, route="compute snap") as calculator:
        contracted = calculator.compute(WIDE).strain_gradients
    with SnapCompute(PLAIN, NOTHING, gradients=False, strain=True, route="compute snap") as calculator:
        differences = calculator.compute(WIDE).strain_gradients
    assert_close(differences, contracted, 1e-8)
    assert not np.array_equal(differences, contracted)
    arguments = f"{SHARED} bzeroflag 0"
    expected = finite_difference(lambda h: oracle.descriptors(strained(WIDE, 4, h), arguments, REACH), 2e-5)
    assert_close(contracted[:, 4], expected, 1e-7)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("strain", [False, True])
def test_only_what_was_asked_for(gradients, strain, route):
    configuration = CELLS["skewed"]
    with SnapCompute(PLAIN, NOTHING, gradients=gradients, strain=strain, route=route) as calculator:
        record = calculator.compute(configuration)
    with SnapCompute(PLAIN, NOTHING, gradients=True, strain=True, route=route) as calculator:
        full = calculator.compute(configuration)
    np.testing.assert_allclose(record.descriptors, full.descriptors, rtol=1e-13, atol=1e-13)
    assert record.gradients.shape == (9 if gradients else 0, 3, calculator.n_descriptors)
    assert len(record.pair_i) == len(record.pair_j) == len(record.gradients)
    assert record.strain_gradients.shape == (3 if strain else 0, 6, calculator.n_descriptors)
    assert not record.reference_energy
    assert not record.reference_forces.any()
    assert not record.reference_stress.any()


def test_atoms_without_neighbours(route):
    lone = make_configuration(np.eye(3) * 30.0, [[0.1, 0.2, 0.3]], ("In",))
    bispectrum = replace(PLAIN, bzeroflag=True)
    with SnapCompute(bispectrum, NOTHING, gradients=True, strain=True, route=route) as calculator:
        record = calculator.compute(lone)
        apart = calculator.compute(CELLS["far apart"])
    np.testing.assert_allclose(record.descriptors, 0.0, atol=1e-12)  # bzeroflag: what a lone atom has is subtracted
    assert len(record.pair_i) == 0
    assert record.strain_gradients.shape == (1, 6, calculator.n_descriptors)
    assert not record.strain_gradients.any()
    np.testing.assert_allclose(apart.descriptors, 0.0, atol=1e-12)


def test_the_order_of_configurations_does_not_matter(route):
    """One LAMMPS for all: sizes, boundaries and elements of earlier configurations leave no trace."""
    bispectrum = replace(PLAIN, chemflag=True)
    reference = Reference(pair_style="zbl 3.0 3.5", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))
    fresh = []
    for configuration in CELLS.values():
        with SnapCompute(bispectrum, reference, gradients=True, strain=True, route=route) as calculator:
            fresh.append(calculator.compute(configuration))
    with SnapCompute(bispectrum, reference, gradients=True, strain=True, route=route) as calculator:
        for number in (*range(len(CELLS)), *reversed(range(len(CELLS)))):
            record = calculator.compute(list(CELLS.values())[number])
            for found, expected in zip(record, fresh[number], strict=True):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("twojmax", range(9))
@pytest.mark.parametrize("chemflag", [False, True])
def test_number_of_descriptors_is_that_of_lammps(twojmax, chemflag, route):
    bispectrum = replace(PLAIN, twojmax=(twojmax,), chemflag=chemflag)
    with SnapCompute(bispectrum, NOTHING, gradients=False, strain=False, route=route) as calculator:
        assert calculator.compute(CELLS["two atoms"]).descriptors.shape[1] == calculator.n_descriptors


def test_unknown_element_is_named(route):
    configuration = replace(CELLS["one atom"], species=("Ga",), id="bulk/7.json")
    with (
        SnapCompute(PLAIN, NOTHING, gradients=True, strain=False, route=route) as calculator,
        pytest.raises(DataError, match=r"bulk/7\.json.*Ga.*In P"),
    ):
        calculator.compute(configuration)


def test_too_many_atoms_for_compute_snap_are_refused_before_memory_runs_out():
    count = 40000
    configuration = make_configuration(np.eye(3) * 200, np.random.default_rng(0).random((count, 3)), ("In",) * count)
    with (
        SnapCompute(PLAIN, NOTHING, gradients=True, strain=False, route="compute snap") as calculator,
        pytest.raises(LammpsError, match=r"group/file: 40000 atoms.*GB"),
    ):
        calculator.compute(configuration)


def test_without_the_kernel_lammps_computes_and_the_reason_is_said(monkeypatch, kernel_is_built):
    assert choose_route() == ("kernel", f"the SNAP kernel ({SnapKernel(PLAIN).instruction_set})")
    monkeypatch.setattr(kernel, "LIBRARY", "missing.so")
    route, description = choose_route()
    assert route == "compute snap"
    assert re.match(r"LAMMPS' compute snap, because .*missing\.so.*doctor --rebuild", description)
    with SnapCompute(PLAIN, NOTHING, gradients=True, strain=False) as calculator:
        found = calculator.compute(CELLS["skewed"])
    with SnapCompute(PLAIN, NOTHING, gradients=True, strain=False, route="compute snap") as calculator:
        expected = calculator.compute(CELLS["skewed"])
    np.testing.assert_array_equal(found.gradients, expected.gradients)
    with pytest.raises(LammpsError, match=r"missing\.so"):
        SnapCompute(PLAIN, NOTHING, gradients=True, strain=False, route="kernel")


def test_nothing_is_printed_and_no_file_is_left(capfd, tmp_path, monkeypatch, route):
    monkeypatch.chdir(tmp_path)
    with SnapCompute(PLAIN, NOTHING, gradients=True, strain=True, route=route) as calculator:
        calculator.compute(CELLS["skewed"])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
