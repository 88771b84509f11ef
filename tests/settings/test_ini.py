"""The dialect: what is read, what is reported, and on which line."""

from __future__ import annotations

import configparser

import pytest

from fitsnap_nn.settings.ini import read_ini

DIALECT = """\
; a comment
# another
[ONE]
plain = 1
Plain = case counts
colon : 2
  indented=3
tabs\t=\t4 \t
inline = 5 # comment
glued = a#b;c ; d
percent = 50 %% of %
empty =
equation = a = b: c
long = first
   second # comment
   # comment only

   third
after = x

[TWO]
list = Surface 1.0
"""


def values(text: str) -> dict[str, dict[str, str]]:
    document = read_ini(text, "x.in")
    assert document.problems == []
    return {name: {key: entry.value for key, entry in keys.items()} for name, keys in document.sections.items()}


@pytest.mark.parametrize(
    "convert", [str, lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r")]
)
def test_reads_what_pythons_configparser_reads(convert):
    reference = configparser.ConfigParser(inline_comment_prefixes="#", interpolation=None)
    reference.optionxform = str
    # The one difference: an indented line with `=` is a key of its own, not part of the value above.
    reference.read_string(DIALECT.replace("  indented=3", "indented=3"))
    expected = {
        name: {
            key: "\n".join(filter(None, map(str.strip, value.split("\n")))) for key, value in reference[name].items()
        }
        for name in reference.sections()
    }
    assert values(convert(DIALECT)) == expected


def test_its_text_has_the_same_values():
    document = read_ini(DIALECT, "x.in")
    assert values(document.text) == values(DIALECT)
    assert "comment" not in document.text


def test_every_value_knows_its_line():
    document = read_ini(DIALECT, "x.in")
    assert document.where("ONE") == "x.in:3"
    assert document.where("ONE", "indented") == "x.in:7"
    assert document.where("ONE", "long") == "x.in:14"
    assert document.where("TWO", "list") == "x.in:22"
    assert document.where("TWO", "not given") == "x.in:21"
    assert document.where("THREE", "x") == "x.in"


def test_all_mistakes_are_reported_with_their_lines():
    text = "early = 1\n[ONE]\na = 1\nno sense\na = 2\n = 3\n[ONE]\nb = 4\n[TWO\nc = %(b)s\n"
    found = [(problem.where, problem.what) for problem in read_ini(text, "x.in").problems]
    assert [where for where, _ in found] == [f"x.in:{line}" for line in (1, 4, 5, 6, 7, 9, 10)]
    for (_, what), words in zip(
        found,
        [
            "early — key before the first [SECTION]",
            "[ONE] 'no sense' — does not have the form key = value",
            "[ONE] a — given twice, first at x.in:3",
            "[ONE] '= 3' — does not have the form",
            "[ONE] — the section occurs twice, first at x.in:2",
            "[TWO — the closing bracket of the section is missing",
            "[TWO] c — interpolation with %(key)s is not supported",
        ],
        strict=True,
    ):
        assert words in what


def test_the_command_line_wins_and_is_named():
    document = read_ini("[ONE]\na = 1\n", "x.in")
    document.override([("ONE", "a", " 2 "), ("TWO", "b", "x # y")])
    assert document.sections["ONE"]["a"].value == "2"
    assert document.sections["TWO"]["b"].value == "x # y"
    assert document.where("ONE", "a") == document.where("TWO", "b") == document.where("TWO") == "command line"
