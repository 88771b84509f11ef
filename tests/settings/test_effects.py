"""Keys without effect are said; files that are missing or cannot be written are found before the fit."""

from __future__ import annotations

import pytest
from torch_archives import write_archive

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings

GRAPH = ("stress = 0", "stress = 0\ncalculator = LAMMPSGRAPH\nelements = W Be")


def problems(path) -> list[str]:
    with pytest.raises(InputError) as error:
        load_settings(path)
    return [str(problem) for problem in error.value.problems]


def pytorch(text: str) -> tuple[str, str]:
    return "[PATH]", f"[PYTORCH]\n{text}\n[PATH]"


@pytest.mark.parametrize(
    ("changes", "notice"),
    [
        (
            [pytorch("model = NANOPET"), GRAPH],
            "[BISPECTRUM] numTypes, type, twojmax, wj have no effect with [CALCULATOR]",
        ),
        (
            [pytorch("model = NANOPET\nlayer_sizes = num_desc 1\nstandardize = 0"), GRAPH],
            "[PYTORCH] layer_sizes, standardize have no effect with model = NANOPET.",
        ),
        (
            [pytorch("model = NANOPET\ninitial = least_squares"), GRAPH],
            "[PYTORCH] initial has no effect with model = NANOPET.",
        ),
        (
            [("[PATH]", "[MACE]\nr_max = 4\n[NANOPET]\n[PATH]")],
            "Without effect with [PYTORCH] model = BPNN: sections [NANOPET], [MACE].",
        ),
        (
            [pytorch("model = NANOPET\n[NANOPET]\nsmearing = 1.2\nuse_ewald = 0"), GRAPH],
            "[NANOPET] use_ewald, smearing have no effect with long_range = 0.",
        ),
        (
            [pytorch("model = SOAP_BPNN\n[SOAP_BPNN]\nlong_range = 1\ninterpolation_nodes = 4"), GRAPH],
            "[SOAP_BPNN] interpolation_nodes has no effect with use_ewald = 1.",
        ),
        ([("twojmax = 6", "sinner = 1 1")], "[BISPECTRUM] sinner has no effect with switchinnerflag = 0."),
        ([("stress = 0", "elements = W Be")], "[CALCULATOR] elements has no effect with calculator = LAMMPSSNAP"),
        ([pytorch("seed = 4")], "[PYTORCH] seed has no effect with manual_seed_flag = 0"),
        ([pytorch("plateau_factor = 0.1")], "[PYTORCH] plateau_factor has no effect with scheduler = constant."),
        ([pytorch("batch_size = 3\nbatch_atom_bounds = 0 99")], "[PYTORCH] batch_size has no effect with"),
        ([pytorch("batch_size = 3\nbatch_atom_bounds = 9 None")], "[PYTORCH] batch_size has no effect with"),
        (
            [pytorch("lr_scheduler_gamma = 0.9")],
            "[PYTORCH] lr_scheduler_gamma has no effect with scheduler =",
        ),
        ([pytorch("optimizer = SOAP\namsgrad = 1")], "[PYTORCH] amsgrad has no effect with optimizer = SOAP."),
        ([pytorch("primitive_cells = 0")], "[PYTORCH] primitive_cells has no effect with calculator = LAMMPSSNAP."),
        ([pytorch("optimizer = LKF\namsgrad = 1")], "[PYTORCH] amsgrad has no effect with optimizer = LKF"),
        (
            [pytorch("optimizer = ScheduleFree\nscheduler = cosine\namsgrad = 1")],
            "[PYTORCH] scheduler, amsgrad have no effect with optimizer = ScheduleFree, which has no schedule.",
        ),
        ([pytorch("stage_two_start = 3\nstage_two_average = 1")], "[PYTORCH] stage_two_start, stage_two_average have"),
        (
            [pytorch("stage_two = 1")],
            "[PYTORCH] stage_two = 1 changes the learning rate only, to 0.001: the input",
        ),
        (
            [pytorch("stage_two = 1\nstage_two_energy_weight = 9")],
            "[PYTORCH] weights of stage two replace those of all groups, except 0: stage_two_energy_weight = 9 (column",
        ),
        ([pytorch("stage_two_stress_weight = 1")], "[PYTORCH] stage_two_stress_weight has no effect with [CALCULATOR]"),
        ([pytorch("element_energies = W -1")], "[PYTORCH] element_energies lists W; those of Be are fitted."),
        ([pytorch("stress_weight = 1")], "[PYTORCH] stress_weight has no effect with [CALCULATOR] stress = 0."),
        (
            [pytorch("early_stopping = 5"), ("0.7 0.3", "0.7 0.0")],
            "[PYTORCH] early_stopping follows the training loss, which does not show overfitting: there is no",
        ),
        ([("wj = 1.0 0.9", "radelem = 0.5 0.5")], "[BISPECTRUM] wj and radelem are equal for W, Be: the descriptors"),
        ([("[GROUPS]", "[GROUPS]\nrandom_seed = 3")], "[GROUPS] random_seed has no effect with random_sampling = 0."),
        ([("[GROUPS]", "[GROUPS]\nsampling_block = 3")], "[GROUPS] sampling_block has no effect with random_sampling"),
    ],
)
def test_a_key_without_effect_is_said(write_input, changes, notice):
    notices = load_settings(write_input(*changes)).notices
    assert any(text.startswith(notice) for text in notices), notices


@pytest.mark.parametrize(
    "changes",
    [
        [pytorch("early_stopping = 5\nscheduler = plateau\nplateau_factor = 0.3\nseed = 1\nmanual_seed_flag = 1")],
        [pytorch("early_stopping = 5\ntraining_fraction = 0.9")],
        [pytorch("scheduler = exponential\nlr_scheduler_gamma = 0.9")],
        [("[GROUPS]", "[GROUPS]\nrandom_seed = 3\nsampling_block = 5\nrandom_sampling = 1")],
        [
            pytorch("model = MACE"),
            ("numTypes = 2\ntwojmax = 6\n", ""),
            ("wj = 1.0 0.9", ""),
            ("stress = 0", "calculator = LAMMPSGRAPH"),
        ],
    ],
)
def test_what_has_an_effect_is_not_listed(write_input, changes):
    notices = load_settings(write_input(*changes)).notices
    assert [notice for notice in notices if "defaults of" not in notice] == []


def test_keys_that_a_pretrained_model_determines_are_said(write_input, tmp_path):
    write_archive(tmp_path / "a.model")
    mace = ("[PATH]", "[MACE]\nmace_model = a.model\nr_max = 4\ncorrelation = 2\n[PATH]")
    notices = load_settings(write_input(GRAPH, mace, pytorch("model = MACE"))).notices
    assert "[MACE] r_max, correlation have no effect with mace_model, which determines them." in notices


@pytest.mark.parametrize(("layers", "right"), [("14 8 1", True), ("num_desc 8 1", True), ("60 60 1", False)])
def test_a_first_number_of_layer_sizes_is_that_of_the_descriptors(write_input, layers, right):
    path = write_input(("twojmax = 6", "twojmax = 4"), pytorch(f"layer_sizes = {layers}"))
    if right:
        load_settings(path)
        return
    (found,) = problems(path)
    assert "layer_sizes — the first number, 60, is the number of inputs, but [BISPECTRUM] gives 14 descr" in found
    assert "Use num_desc 60 1; for a first hidden layer of 60 nodes, num_desc 60 60 1." in found


@pytest.mark.parametrize(
    ("bispectrum", "option", "count"),
    [
        ("twojmax = 6", 1, 30),
        ("twojmax = 8", 2, 55),
        ("twojmax = 3", 1, 8),
        ("twojmax = 6\nchemflag = 1", 1, 240),
        ("twojmax = 6\nquadraticflag = 1", 1, 495),
        ("twojmax = 6", 3, 32),  # the element as one-hot input
    ],
)
def test_the_number_of_descriptors_is_known_without_lammps(write_input, bispectrum, option, count):
    """Counts of the LAMMPS manual: 30 for twojmax 6, 55 for 8, times 2³ for EME-SNAP; quadratic: D + D (D + 1) / 2."""
    layers = f"multi_element_option = {option}\nlayer_sizes = {{}} 8 1"
    load_settings(write_input(("twojmax = 6", bispectrum), pytorch(layers.format(count))))
    assert len(problems(write_input(("twojmax = 6", bispectrum), pytorch(layers.format(count + 1))))) == 1


def test_files_that_are_missing_or_cannot_be_written_are_found(write_input, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mace = ("[PATH]", "[MACE]\nmace_model = b.model\n[PATH]")
    (tmp_path / "a.model").touch()
    (found,) = problems(write_input(GRAPH, mace, pytorch("model = MACE")))
    assert f"[MACE] mace_model — no such file: {tmp_path / 'b.model'}. Did you mean a.model?" in found
    (found,) = problems(write_input(pytorch("save_state_output = states/x.pt")))
    assert "save_state_output — states/x.pt is a path instead of the name of a file. Give a name" in found
    (found,) = problems(write_input(("[PATH]", "[OUTFILE]\nfolder = a.model/fit\n[PATH]")))
    assert "[OUTFILE] folder — a.model/fit cannot be a folder: " in found
    (found,) = problems(write_input(("[PATH]", "[OUTFILE]\npotential = out/Ta\n[PATH]")))
    assert "[OUTFILE] potential — LAMMPS cannot read files named 'out/Ta'" in found
    for folder in ("ü", "fits/a(b)", "it's"):
        (found,) = problems(write_input(("[PATH]", f"[OUTFILE]\nfolder = {folder}\n[PATH]")))
        assert "[OUTFILE] folder — LAMMPS cannot find files in a folder named " in found
    (tmp_path / "fit_fit" / "Ta_metrics").mkdir(parents=True)
    (found,) = problems(write_input(("[PATH]", "[OUTFILE]\nmetrics = Ta_metrics\n[PATH]")))
    assert "is a folder. Give the name of a file." in found
    (found,) = problems(write_input(pytorch("save_state_output = x.pt\noutput_file = x.pt")))
    assert "x.pt is also the name of [PYTORCH] save_state_output" in found


def test_a_folder_without_permission_is_found(write_input, tmp_path, monkeypatch):
    """`os.access` stands in for a folder of somebody else, which does not exist for root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fitsnap_nn.settings.outputs.os.access", lambda folder, mode: False)
    (found,) = problems(write_input())
    assert f"[OUTFILE] folder — no permission to write to {tmp_path}. Choose another folder" in found


@pytest.mark.parametrize(
    ("model", "keys", "problem"),
    [
        ("NANOPET", "kspace_resolution = 1.6\nsmearing = 1.0", "kspace_resolution — 1.6 Å is too coarse for smearing"),
        (
            "SOAP_BPNN",
            "kspace_resolution = 3",
            "kspace_resolution — 3 Å is too coarse for smearing = 1.4 Å: at most 2.21",
        ),
        ("SOAP_BPNN", "num_hidden_layers = 0", "long_range — needs num_hidden_layers above 0"),
        ("SOAP_BPNN", "interpolation_nodes = 2", "interpolation_nodes — "),
    ],
)
def test_long_range_interactions_that_cannot_be_are_refused(write_input, model, keys, problem):
    text = f"[PYTORCH]\nmodel = {model}\n[{model}]\nlong_range = 1\n{keys}\n[PATH]"
    (found,) = problems(write_input(("[PATH]", text), GRAPH))
    assert f"[{model}] {problem}" in found


def test_the_library_of_the_mesh_is_missing(write_input, monkeypatch):
    monkeypatch.setattr("fitsnap_nn.settings.architectures.find_spec", lambda name: None)
    text = "[PYTORCH]\nmodel = NANOPET\n[NANOPET]\nlong_range = 1\nuse_ewald = 0\n[PATH]"
    (found,) = problems(write_input(("[PATH]", text), GRAPH))
    assert "[NANOPET] use_ewald — P3M needs torch-pme (pip install 'fitsnap_nn[long-range]')" in found
