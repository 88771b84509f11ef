"""Checks of section SCRAPER: names, units and signs of labels that suit the format."""

from __future__ import annotations

from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.schema import Scraper, Settings
from fitsnap_nn.units import label_units

LABEL_KEYS = ("energy_key", "forces_key", "stress_key", "virial_key")
WEIGHT_KEYS = ("weight_key", "energy_weight_key", "forces_weight_key", "stress_weight_key")
CONVENTIONS = ("stress_sign", "stress_order")
COMPONENTS = ["xx", "xy", "xz", "yy", "yz", "zz"]
# Keys that cannot be used with a scraper, and why.
REFUSED = {
    "JSON": (("virial_key",), "FitSNAP's JSON has stresses"),
    "XYZ": ((), ""),
    "VASP": (("property_array", *LABEL_KEYS, *WEIGHT_KEYS, *CONVENTIONS), "VASP defines names, units and signs"),
    "ASE": (("property_array", *CONVENTIONS), "ASE's readers convert to eV, Å and one sign"),
}


def check_scraper(document: Document, settings: Settings) -> None:
    """Check the keys of [SCRAPER] by themselves and against the format."""
    section = settings.scraper
    try:
        label_units(section.property_array)
    except ValueError as error:
        document.report("SCRAPER", "property_array", str(error))
    order = section.stress_order
    if order and sorted("".join(sorted(word.lower())) for word in order) != COMPONENTS:
        what = f"'{' '.join(order)}' does not contain each of the six components once"
        document.report("SCRAPER", "stress_order", what, "Use, for instance, xx yy zz yz xz xy (ASE).")
    if not document.sound("SCRAPER", "scraper"):
        return
    keys, why = REFUSED[section.scraper]
    for key in keys:
        if getattr(section, key) != getattr(Scraper(), key) and document.sound("SCRAPER", key):
            hint = "Remove the key" + (
                ", or read extended XYZ with scraper = XYZ." if section.scraper == "ASE" else "."
            )
            document.report("SCRAPER", key, f"cannot be used with scraper = {section.scraper}: {why}", hint)
