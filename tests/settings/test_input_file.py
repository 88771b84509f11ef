"""Whole input files: FitSNAP's example, defaults, overrides, and every check."""

from __future__ import annotations

import os

import pytest
from tantalum_input import tantalum_input

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import differences, load_settings, outline
from fitsnap_nn.settings.schema import Groups, Outfile, Reference


def problems(path, overrides=()) -> list[str]:
    with pytest.raises(InputError) as error:
        load_settings(path, overrides)
    return [str(problem) for problem in error.value.problems]


def test_fitsnaps_tantalum_example(tmp_path, tantalum):
    path = tmp_path / "Ta-example.in"
    groups = ("Displaced_BCC", "Elastic_FCC", "Liquid")
    path.write_text(tantalum_input(os.path.relpath(tantalum.folder, tmp_path), 100, groups))
    settings = load_settings(path)
    snap = settings.bispectrum
    assert settings.elements == ("Ta",)
    assert (snap.twojmax, snap.wj, snap.radelem) == ((6,), (1.0,), (0.5,))
    assert (snap.rcutfac, snap.rfac0, snap.rmin0) == (4.67637, 0.99363, 0.0)
    assert (snap.bzeroflag, snap.chemflag, snap.switchflag) == (True, False, True)
    assert (settings.calculator.energy, settings.calculator.force, settings.calculator.stress) == (True, True, False)
    assert settings.eshift == {"Ta": 0.0}
    fit = settings.pytorch
    assert fit.layer_sizes == ("num_desc", "64", "64", "1")
    assert (fit.learning_rate, fit.num_epochs, fit.batch_size) == (5e-5, 100, 4)
    assert (fit.energy_weight, fit.force_weight, fit.training_fraction) == (0.01, 1.0, None)
    assert (fit.activation, fit.optimizer, fit.scheduler, fit.multi_element_option) == (
        "softplus",
        "Adam",
        "constant",
        1,
    )
    assert (fit.save_state_output, fit.output_file) == ("Ta_Pytorch.pt", "FitTorch_Pytorch.pt")
    assert os.path.samefile(settings.data_path, tantalum.folder)
    assert settings.outfile == Outfile(metrics="Ta_metrics.md", potential="Ta_pot")
    assert settings.output_folder == "Ta-example_fit"
    reference = "hybrid/overlay zero 10.0 zbl 4.0 4.8", ("* * zero", "* * zbl 73 73")
    assert (settings.reference.pair_style, settings.reference.pair_coeff) == reference
    assert [(row.name, row.eweight) for row in settings.groups.rows] == [
        ("Displaced_BCC", 100.0),
        ("Elastic_FCC", 1e-9),
        ("Liquid", 467.0),
    ]
    assert (settings.groups.random_sampling, settings.groups.random_seed) == (True, 0)
    assert settings.extras.dump_peratom
    assert outline(settings) == f"{path} ok (12 sections, 48 keys, 3 groups)"
    replaced, notice = settings.notices
    assert "energy_weight = 0.01 (column eweight), force_weight = 1 (column fweight)" in replaced
    for words in (
        "[BISPECTRUM] bikflag, dgradflag;",
        "[SOLVER] compute_testerrs, detailed_errors;",
        "[MEMORY] override.",
    ):
        assert words in notice


def test_eight_mistakes_are_eight_errors(write_input):
    path = write_input(
        text="""\
[BISPECTRUM]
numTypes = 1
type = W Be
rcutfac = four
[CALCULATOR]
energy = 0
force = 0
stress = 0
[PYTORCH]
layer_sizes = num_desc 64 2
num_epoch = 3
this is nothing
[SOLVR]
[PATH]
dataPath = dta
[GROUPS]
Bulk = 0.7 100 1
"""
    )
    found = problems(path)
    assert [text.split("  ")[0] for text in found] == [f"{path}:{line}" for line in (2, 4, 5, 10, 11, 12, 13, 15, 17)]
    for text, words in zip(
        found,
        [
            "numTypes — is 1, but type = W Be lists 2. Use 2, or remove the key.",
            "rcutfac — 'four' is not a number.",
            "there is nothing to fit",
            "the last layer must have 1 node",
            "num_epoch — unknown key. Did you mean num_epochs?",
            "'this is nothing' — does not have the form key = value",
            "[SOLVR] — unknown section. Did you mean SOLVER?",
            "Did you mean data?",
            "3 values for the 4 columns size eweight fweight vweight",
        ],
        strict=True,
    ):
        assert words in text


def test_sections_that_are_missing_have_their_defaults(write_input):
    settings = load_settings(write_input(("wj = 1.0 0.9\n", "\n")))
    assert settings.reference == Reference(pair_coeff=("* *",))
    assert settings.eshift == {"W": 0.0, "Be": 0.0}
    assert settings.solver.solver == "PYTORCH"
    # Defaults, and a twojmax for all, are one for each element.
    assert (settings.bispectrum.twojmax, settings.bispectrum.wj, settings.bispectrum.radelem) == (
        (6, 6),
        (1.0, 1.0),
        (0.5, 0.5),
    )
    assert settings.groups.group_types == ("str", *["float"] * 5)
    assert Groups().group_types == ("str", *["float"] * 4)


def test_overrides_win_and_are_blamed(write_input):
    path = write_input()
    settings = load_settings(path, [("PYTORCH", "num_epochs", "7"), ("GROUPS", "Bulk", "1 0 1 1 1")])
    assert settings.pytorch.num_epochs == 7
    assert settings.groups.rows[0].training_size == 1.0
    assert load_settings(path).text == path.read_text()
    # The text of the settings is an input that says the same without the command line.
    used = path.with_name("used.in")
    used.write_text(settings.text)
    assert differences(load_settings(used), settings) == []
    assert differences(load_settings(path), settings) != []
    (found,) = problems(path, [("PYTORCH", "num_epochs", "seven")])
    assert found == "command line  [PYTORCH] num_epochs — 'seven' is not an integer."
    assert "command line  [PYTROCH] — unknown section. Did you mean PYTORCH?" in problems(path, [("PYTROCH", "x", "1")])


def test_a_file_with_byte_order_mark_and_windows_line_ends(write_input, tmp_path):
    path = write_input()
    expected = load_settings(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").replace(b" = ", b"\t=\t"))
    settings = load_settings(path)
    assert (settings.groups, settings.bispectrum) == (expected.groups, expected.bispectrum)
    path.write_bytes("[PYTORCH]\n# Größe\n".encode("latin-1"))
    assert problems(path) == [
        f"{path}  {path} is not UTF-8 text; the first invalid byte is in line 2. Save it as UTF-8."
    ]
    path.write_bytes("[PYTORCH]\n".encode("utf-16"))
    assert "Save it as UTF-8." in problems(path)[0]


def test_no_such_file(write_input):
    path = write_input()
    assert problems(path.with_name("fot.in")) == [
        f"{path.with_name('fot.in')}  no such file: {path.with_name('fot.in')}. Did you mean fit.in?"
    ]
    assert "cannot be read" in problems(path.parent)[0]


PYTORCH = ("[PATH]", "[PYTORCH]\n{}\n[PATH]")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type = W Be", "", "[BISPECTRUM] type — is missing"),
        ("type = W Be", "type = W Bee", "Bee is not a chemical element. Did you mean Be?"),
        ("type = W Be", "type = W W", "W is given 2 times"),
        ("wj = 1.0 0.9", "wj = 1.0", "wj — 1 value for 2 elements. Give one value for each of W Be."),
        (
            "stress = 0",
            "elements = Be W",
            "elements — differs from [BISPECTRUM] type = W Be. Remove",
        ),
        ("type = W Be", "element = W Be", "[BISPECTRUM] type — is missing"),
        ("twojmax = 6", "twojmax = 6 6 6", "twojmax — 3 values for 2 elements"),
        ("twojmax = 6", "quadraticflag = 1\nchemflag = 1", "quadraticflag — cannot be used with chemflag"),
        ("twojmax = 6", "rmin0 = 6", "does not exceed rmin0 = 6 Å"),
        ("twojmax = 6", "rcutfac = 0", "the smallest cutoff, 2 rcutfac radelem = 0 Å"),
        ("twojmax = 6", "twojmx = 6", "Did you mean twojmax?"),
        ("stress = 0", "calculator = LAMMPSPACE", "[ACE] type — is missing"),
        ("stress = 0", "num_epochs = 1", "[CALCULATOR] num_epochs — unknown key. It belongs to section [PYTORCH]."),
        ("[PATH]", "[ESHIFT]\nTa = 1\n[PATH]", "[ESHIFT] Ta — not among the elements of [BISPECTRUM] type = W Be"),
        ("[PATH]", "[ESHIFT]\nbe = 1\n[PATH]", "Did you mean Be?"),
        ("[PATH]", "[ESHIFT]\nW = nan\n[PATH]", "[ESHIFT] W — 'nan' is not a finite number"),
        ("[PATH]", "[SOLVER]\nsolver = MCMC\n[PATH]", "Linear models: SVD, RIDGE, ARD, LASSO; ANL for uncertainties"),
        ("[PATH]", "[SOLVER]\nsolver = NETWORK\n[PATH]", "is LAMMPSSNAP, but [SOLVER] solver = NETWORK needs LAMMPSC"),
        (
            "[PATH]",
            "[REFERENCE]\npair_coef = 1\n[PATH]",
            "[REFERENCE] pair_coef — unknown key. Did you mean pair_coeff?",
        ),
        ("[PATH]", "[REFERENCE]\npair_style = zbl 4 5\n[PATH]", "pair_style — zbl has no pair_coeff"),
        ("[PATH]", "[SCRAPER]\nproperty_array = Stres: kB\n[PATH]", "[SCRAPER] property_array — 'Stres'"),
        ("[PATH]", "[PYTORCH]\nenergy_weight = 1\n[PATH]", "energy_weight — is set without force_weight"),
        ("[PATH]", "[PYTORCH]\nforce_weight = 0\n[PATH]", "force_weight — is set without energy_weight"),
        (
            "[PATH]",
            "[PYTORCH]\nelement_energies = W -1 Li -2\n[PATH]",
            "Li is not among the elements W Be. Use",
        ),
        ("[PATH]", "[PYTORCH]\nelement_energies = 74 -1\n[PATH]", "74 is not among the elements W Be. Write W for 74."),
        ("[PATH]", "[PYTORCH]\nelement_energies = W -1 W -2\n[PATH]", "gives an element more than once"),
        ("[PATH]", "[PYTORCH]\nelement_energies = W -1 Be\n[PATH]", "'W -1 Be' is not a list of elements and energies"),
        (
            "[PATH]",
            "[PYTORCH]\nelement_energies = W -1 Be inf\n[PATH]",
            "'W -1 Be inf' is not a list of elements and energies",
        ),
        ("[PATH]", "[PYTORCH]\nelement_energies = isolate\n[PATH]", "Did you mean isolated?"),
        (
            "[PATH]",
            "[PYTORCH]\ncomposition_baseline = 0\nelement_energies = isolated\n[PATH]",
            "element_energies — has no effect with composition_baseline = 0",
        ),
        ("[PATH]", "[PYTORCH]\nlayer_sizes = num_dsc 1\n[PATH]", "Did you mean num_desc?"),
        ("[PATH]", "[PYTORCH]\nlayer_sizes = num_desc -3 1\n[PATH]", "-3: not a positive integer"),
        ("[PATH]", "[PYTORCH]\nlayer_sizes = num_desc\n[PATH]", "the last layer must have 1 node"),
        ("[PATH]", "[PYTORCH]\nsave_state_input = no.pt\n[PATH]", "save_state_input — no such file: no.pt"),
        (
            "[PATH]",
            "[PYTORCH]\noutput_file = a\nsave_state_output = a\n[PATH]",
            "a is also the name of [PYTORCH] save_",
        ),
        ("dataPath = data", "dataPath = dat", "Did you mean data?"),
        ("[GROUPS]", "[GROUPS]\nrandom_seed = 1.5", "random_seed — '1.5' is not an integer"),
        ("training_size testing_size ", "", "no column gives the size of the training set"),
    ],
)
def test_each_check(write_input, old, new, message):
    found = problems(write_input((old, new)))
    assert any(message in text for text in found), found


GRAPHS = ("stress = 0", "calculator = LAMMPSGRAPH\n{}")


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ("", "[CALCULATOR] elements — is missing. List the elements in the order of the LAMMPS atom types."),
        ("elements = W Bee", "[CALCULATOR] elements — Bee is not a chemical element. Did you mean Be?"),
        ("elements = W W", "[CALCULATOR] elements — W is given 2 times"),
        ("elements = W\n[ESHIFT]\nBe = 1", "[ESHIFT] Be — not among the elements of [CALCULATOR] elements = W"),
    ],
)
def test_elements_of_graphs(write_input, elements, message):
    graphs = (GRAPHS[0], GRAPHS[1].format(elements))
    found = problems(write_input(("type = W Be\n", ""), graphs, (PYTORCH[0], PYTORCH[1].format("model = SOAP_BPNN"))))
    assert len(found) == 1
    assert message in found[0]


def test_graphs_need_no_bispectrum(write_input):
    graphs = (GRAPHS[0], GRAPHS[1].format("elements = Be W"))
    model = (PYTORCH[0], PYTORCH[1].format("model = SOAP_BPNN\nelement_energies = W -12.5 Be -3"))
    settings = load_settings(write_input(("type = W Be\n", ""), graphs, model))
    assert settings.elements == ("Be", "W")
    assert settings.eshift == {"Be": 0.0, "W": 0.0}
    assert settings.pytorch.given_energies == {"W": -12.5, "Be": -3.0}


def test_a_pretrained_model_has_its_own_energies(write_input):
    graphs = (GRAPHS[0], GRAPHS[1].format(""))
    model = (PYTORCH[0], "[MACE]\nmace_model = a.model\n[PYTORCH]\nmodel = MACE\nelement_energies = isolated\n[PATH]")
    assert any(
        "has no effect: mace_model contains its own element energies" in text
        for text in problems(write_input(graphs, model))
    )


def test_a_committee_cannot_start_from_one_pretrained_model(write_input):
    graphs = (GRAPHS[0], GRAPHS[1].format(""))
    model = (PYTORCH[0], "[MACE]\nmace_model = a.model\n[PYTORCH]\nmodel = MACE\ncommittee = 2\n[PATH]")
    expected = "committee — its members would be equal: all start from mace_model. Use committee = 1."
    assert any(expected in text for text in problems(write_input(graphs, model)))


def test_one_mistake_is_one_error(write_input):
    """Consequences of an earlier mistake are not reported."""
    assert len(problems(write_input(("type = W Be\n", "")))) == 1
    eshift = ("[PATH]", "[ESHIFT]\nW = 1\n[PATH]")
    assert len(problems(write_input(("type = W Be", "type ="), eshift))) == 1
    assert len(problems(write_input(("training_size testing_size", "training_sise testing_size")))) == 1
    assert len(problems(write_input(("dataPath = data", "dataPath = dat")))) == 1


def test_sections_of_other_solvers_are_noted(write_input):
    settings = load_settings(write_input(("[PATH]", "[RIDGE]\nalpha = 1\n[ACE]\nnmax = 2\n[PATH]")))
    assert settings.notices == (
        "[RIDGE] alpha has no effect with [SOLVER] solver = PYTORCH.",
        "[ACE] nmax has no effect with [CALCULATOR] calculator = LAMMPSSNAP.",
    )


def test_reference_keeps_order_and_case(write_input):
    reference = (
        "[REFERENCE]\npair_style = hybrid/overlay zero 10\n    eam/fs\npair_coeff2 = * * eam/fs Ta_Foo.FS W Be\n"
    )
    settings = load_settings(write_input(("[PATH]", f"{reference}pair_coeff1 = * * zero\n[PATH]")))
    assert settings.reference.pair_style == "hybrid/overlay zero 10 eam/fs"
    assert settings.reference.pair_coeff == ("* * eam/fs Ta_Foo.FS W Be", "* * zero")


def test_restart_file_is_found_where_fits_write(write_input, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_input(("[PATH]", "[PYTORCH]\nsave_state_input = old.pt\n[PATH]"))
    (tmp_path / "fit_fit").mkdir()
    (tmp_path / "fit_fit" / "old.pt").touch()
    assert load_settings(path).pytorch.save_state_input == os.path.join("fit_fit", "old.pt")
    (tmp_path / "old.pt").touch()
    assert load_settings(path).pytorch.save_state_input == "old.pt"


def test_training_fraction_replaces_the_sizes(write_input):
    path = write_input(
        ("training_size testing_size ", ""),
        ("0.7 0.3 ", ""),
        ("1.0 0.0 ", ""),
        ("[PATH]", "[PYTORCH]\ntraining_fraction = 0.8\n[PATH]"),
    )
    assert [(row.training_size, row.testing_size) for row in load_settings(path).groups.rows] == [(None, None)] * 2
