"""Inputs with marked keys, and what differs between inputs."""

from __future__ import annotations

from fitsnap_nn.settings.marked import differing, marked_input

TEXT = """
[BISPECTRUM]
twojmax = 6
rcutfac = 5.0
wj = 1.0
[PYTORCH]
learning_rate = 1e-2     # the default in other digits
unknown_key = 3
[REFERENCE]
pair_coeff1 = * * zero
[EXTRAS]
only_test = 1
[GROUPS]
Volume_BCC = 6 2 10 1 1e-8
[OTHER_PACKAGE]
key = value
"""


def test_keys_are_marked_by_what_they_change():
    kinds = {line.key: (line.kind, line.default) for line in marked_input(TEXT)}
    assert kinds == {
        "twojmax": ("default", "6"),
        "rcutfac": ("changed", "4.67637"),
        "wj": ("default", "1.0"),
        "learning_rate": ("default", "0.01"),
        "unknown_key": ("row", ""),
        "pair_coeff1": ("row", ""),
        "only_test": ("no effect", "0"),
        "Volume_BCC": ("row", ""),
        "key": ("row", ""),
    }


def test_values_that_differ_in_digits_only_are_the_same():
    other = TEXT.replace("rcutfac = 5.0", "rcutfac = 5.00").replace("twojmax = 6\n", "").replace("6 2 10", "6 3 10")
    assert differing([TEXT, other]) == {"[GROUPS] Volume_BCC": ["6 2 10 1 1e-8", "6 3 10 1 1e-8"]}


def test_a_key_that_one_input_lacks_has_its_default():
    shorter = TEXT.replace("rcutfac = 5.0\n", "").replace("pair_coeff1 = * * zero\n", "")
    assert differing([shorter, TEXT]) == {
        "[BISPECTRUM] rcutfac": ["4.67637", "5.0"],
        "[REFERENCE] pair_coeff1": ["-", "* * zero"],
    }
