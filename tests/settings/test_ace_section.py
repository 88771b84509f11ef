"""Section ACE: FitSNAP's inputs as they are, what is said, and what is refused."""

from __future__ import annotations

import pytest

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.ace import functions_of, labels_of

# The sections of FitSNAP's example Ta_PACE_PyTorch_NN that concern the descriptors, for two elements.
THEIRS = """\
[ACE]
numTypes = 2
ranks = 1 2 3 4
lmax =  1 2 2 1
nmax =  22 3 2 1
mumax = 2
lmin = 0 0 1 1
nmaxbase = 22
rcutfac = 5.790  5.007  5.007  4.224
lambda = 1.737  1.502  1.502  1.267
rcinner = 1.705  1.403  1.403  1.100
drcinner = 0.01 0.01 0.01 0.01
type = W Be
erefs = 0 0
bzeroflag = 1
bikflag = 1
dgradflag = 1
RPI_heuristic = root_SO3_span
wigner_flag = 1
b_basis = pa_tabulated
[CALCULATOR]
calculator = LAMMPSPACE
per_atom_energy = 1
nonlinear = 1
stress = 0
[PYTORCH]
layer_sizes = num_desc 64 64 1
multi_element_option = 2
silence_ace_multi_warning = 1
[SOLVER]
solver = PYTORCH
[PATH]
dataPath = data
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
Bulk = 0.7 0.3 100 1 1e-8
"""


def changed(*changes: tuple[str, str]) -> str:
    text = THEIRS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_an_input_of_fitsnap(write_input):
    settings = load_settings(write_input(text=THEIRS))
    assert settings.elements == ("W", "Be")
    assert settings.cutoff == 5.79
    assert len(functions_of(settings.ace)) == 173
    assert settings.notices == (
        "[ACE] bzeroflag has no effect on networks, which have element energies of their own.",
        "Without effect (for the reasons see docs/input.md): [ACE] mumax, erefs, RPI_heuristic, bikflag, "
        "dgradflag; [CALCULATOR] per_atom_energy, nonlinear; [PYTORCH] silence_ace_multi_warning.",
    )


def test_one_value_holds_for_all_pairs(write_input):
    ace = load_settings(write_input(text=changed(("drcinner = 0.01 0.01 0.01 0.01", "drcinner = 0.5")))).ace
    assert ace.of_bonds("drcinner") == (0.5,) * 4
    assert ace.of_bonds("lambda") == (1.737, 1.502, 1.502, 1.267)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("numTypes = 2", "numTypes = 1", "[ACE] numTypes — is 1, but type = W Be lists 2. Use 2."),
        ("type = W Be", "", "[ACE] type — is missing"),
        ("lmax =  1 2 2 1", "lmax = 2", "lmax — has 1 values for 4 ranks. Give one value for each of ranks = 1 2 3 4."),
        ("ranks = 1 2 3 4", "ranks = 1 2 3 3", "ranks — = 1 2 3 3 repeats a rank"),
        ("ranks = 1 2 3 4", "ranks = 1 2 3 5", "b_basis — = pa_tabulated has no functions of rank 5. Use"),
        ("ranks = 1 2 3 4", "ranks = 1 2 3 7", "ranks — 7 is above the maximum, 6"),
        ("nmaxbase = 22", "nmaxbase = 8", "nmaxbase — is 8, but nmax is up to 22. Use 22 or more."),
        ("lmin = 0 0 1 1", "lmin = 0 3 1 1", "lmin — = 3 exceeds lmax = 2 of rank 2"),
        ("lmax =  1 2 2 1", "lmax = 1 2 2 7", "lmax — = 7 of rank 4 is above the maximum, 6"),
        ("nmax =  22 3 2 1", "nmax = 22 3 2 22", "nmax — rank 4 has more than 178365 functions per"),
        ("lambda = 1.737  1.502", "lambda = 1.737", "lambda — has 3 values for 4 pairs of elements"),
        ("rcinner = 1.705", "rcinner = 6", "rcinner — = 6 Å is not below rcutfac = 5.79 Å"),
        ("ranks = 1 2 3 4", "rank = 1 2 3 4", "[ACE] rank — unknown key. Did you mean ranks?"),
        ("b_basis = pa_tabulated", "b_basis = ysg_x_so3", "'ysg_x_so3' is not one of pa_tabulated, minsub"),
        ("num_desc 64 64 1", "100 64 64 1", "the first number, 100, is the number of inputs, but [ACE] gives 173 desc"),
        ("[PYTORCH]", "[PYTORCH]\nmodel = SOAP_BPNN", "is LAMMPSPACE, but [PYTORCH] model = SOAP_BPNN needs LA"),
        ("b_basis = pa_tabulated", "manuallabs = nothing.json", "manuallabs — no such file"),
    ],
)  # fmt: skip
def test_problems(write_input, old, new, message):
    with pytest.raises(InputError) as error:
        load_settings(write_input(text=changed((old, new))))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"1": ["0_0,1,0_", "1_0,1,0_"], "2": ["0_0,1,1,1,1,1_", "1_0,1,1,1,1,1_"]}', ""),
        ('["0_0,1,0_", "1_0,1,0_"]', ""),
        ("[]", "contains no lists of labels"),
        ("[1]", "contains no lists of labels"),
        ("ranks", "is not a JSON file"),
        ('["0_0,1,0_"]', "the labels are not the same for all central elements"),
        ('["0_0,1,1_", "1_0,1,1_"]', "cannot be coupled to a scalar"),
    ],
)
def test_labels_of_a_file(write_input, tmp_path, text, message):
    (tmp_path / "labels.json").write_text(text)
    path = write_input(text=changed(("b_basis = pa_tabulated", "manuallabs = labels.json")))
    if message:
        with pytest.raises(InputError) as error:
            load_settings(path)
        assert message in str(error.value)
        return
    settings = load_settings(path)
    assert len(functions_of(settings.ace, labels_of(settings.ace, settings.folder))) == text.count("0_0,1")


def test_keys_of_other_descriptors_have_no_effect(write_input):
    others = "[BISPECTRUM]\ntwojmax = 6\n[CALCULATOR]\nelements = W Be\n"
    notices = load_settings(write_input(text=changed(("[CALCULATOR]\n", others)))).notices
    assert "[BISPECTRUM] twojmax has no effect with [CALCULATOR] calculator = LAMMPSPACE." in notices
    reason = "with calculator = LAMMPSPACE, which takes the elements from [ACE] type"
    assert f"[CALCULATOR] elements has no effect {reason}." in notices
