"""Drawing candidates to choose from, and what they cost before anything is built."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paretonas as pn
from paretonas.errors import InvalidArchitecture
from paretonas.objectives import Deployed, objective_of, on_meta, parameters
from paretonas.search.genes import Child, Recorded, allows
from paretonas.search.pool import CROSSED, FIRST, FRESH, MOST_NEIGHBOURS, WINDOW, Pool
from paretonas.search.static_costs import static_costs
from paretonas.spaces import DataSpec, Suggester
from paretonas.spaces.choices import RandomSuggester
from paretonas.spaces.looking import RandomAnswers
from paretonas.spaces.parameter_rules import count_parameters

IMAGES, SIGNALS, ROWS = DataSpec((1, 8, 8), 10), DataSpec((2, 40), 3), DataSpec((6,), 2, categories=(3, 5))
TOKENS = DataSpec((12,), 20, vocabulary=20, per_position=True)
KINDS = ["conv", "residual", "separable", "inverted_residual"]
CONV = pn.ConvSpace(
    widths=pn.Range(3, 24),
    blocks=KINDS,
    groups=[1, 2, 3],
    depthwise_kernels=["own", "shared"],
    squeeze=[0.0, 0.25],
    norms=["batch", "none"],
    activations=["relu", "prelu", "leaky_relu"],
    pooling=["max", "stride", "none"],
    readout=["average", "flatten"],
    hidden_layers=(0, 2),
    sharing=["none", "stage", "all"],
)
SPACES: list[tuple[pn.Space, DataSpec]] = [
    (CONV, IMAGES),
    (CONV, SIGNALS),
    (pn.MLPSpace(norms=["batch", "layer", "none"]), ROWS),
    (pn.MLPSpace(), IMAGES),
    (pn.TransformerSpace(), SIGNALS),
    (pn.TransformerSpace(), IMAGES),
    (pn.TransformerSpace(), TOKENS),
]
SMALL = pn.ConvSpace(layers=[1, 2], stages=1, widths=[4, 8], activations=["relu", "silu"], sharing="none", pruning=0.0)


@given(which=st.integers(0, len(SPACES) - 1), seed=st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_parameters_are_counted_as_torch_counts_them(which: int, seed: int) -> None:
    """The rules give what the network has that is built, also where blocks share or have lost units."""
    space, spec = SPACES[which]
    network = space.sample(spec, seed=seed).deployed
    try:
        built = parameters(on_meta(network))
    except InvalidArchitecture:
        with pytest.raises(InvalidArchitecture):
            count_parameters(network)
    else:
        assert count_parameters(network) == built


@given(which=st.integers(0, len(SPACES) - 1), seed=st.integers(0, 10**6))
def test_static_costs_are_those_that_are_measured(which: int, seed: int) -> None:
    """What is told before a network is built is what it has; no time is told without records."""
    space, spec = SPACES[which]
    candidate = space.sample(spec, seed=seed)
    objectives = [objective_of(name) for name in ("accuracy", "parameters", "macs", "latency_ms", "size_bytes")]
    told = static_costs(candidate, objectives, lambda _: None)
    assert told.keys() == {"parameters", "macs"}
    deployed = Deployed(on_meta(candidate.deployed), candidate.deployed)
    for objective in objectives[1:3]:
        measured = objective.measure(deployed, None)  # type: ignore[arg-type]
        assert told[objective.name] == getattr(measured, "value", measured)


def test_what_training_decides_has_no_static_costs() -> None:
    """Where units of all layers compete, nobody knows before what is left."""
    global_scope = pn.ConvSpace(pruning=0.5, compression=pn.CompressionSpace(scope="global"))
    candidate = next(c for c in (global_scope.sample(IMAGES, seed=n) for n in range(9)) if c.decided_later)
    assert static_costs(candidate, [objective_of("parameters")], lambda _: None) == {}


def drawn_genes(pool: Pool, place: int) -> list[Any]:
    return [one.genes for one in pool.fresh(place)]


@pytest.mark.parametrize("steps", [(), (0,), (7, 2, 30)])
def test_what_is_drawn_follows_from_seed_and_place(steps: tuple[int, ...]) -> None:
    """Whatever was drawn before, as by a process that was killed; another seed draws others."""
    place, walked, anew = 5, Pool(SMALL, IMAGES, 3), Pool(SMALL, IMAGES, 3)
    parents = [(one.key, one.genes) for one in Pool(SMALL, IMAGES, 9).fresh(0)[:4]]
    for step in steps:
        walked.fresh(step)
        walked.neighbours(parents[step % 2 :], step)
    assert drawn_genes(walked, place) == drawn_genes(anew, place)
    assert [one.genes for one in walked.neighbours(parents, place)] == [
        one.genes for one in anew.neighbours(parents, place)
    ]
    assert drawn_genes(Pool(SMALL, IMAGES, 4), place) != drawn_genes(anew, place)


def test_each_place_brings_new_candidates() -> None:
    """As many as are forgotten, once the window is full."""
    pool, wide = Pool(CONV, IMAGES, 0), WINDOW // FRESH
    assert len(pool.fresh(0)) <= FIRST
    before = [one.key for one in pool.fresh(wide)]
    after = [one.key for one in pool.fresh(wide + 1)]
    assert FRESH // 2 < len(set(after) - set(before)) <= FRESH
    assert before[FRESH:] == after[: len(before) - FRESH]


def test_a_parent_that_leaves_takes_only_its_own_neighbours_along() -> None:
    """Rendezvous: of 144 neighbours of 30 parents those of the others stay, and are as many as its share leaves."""
    parents = [(one.key, one.genes) for one in Pool(CONV, IMAGES, 9).fresh(0)[:30]]
    pool = Pool(CONV, IMAGES, 0)
    before = {one.key for one in pool.neighbours(parents, 3)}
    drawn = dict(pool._bred)
    for place, leaves in enumerate(parents[:5]):
        left = parents[:place] + parents[place + 1 :]
        after = {one.key for one in Pool(CONV, IMAGES, 0).neighbours(left, 3)}
        stay = {one.key for at, one in drawn.items() if one is not None and leaves[0] not in at}
        assert stay <= after
        assert len(before - after) <= 4 * 2 * len(drawn) // len(parents)


def test_neighbours_are_shared_out_among_the_parents() -> None:
    """Of 144 each of 24 parents has some, none more than a few times its share; and the order of parents is nothing."""
    parents = [(one.key, one.genes) for one in Pool(CONV, IMAGES, 9).fresh(0)[:24]]
    pool = Pool(CONV, IMAGES, 0)
    keys = {one.key for one in pool.neighbours(parents, 3)}
    firsts = [first for _, first, _ in pool._bred]
    assert len(firsts) == MOST_NEIGHBOURS
    assert {firsts.count(key) > 0 for key, _ in parents} == {True}
    assert max(map(firsts.count, firsts)) <= 4 * MOST_NEIGHBOURS // len(parents)
    assert all(bool(mate) is (number % CROSSED == 0) and mate != first for number, first, mate in pool._bred)
    assert keys == {one.key for one in Pool(CONV, IMAGES, 0).neighbours(parents[::-1], 3)}


def test_a_drawn_candidate_is_what_its_genes_give() -> None:
    """Asked again with the genes, the space gives the candidate."""
    for one in Pool(CONV, IMAGES, 0).fresh(0):
        assert CONV.suggest(_Answers(one.genes), IMAGES).key == one.key


class _Answers(RandomAnswers):
    def __init__(self, genes: Any) -> None:
        super().__init__(0)
        self._genes = genes

    def answer(self, name: str, choice: Any) -> Any:  # noqa: ARG002 - it is known to allow it
        return self._genes[name]


@pytest.mark.parametrize("crossed", [False, True])
@given(which=st.integers(0, len(SPACES) - 1), seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_children_are_settings_of_the_space_close_to_their_parents(*, which: int, seed: int, crossed: bool) -> None:
    """Each gene is one that the choice allows; most are the parent's or the mate's; the same seed gives the same."""
    space, spec = SPACES[which]
    parents = []
    for parent in (seed, seed + 1):
        recorded = Recorded(RandomSuggester(parent))
        space.suggest(recorded, spec)
        parents.append(recorded.genes)
    first, mate = parents
    child = Child(seed, first, mate if crossed else None)
    kept = Recorded(child)
    space.suggest(kept, spec)
    assert all(allows(choice, kept.genes[name]) for name, choice in child.asked.items())
    again = Recorded(Child(seed, first, mate if crossed else None))
    space.suggest(again, spec)
    assert again.genes == kept.genes
    sources = [first, mate] if crossed else [first]
    inherited = [any(source.get(name) == value for source in sources) for name, value in kept.genes.items()]
    foreseen = [name for name in kept.genes if any(name in source for source in sources)]
    assert sum(inherited) >= len(foreseen) - 8 - len(foreseen) // 3


def test_a_mutation_changes_something_and_a_number_moves_to_its_neighbours() -> None:
    """Of a space whose genes are all asked for, at least one differs from the parent's."""
    genes = {"width": 8, "rate": 0.1, "kind": "a", "depth": 5}

    def ask(trial: Suggester) -> dict[str, Any]:
        return {
            "width": trial.suggest_categorical("width", [4, 8, 16, 32]),
            "rate": trial.suggest_float("rate", 1e-3, 1.0, log=True),
            "kind": trial.suggest_categorical("kind", ["a", "b"]),
            "depth": trial.suggest_int("depth", 1, 9, step=2),
        }

    children = [ask(Child(seed, genes)) for seed in range(400)]
    assert all(child != genes for child in children)
    widths = [child["width"] for child in children if child["width"] != 8]
    assert widths.count(4) + widths.count(16) > 1.5 * widths.count(32)
    assert {child["depth"] for child in children} == {1, 3, 5, 7, 9}
    assert all(1e-3 <= child["rate"] <= 1.0 for child in children)
    changed = [sum(child[name] != genes[name] for name in genes) for child in children]
    assert sorted(changed)[len(changed) // 2] <= 2


def test_everything_of_a_small_space_is_every_candidate() -> None:
    """Each setting of its genes is walked."""
    pool = Pool(SMALL, IMAGES, 0)
    keys = {one.key for one in pool.everything()}
    assert keys == {SMALL.sample(IMAGES, seed=seed).key for seed in range(400)}
    assert len(keys) == SMALL.size(IMAGES).count


def test_what_a_space_cannot_make_is_passed_over() -> None:
    """Settings that raise or do not fit are left out, and the reason is kept; the others are drawn."""
    deep = pn.ConvSpace(layers=(3, 6), stages=(3, 6), pooling="max", pruning=0.0)
    share = deep.share_that_fits(IMAGES)
    assert 0 < share < 0.9
    pool = Pool(deep, IMAGES, 0)
    drawn = pool.fresh(0)
    assert 0.4 * share * FIRST < len(drawn) < FIRST
    assert isinstance(pool.error, InvalidArchitecture)
