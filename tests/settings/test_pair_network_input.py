"""FitSNAP's sections of its pair network: what they are read as, what is said, and what is refused."""

from __future__ import annotations

import pytest

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import differences, load_settings
from fitsnap_nn.settings.load import document_of

THEIRS = """\
[CUSTOM]
numAtoms = 1
numTypes = 2
type = W Be
num_radial = 8 # radial
num_3body = 23
cutoff = 5.0
[CALCULATOR]
calculator = LAMMPSCUSTOM
per_atom_energy = 1
stress = 0
[NETWORK]
layer_sizes = num_desc 32 32 1
learning_rate = 5e-4
num_epochs = 3
multi_element_option = 2
save_freq = 5
[SOLVER]
solver = NETWORK
[REFERENCE]
pair_style = zero 5.0 full
pair_coeff = * *
[PATH]
dataPath = data
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
Bulk = 0.7 0.3 100 1 1e-8
"""
OURS = (
    ("type = W Be\n", ""),
    ("numTypes = 2\n", ""),
    ("[CUSTOM]\n", "[CUSTOM]\nlayer_sizes = num_desc 32 32 1\nmulti_element_option = 2\n"),
    ("LAMMPSCUSTOM", "LAMMPSGRAPH\nelements = W Be"),
    ("[NETWORK]\nlayer_sizes = num_desc 32 32 1\n", "[PYTORCH]\nmodel = CUSTOM\n"),
    ("num_epochs = 3\nmulti_element_option = 2\n", "num_epochs = 3\n"),
    ("[SOLVER]\nsolver = NETWORK\n", ""),
)


def text(*changes: tuple[str, str]) -> str:
    changed = THEIRS
    for old, new in changes:
        assert old in changed
        changed = changed.replace(old, new)
    return changed


def test_fitsnap_s_form_is_the_same_fit_as_ours(write_input, tmp_path):
    settings = load_settings(write_input(text=THEIRS))
    network = settings.architecture
    assert (network.num_radial, network.num_3body, network.cutoff, network.cutoff_width) == (8, 23, 5.0, None)
    assert network.layer_sizes == ("num_desc", "32", "32", "1")
    assert network.multi_element_option == 2
    assert settings.elements == ("W", "Be")
    assert (settings.pytorch.learning_rate, settings.pytorch.num_epochs, settings.pytorch.batch_size) == (5e-4, 3, 4)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "data").symlink_to(tmp_path / "data")
    ours = tmp_path / "ours" / "fit.in"
    ours.write_text(text(*OURS))
    assert differences(settings, load_settings(ours)) == []


def test_what_is_said(write_input):
    first, *others = load_settings(write_input(text=THEIRS)).notices
    assert first.startswith(
        "FitSNAP's pair network: calculator = LAMMPSCUSTOM and solver = NETWORK are read as LAMMPSGR"
    )
    said = "\n".join(others)
    assert "[CUSTOM] multi_element_option = 2: apart from their element energies, the model does not dist" in said
    assert "[PYTORCH] save_freq" in said
    assert "[CUSTOM] numTypes, numAtoms" in said
    assert not load_settings(write_input(text=text(*OURS))).notices[0].startswith("FitSNAP's")


def test_other_defaults_and_a_second_cutoff_are_said(write_input):
    notices = load_settings(write_input(text=text(("cutoff = 5.0\n", ""), ("zero 5.0", "zero 4.5")))).notices
    assert any(n.startswith("[CUSTOM] cutoff = 5: the input does not set it. FitSNAP's default of 3") for n in notices)
    assert any("determines the neighbours, not [REFERENCE] pair_style = zero 4.5" in notice for notice in notices)


@pytest.mark.parametrize("section", ["NETWORK", "PYTORCH"])
def test_the_command_line_uses_either_name(write_input, section):
    overrides = [(section, "num_epochs", "7"), (section, "layer_sizes", "num_desc 4 1"), ("CUSTOM", "cutoff", "4.5")]
    settings = load_settings(write_input(text=THEIRS), overrides)
    assert settings.pytorch.num_epochs == 7
    assert settings.architecture.layer_sizes == ("num_desc", "4", "1")
    assert settings.architecture.cutoff == 4.5
    document = document_of(settings)
    assert document.where("PYTORCH", "learning_rate").endswith("fit.in:14")
    assert document.where("CUSTOM", "layer_sizes") == "command line"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ([("LAMMPSCUSTOM", "LAMMPSSNAP")], "[CALCULATOR] calculator — is LAMMPSSNAP, but [SOLVER] solver = NETWORK"),
        ([("solver = NETWORK", "solver = SVD")], "[SOLVER] solver — is SVD, but [CALCULATOR] calculator = LAMMPSC"),
        ([("[SOLVER]", "[PYTORCH]\nmodel = MACE\n[SOLVER]")], "[PYTORCH] model — is MACE, but [CALCULATOR] calc"),
        ([("[SOLVER]", "[PYTORCH]\nnum_epochs = 4\n[SOLVER]")], "[NETWORK] num_epochs — also given in [PYTORCH], "),
        ([("LAMMPSCUSTOM", "LAMMPSCUSTOM\nelements = W")], "[CUSTOM] type — also given in [CALCULATOR] elements, "),
        ([("numTypes = 2", "numTypes = 3")], "[CUSTOM] numTypes — is 3, but type = W Be lists 2. Correct or remove"),
        ([("cutoff = 5.0", "cutoff = 3.0")], "[CUSTOM] cutoff — 3 Å is too short for FitSNAP's cutoff function, which"),
        ([("cutoff = 5.0", "cutoff = 3\ncutoff_width = 4")], "[CUSTOM] cutoff_width — 4 Å exceeds cutoff = 3 Å"),
        (
            [("desc 32 32 1", "desc 32 32 2")],
            "[CUSTOM] layer_sizes — the last layer must have 1 node, the energy per pai",
        ),
        ([("num_desc 32", "15 32")], "[CUSTOM] layer_sizes — the first number is the number of inputs, which is 31"),
        ([("32 32 1", "99999999 1")], "[CUSTOM] layer_sizes — 2 layers with 3.3e+09 parameters"),
        ([("num_radial = 8", "num_radials = 8")], "[CUSTOM] num_radials — unknown key. Did you mean num_radial?"),
    ],
)
def test_what_is_refused(write_input, changes, problem):
    with pytest.raises(InputError) as error:
        load_settings(write_input(text=text(*changes)))
    (found,) = map(str, error.value.problems)
    assert problem in found


def test_the_section_of_a_solver_that_is_not_chosen_has_no_effect(write_input):
    notices = load_settings(write_input(("[PATH]", "[NETWORK]\nnum_epochs = 3\n[PATH]"))).notices
    assert any("section [NETWORK]" in notice for notice in notices)
