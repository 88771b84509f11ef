"""Conversion of one value between text and the type that its key has in the schema."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin

from fitsnap_nn.settings.keys import Key
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean, parse_real, require_size

TRUE = frozenset({"y", "yes", "t", "true", "on", "1"})
INTEGER = re.compile(r"[+-]?[0-9]+")
FALSE = frozenset({"n", "no", "f", "false", "off", "0"})


def parse_value(text: str, key: Key) -> Any:
    """Convert the text of a value to the type of its key.

    Raises:
        ValueProblem: the text has another type, is not among the key's choices, or is out of range.
    """
    kind = key.kind
    if get_origin(kind) is tuple:
        words = text.split()
        if not words and key.default != ():
            raise ValueProblem("has no value")
        return tuple(_scalar(word, get_args(kind)[0], key) for word in words)
    return _scalar(text, kind, key)


def _scalar(text: str, kind: Any, key: Key) -> Any:
    if type(None) in get_args(kind):
        if text.lower() == "none":
            return None
        kind = next(option for option in get_args(kind) if option is not type(None))
    if kind is str:
        return _word(text, key)
    if not text:
        raise ValueProblem("has no value")
    value = parse_number(text, kind)
    if key.minimum is not None and value < key.minimum:
        raise ValueProblem(f"{text} is below the minimum, {key.minimum:g}", key.limit_reason)
    if key.maximum is not None and value > key.maximum:
        raise ValueProblem(f"{text} is above the maximum, {key.maximum:g}", key.limit_reason)
    return value


def parse_number(text: str, kind: type) -> bool | int | float:
    """Convert text to a Boolean, an integer or a finite real number, as ``kind`` demands.

    Raises:
        ValueProblem: the text is not a number of that kind.
    """
    if kind is bool:
        if text.lower() not in TRUE | FALSE:
            raise ValueProblem(f"'{text}' is not a Boolean", "Use 1 or 0.")
        return text.lower() in TRUE
    if kind is not int:
        return parse_real(text)
    if not INTEGER.fullmatch(text.strip()):
        raise ValueProblem(f"'{text}' is not an integer")
    require_size(text, float(text))  # ``int`` does not convert thousands of digits
    return int(text)


def _word(text: str, key: Key) -> str:
    if key.choices:
        by_lower = {choice.lower(): choice for choice in key.choices}
        if text.lower() not in by_lower:
            wanted = f"must be {key.choices[0]}" if len(key.choices) == 1 else f"is not one of {', '.join(key.choices)}"
            raise ValueProblem(f"'{text}' {wanted}", did_you_mean(text, key.choices))
        return by_lower[text.lower()]
    # FitSNAP inputs write None for "no file".
    if text == "None" and key.default == "":
        return ""
    if not text and key.default:
        raise ValueProblem("has no value")
    return text


def format_value(value: Any) -> str:
    """Format a value as in an input file; the inverse of ``parse_value``."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return " ".join(map(format_value, value))
    return str(value)
