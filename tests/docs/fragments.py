"""Inputs of the pages, complete or in part, as the program's own check sees them."""

from __future__ import annotations

import sys
from pathlib import Path

from torch_archives import write_archive

from fitsnap_nn.settings import Settings, load_settings
from fitsnap_nn.settings.architectures import architecture_names
from fitsnap_nn.settings.ini import read_ini
from fitsnap_nn.settings.template import LINEAR, ROW, Content, render_template

Sections = dict[str, dict[str, str]]


def parse(text: str) -> Sections:
    """Return the values of an input by section and key."""
    document = read_ini(text, "block")
    assert not document.problems, document.problems
    return {name: {key: entry.value for key, entry in keys.items()} for name, keys in document.sections.items()}


def check_input(text: str, folder: Path) -> Settings:
    """Check an input of a page; what it leaves out is that of the template of its model.

    Args:
        text: the input or a part of it.
        folder: an empty folder; it gets the data folders that the input names.

    Raises:
        InputError: it has errors.
    """
    part = parse(text)
    model = _model(part)
    started = "start_from" in part.get("PYTORCH", {})
    elements = (part.get("CALCULATOR", {}).get("elements") or part.get("BISPECTRUM", {}).get("type") or "Ta").split()
    whole: Sections = {"GROUPS": {"group_sections": "name size eweight", "Bulk": "1.0 10"}}
    if not started:
        whole = parse(render_template(model, elements, Content("JSON", "JSON", {"Bulk": ROW})))
        whole["PYTORCH"] = {"model": "BPNN" if model == LINEAR else model}  # its training keys are those of the page
    for name, keys in part.items():
        if name in ("BISPECTRUM", "REFERENCE", "GROUPS", model):
            whole[name] = {}
        whole.setdefault(name, {}).update(keys)
    if "mace_model" in part.get("MACE", {}):
        del whole["REFERENCE"]
    whole.setdefault("PATH", {})["dataPath"] = "JSON"
    for name in whole["GROUPS"]:
        (folder / "JSON" / name.replace("*", "x")).mkdir(parents=True, exist_ok=True)
    # Files that the fit starts from, whose weights are read later.
    for name in (whole.get("PYTORCH", {}).get("start_from"), whole.get("MACE", {}).get("mace_model")):
        if name:
            (folder / name).parent.mkdir(exist_ok=True)
            write_archive(folder / name)
    lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in whole.items()]
    path = folder / "block.in"
    path.write_text("\n".join(lines), encoding="utf-8")
    return load_settings(path)


def _model(part: Sections) -> str:
    """Return the model that an input is for: the one that it names, or that has its sections."""
    if part.get("SOLVER", {}).get("solver", "PYTORCH") != "PYTORCH":
        return LINEAR
    named = [name for name in part if name in architecture_names()]
    default = "SOAP_BPNN" if "TARGETS" in part else "BPNN"
    return part.get("PYTORCH", {}).get("model") or (named[0] if named else default)


if __name__ == "__main__":
    check_input(Path(sys.argv[1]).read_text(encoding="utf-8"), Path(sys.argv[2]))
