"""Keys of metatrain and MACE in an input: the error names our key."""

from __future__ import annotations

import pytest

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.keys import keys_of, section_names
from fitsnap_nn.settings.other_names import OTHER_NAMES, OTHER_SECTIONS


def problems(path) -> list[str]:
    with pytest.raises(InputError) as error:
        load_settings(path)
    return [str(problem) for problem in error.value.problems]


def test_every_name_leads_to_a_key_and_is_not_one_in_that_section():
    for their, candidates in OTHER_NAMES.items():
        for ours in candidates:
            assert bool(ours.key) == bool(ours.section), their
            assert ours.key or ours.remark, their
            if ours.key:
                assert ours.key in keys_of(ours.section), (their, ours)
                assert their not in keys_of(ours.section), (their, ours)
    assert not set(OTHER_SECTIONS) & set(section_names())


@pytest.mark.parametrize(
    ("model", "section", "key", "hint"),
    [
        ("NANOPET", "PYTORCH", "scheduler_patience", "metatrain's name; here it is plateau_patience in [PYTORCH]"),
        ("NANOPET", "NANOPET", "num_features", "It is metatrain's name; here it is d_pet in [NANOPET]"),
        ("NANOPET", "PYTORCH", "d_pet", "It belongs to section [NANOPET]"),
        ("NANOPET", "NANOPET", "r_max", "It is MACE's name; here it is cutoff in [NANOPET]"),
        ("NANOPET", "PYTORCH", "fixed_composition_weights", "here it is element_energies in [PYTORCH]"),
        (
            "NANOPET",
            "NANOPET",
            "eval_interval",
            "a name of metatrain and MACE; it is not needed: every epoch is logged",
        ),
        ("MACE", "PYTORCH", "start_swa", "It is MACE's name; here it is stage_two_start in [PYTORCH]"),
        ("MACE", "PYTORCH", "swa_forces_weight", "here it is stage_two_force_weight in [PYTORCH]"),
        ("MACE", "PYTORCH", "stage_two_virials_weight", "here it is stage_two_stress_weight in [PYTORCH]"),
        ("MACE", "PYTORCH", "distributed_port", "the ranks find a free port; torchrun has the option --master-port"),
        ("SOAP_BPNN", "SOAP_BPNN", "cutoff", "here it is cutoff_radius in [SOAP_BPNN]"),
        ("SOAP_BPNN", "PYTORCH", "soap.cutoff.radius", "here it is cutoff_radius in [SOAP_BPNN]"),
        ("SOAP_BPNN", "SOAP_BPNN", "soap.max_angular", "Here it is max_angular in [SOAP_BPNN]"),
        ("SOAP_BPNN", "PYTORCH", "atomic_baseline", "here it is element_energies in [PYTORCH]"),
        ("SOAP_BPNN", "PYTORCH", "max_atoms_per_batch", "here it is batch_atom_bounds in [PYTORCH]"),
        ("SOAP_BPNN", "PYTORCH", "zbl", "It belongs to section [SOAP_BPNN]"),
        ("NANOPET", "PYTORCH", "zbl", "It belongs to section [NANOPET]"),
        ("SOAP_BPNN", "SOAP_BPNN", "long_range.enable", "here it is long_range in [SOAP_BPNN] (1 or 0)"),
        ("NANOPET", "NANOPET", "long_range.use_ewald", "Here it is use_ewald in [NANOPET]"),
        ("MACE", "MACE", "long_range", "It belongs to section [SOAP_BPNN]"),
        ("MACE", "MACE", "zbl", "here it is pair_repulsion in [MACE]"),
        ("MACE", "PYTORCH", "num_bessel", "It is MACE's name; here it is num_radial_basis in [MACE]"),
        ("MACE", "MACE", "num_polynomial_cutoff", "here it is num_cutoff_basis in [MACE]"),
        ("MACE", "MACE", "E0s", "here it is element_energies in [PYTORCH]"),
        ("MACE", "MACE", "lr_scheduler_patience", "here it is plateau_patience in [PYTORCH]"),
        ("MACE", "MACE", "cutoff", "here it is r_max in [MACE]"),
        ("MACE", "PYTORCH", "distributed", "start the fit on several ranks with mpirun, torchrun or srun"),
    ],
)
def test_names_of_other_programs_are_answered_with_ours(write_input, model, section, key, hint):
    text = f"[PYTORCH]\nmodel = {model}\n" + ("" if section == "PYTORCH" else f"[{section}]\n") + f"{key} = 3\n[PATH]"
    path = write_input(("stress = 0", "calculator = LAMMPSGRAPH"), ("[PATH]", text))
    (found,) = problems(path)
    assert f"[{section}] {key} — unknown key. " in found
    assert hint in found


@pytest.mark.parametrize(
    ("key", "value", "ours"),
    [("scheduler", "ExponentialLR", "exponential"), ("scheduler", "ReduceLROnPlateau", "plateau")],
)
def test_values_of_other_programs_are_answered_with_ours(write_input, key, value, ours):
    (found,) = problems(write_input(("[PATH]", f"[PYTORCH]\n{key} = {value}\n[PATH]")))
    assert f"[PYTORCH] {key} — '{value}' is not one of " in found
    assert f"Here it is {ours}." in found


def test_parts_of_other_options_are_sections_that_have_a_place_here(write_input):
    (found,) = problems(write_input(("[PATH]", "[TRAINING]\nnum_epochs = 3\n[PATH]")))
    assert "[TRAINING] — unknown section. The options of training are in [PYTORCH]." in found
