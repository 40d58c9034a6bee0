"""Types that several words of scenario files share."""

from typing import Any, Final

from experiments.language.reading import (
    Place,
    Refusal,
    ToldError,
    ValueType,
    given,
    read_value,
)
from experiments.language.source import Node
from experiments.language.types import (
    NAME_PATTERN,
    choice_type,
    duration_type,
    json_type,
    name_type,
    percent_type,
    text_type,
)
from guardrails.scenarios.quantities import range_type
from guardrails.scenarios.types import (
    either_type,
    many_type,
)

VARIANT: Final = name_type(NAME_PATTERN, wanted="the name of a variant", hint="such as treatment")
REASON: Final = text_type()
WORDS: Final = many_type(text_type())
TIME: Final = duration_type()
COUNT: Final = range_type()
SHARE: Final = percent_type()


def made_type(of: ValueType, make: Any) -> ValueType:
    """Return a type whose record is made into a value; ``make`` may refuse."""

    def read(node: Node, place: Place) -> Any:
        before = len(place.report.problems)
        record = read_value(of, node, place)
        if len(place.report.problems) > before:
            raise ToldError
        return make(record)

    return ValueType(read, of.schema)


def changes_type() -> ValueType:
    """Return the type of keys of the spec file with other values, or ``same``."""

    def read(node: Node, place: Place) -> dict[str, Any]:
        value = read_value(json_type(), node, place)
        if not isinstance(value, dict):
            raise Refusal(f"must be keys of the spec file, {given(node)}", "or write same")
        return dict[str, Any](value)

    return either_type("same", {}, ValueType(read, {"type": "object"}))


def word_type(*words: str, what: str) -> ValueType:
    """Return the type of one word out of a few."""
    return choice_type(list(words), what=what)
