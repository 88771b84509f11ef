"""Comparison files, read back with numpy and compared with what went in."""

from __future__ import annotations

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import ENERGY, STANDARD, user_property
from fitsnap_nn.data.symmetries import Cartesian, Scalar
from fitsnap_nn.reports.comparison import write_comparisons, write_peratom, write_perconfig


def test_files_hold_model_and_target_and_load_with_numpy(random_results, tmp_path):
    written = write_comparisons(tmp_path, random_results, STANDARD)
    assert set(written) == {path.name for path in tmp_path.iterdir()}
    for subset, ending in ((Subset.TRAINING, ""), (Subset.VALIDATION, "_val"), (Subset.TEST, "_test")):
        chosen = [result for result in random_results if result.configuration.subset is subset]
        energies = np.loadtxt(tmp_path / f"energy_comparison{ending}.dat", ndmin=2)
        expected = [
            (
                result.evaluation.energy / len(result.configuration),
                result.configuration.energy / len(result.configuration),
            )
            for result in chosen
        ]
        np.testing.assert_allclose(energies, expected, rtol=1e-9)
        forces = np.loadtxt(tmp_path / f"force_comparison{ending}.dat")
        np.testing.assert_allclose(
            forces[:, 0], np.concatenate([result.evaluation.forces.ravel() for result in chosen]), 1e-9
        )
        labels = np.concatenate([result.configuration.forces.ravel() for result in chosen])
        np.testing.assert_allclose(forces[:, 1], labels, rtol=1e-9)
        stress = np.loadtxt(tmp_path / f"stress_comparison{ending}.dat")
        np.testing.assert_allclose(
            stress[:, 0], 160.2176634 * np.concatenate([r.evaluation.stress for r in chosen]), rtol=1e-9
        )
        tensors = np.array([result.configuration.stress for result in chosen])
        labels = tensors[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]].ravel()
        np.testing.assert_allclose(stress[:, 1], 160.2176634 * labels, rtol=1e-9)


def test_headers_name_the_units(random_results, tmp_path):
    write_comparisons(tmp_path, random_results, STANDARD)
    first = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in tmp_path.iterdir()}
    assert first["energy_comparison.dat"] == "# model target (eV/atom)"
    assert first["force_comparison_val.dat"] == "# model target (eV/Å)"
    assert first["stress_comparison.dat"] == "# model target (GPa)"


def test_nothing_to_compare_leaves_no_file_not_even_an_old_one(make_result, tmp_path):
    write_comparisons(tmp_path, [make_result(subset=Subset.VALIDATION, label=1.0)], STANDARD)
    assert [path.name for path in tmp_path.iterdir()] == ["energy_comparison_val.dat"]
    written = write_comparisons(tmp_path, [make_result(label=1.0)], STANDARD)
    assert list(written) == [path.name for path in tmp_path.iterdir()] == ["energy_comparison.dat"]


def test_each_set_leaves_only_its_own_files(make_result, tmp_path):
    for subset, ending in zip(Subset, ("", "_val", "_test", "_unknown"), strict=True):
        name = f"energy_comparison{ending}"
        written = write_comparisons(tmp_path, [make_result(subset=subset, label=1.0)], STANDARD)
        assert list(written) == [path.name for path in tmp_path.iterdir()] == [f"{name}.dat"]
        assert subset.name.lower() in written[f"{name}.dat"]


def test_properties_of_the_user_have_files_of_their_own(make_result, tmp_path):
    charge, dipole = (
        user_property("charge", "atom", Scalar(), "e"),
        user_property("dipole", "configuration", Cartesian(1), "eÅ", intensive=False),
    )
    result = make_result(atoms=2)
    result.configuration.labels.update(charge=np.array([0.5, -0.5]), dipole=np.array([2.0, 4.0, 6.0]))
    result.evaluation.values.update(charge=np.array([[0.25], [-0.75]]), dipole=np.array([1.0, 3.0, 5.0]))
    without = make_result(atoms=1)
    written = write_comparisons(tmp_path, [result, without], (ENERGY, charge, dipole))
    assert set(written) == {"charge_comparison.dat", "dipole_comparison.dat"}
    np.testing.assert_allclose(np.loadtxt(tmp_path / "charge_comparison.dat"), [[0.25, 0.5], [-0.75, -0.5]])
    np.testing.assert_allclose(np.loadtxt(tmp_path / "dipole_comparison.dat"), [[0.5, 1], [1.5, 2], [2.5, 3]])
    first = (tmp_path / "dipole_comparison.dat").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# model target (eÅ/atom)"


def test_testing_is_true_of_both_sets_that_are_held_out(make_result, tmp_path):
    results = [make_result(subset=subset, label=1.0, name=f"{subset.name}.json") for subset in Subset]
    write_perconfig(tmp_path / "perconfig.dat", results)
    lines = (tmp_path / "perconfig.dat").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split()[-1] for line in lines] == ["Train", "Validation", "Test", "Unknown"]
    assert [line.split()[-2] for line in lines] == ["False", "True", "True", "True"]


def test_perconfig_has_energies_per_atom_and_nan_without_a_label(make_result, tmp_path):
    results = [
        make_result("bulk", atoms=4, label=-8.0, energy=-6.0, name="a.json#2"),
        make_result("my slab", subset=Subset.VALIDATION, atoms=2, energy=3.0),
        make_result(subset=Subset.TEST, atoms=1, label=1.0, energy=2.0, name="b.json"),
    ]
    write_perconfig(tmp_path / "perconfig.dat", results)
    assert (tmp_path / "perconfig.dat").read_text(encoding="utf-8").splitlines() == [
        "Filename Group Natoms Energy_Truth Energy_Pred Testing_Bool Set",
        "bulk/a.json#2 bulk 4 -2 -1.5 False Train",
        '"my slab/a.json" "my slab" 2 nan 1.5 True Validation',
        "bulk/b.json bulk 1 1 2 True Test",
    ]


def test_peratom_has_a_line_for_each_predicted_force(make_result, tmp_path):
    results = [
        make_result(
            species=("In", "P"),
            force_label=[[1, 2, 3], [4, 5, 6]],
            forces=[[7, 8, 9], [0.5, -1, 1e-3]],
            subset=Subset.VALIDATION,
        ),
        make_result(species=("P",), atoms=1, forces=[[1, 2, 3]]),
        make_result(species=("P",), atoms=1, force_label=[[1, 2, 3]]),
    ]
    write_peratom(tmp_path / "peratom.dat", results, ["In", "P"])
    assert (tmp_path / "peratom.dat").read_text(encoding="utf-8").splitlines() == [
        "Filename Group AtomID Type Fx_Truth Fy_Truth Fz_Truth Fx_Pred Fy_Pred Fz_Pred Testing_Bool Set",
        "bulk/a.json bulk 1 1 1 2 3 7 8 9 True Validation",
        "bulk/a.json bulk 2 2 4 5 6 0.5 -1 0.001 True Validation",
        "bulk/a.json bulk 1 2 nan nan nan 1 2 3 False Train",
    ]
