"""Files that are right alone and do not fit together."""

import itertools
from pathlib import Path

import pytest

from guardrails.spec_file import load_spec, load_spec_file
from guardrails.spec_set import check_together

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def spec(key, *, share=None, unit="order_id", layer="cancel-page"):
    placed = f"layer: {{name: {layer}, share: {share}}}\n" if share else ""
    return load_spec(
        f"experiment: {key}\nunit: {unit}\n{placed}"
        "variants: {control: {weight: 50%}, new: {weight: 50%}}\n"
        "guardrails: {use: [cancellation-defaults]}\nends: {after: 14d}\n"
    )


def told(**specs):
    return [str(problem) for problem in check_together(specs)]


def test_files_that_fit_have_no_problems():
    assert check_together({}) == ()
    assert told(a=spec("a"), b=spec("b")) == []
    assert told(a=spec("a", share="50%"), b=spec("b", share="50%"), c=spec("c")) == []
    assert told(a=spec("a", share="70%"), b=spec("b", share="70%", layer="other")) == []
    # three thirds are whole buckets: they fit
    assert told(**{k: spec(k, share="33.3%") for k in "abc"}) == []


def test_two_files_of_one_experiment_are_a_problem_of_the_second():
    assert told(a=spec("x", share="60%"), b=spec("x", share="60%")) == [
        (
            "b:1:13: experiment: `x` is the experiment of a too; give one another key, or keep one of "
            "the files"
        )
    ]


def test_shares_over_the_whole_layer_are_a_problem_where_it_is_full():
    files = {"a": spec("a", share="50%"), "b": spec("b", share="30%"), "c": spec("c", share="40%")}
    assert told(**files) == [
        (
            "c:3:35: layer.share: the experiments of layer `cancel-page` take more than 100% of it: "
            "a 50%, b 30%, this 40%; lower a share, or use another layer"
        )
    ]
    # once for the layer, not for every file after it
    assert len(told(**files, d=spec("d", share="10%"))) == 1


def test_a_layer_has_one_type_of_unit():
    assert told(a=spec("a", share="10%"), b=spec("b", share="10%", unit="user_id")) == [
        (
            "b:2:7: unit: is `user_id`, and a has `order_id` in the same layer `cancel-page`; use one "
            "type of unit in a layer, or another layer"
        )
    ]


def test_the_examples_fit_together():
    specs = {path.name: load_spec_file(path) for path in EXAMPLES}
    assert check_together(specs) == ()
    layers = [s.experiment.layer.name for s in specs.values() if s.experiment.layer]
    assert len(layers) > len(set(layers)), "no two examples share a layer"


@pytest.mark.parametrize(
    "pair",
    list(itertools.combinations(EXAMPLES, 2)),
    ids=lambda pair: f"{pair[0].stem} and {pair[1].stem}",
)
def test_every_two_examples_fit(pair):
    assert check_together({path.name: load_spec_file(path) for path in pair}) == ()


def test_the_examples_use_what_they_should_show():
    specs = {path.stem: load_spec_file(path) for path in EXAMPLES}
    experiments = [s.experiment for s in specs.values()]
    assert any(s.sets for s in specs.values())
    assert any(e.layer for e in experiments)
    assert any(e.force for e in experiments)
    assert any(e.freeze and any(step.approval for step in e.ramp) for e in experiments)
    for name, s in specs.items():
        assert s.warnings == (), name
        assert "Whom it may harm" in s.text or name == "online-retail"
        assert any(guardrail.acts for guardrail in s.guardrails), name
