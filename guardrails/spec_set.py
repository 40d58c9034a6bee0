"""Rules across spec files: what each may say alone and all may not say together. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from experiments.errors import Problem
from experiments.language.amounts import format_percent
from experiments.language.source import MappingNode, Mark, parse_yaml
from experiments.layers import BUCKETS, buckets_of
from experiments.spec import Layer
from guardrails.spec_file import SpecFile

_Named = tuple[str, SpecFile]
_TOP = Mark(1, 1)


def check_together(specs: Mapping[str, SpecFile]) -> tuple[Problem, ...]:
    """Return what is wrong with files that are each right alone.

    Two files are not one experiment; the experiments of a layer share at most all of it and
    have one type of unit.

    Args:
        specs: Files by the name that problems tell, in the order in which they are compared: of
            two that do not fit, the later one has the problem.
    """
    problems = list(_one_file_each(specs))
    first_of = dict[str, SpecFile]()
    for source, spec in specs.items():
        first_of.setdefault(spec.experiment.key, spec)
        if first_of[spec.experiment.key] is spec:
            problems += _fits_its_layer(source, spec, _before(specs, source))
    return tuple(problems)


def _one_file_each(specs: Mapping[str, SpecFile]) -> Iterator[Problem]:
    files: dict[str, str] = {}
    for source, spec in specs.items():
        key = spec.experiment.key
        if key in files:
            yield _problem(
                source,
                spec,
                "experiment",
                f"`{key}` is the experiment of {files[key]} too",
                "give one another key, or keep one of the files",
            )
        files.setdefault(key, source)


def _before(specs: Mapping[str, SpecFile], source: str) -> list[_Named]:
    """Return the files before one, the first of each experiment."""
    found: dict[str, _Named] = {}
    for name, spec in specs.items():
        if name == source:
            break
        found.setdefault(spec.experiment.key, (name, spec))
    return list(found.values())


def _fits_its_layer(source: str, spec: SpecFile, before: list[_Named]) -> Iterator[Problem]:
    layer = spec.experiment.layer
    if layer is None:
        return
    others = [(n, s, o) for n, s in before if (o := s.experiment.layer) and o.name == layer.name]
    strange = next((o for o in others if o[1].experiment.unit != spec.experiment.unit), None)
    if strange is not None:
        yield _problem(
            source,
            spec,
            "unit",
            f"is `{spec.experiment.unit}`, and {strange[0]} has `{strange[1].experiment.unit}` in "
            f"the same layer `{layer.name}`",
            "use one type of unit in a layer, or another layer",
        )
    taken = sum(buckets_of(other.share) for _, _, other in others)
    if taken <= BUCKETS < taken + buckets_of(layer.share):
        listed = ", ".join([*(f"{n} {_share(o)}" for n, _, o in others), f"this {_share(layer)}"])
        yield _problem(
            source,
            spec,
            "layer.share",
            f"the experiments of layer `{layer.name}` take more than 100% of it: {listed}",
            "lower a share, or use another layer",
        )


def _share(layer: Layer) -> str:
    return format_percent(Decimal(repr(layer.share)) * 100)


def _problem(source: str, spec: SpecFile, path: str, message: str, hint: str) -> Problem:
    at = place_of(spec.text, path)
    return Problem(source, at.line, at.column, path, message, hint)


def place_of(text: str, path: str) -> Mark:
    """Return where the value of a path stands, or the last place on the way that exists."""
    node, _ = parse_yaml(text, file="")
    at = _TOP
    for key in path.split("."):
        following = node.get(key) if isinstance(node, MappingNode) else None
        if following is None:
            break
        node, at = following, following.at
    return at
