"""Looking around in a space: how many settings of its genes there are, and which genes."""

from math import prod
from typing import Any

import pytest

from paretonas.spaces import ConvSpace, DataSpec, Head, MLPSpace, Options, Range, Suggester, TrainingSpace
from paretonas.spaces.looking import GeneUse, Size, all_genes, count_leaves, size_of

GRAY = DataSpec((1, 8, 8), 10)
FIXED: dict[str, Any] = {
    "layers": 3,
    "stages": 1,
    "widths": 8,
    "activations": "relu",
    "sharing": "none",
    "pruning": 0.0,
}


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 1),
        ({"widths": [8, 16]}, 2),
        ({"widths": [8, 16], "width_per": "layer"}, 8),
        ({"widths": [8, 16], "width_per": ["network", "layer"]}, 2 + 8),
        ({"layers": (1, 4), "widths": [8, 16], "width_per": "layer"}, 2 + 4 + 8 + 16),
        ({"activations": ["relu", "leaky_relu"], "slopes": [0.01, 0.1, 0.2]}, 1 + 3),
        ({"pruning": [0.0, 0.5]}, 2),
        ({"pruning": Range(0.0, 0.9, step=0.1)}, 10),
        ({"kernels": Range(1, 7, step=2)}, 4),
        ({"widths": Range(1, 100, log=True)}, 100),
        ({"sharing": ["none", "all", "cycle"], "sets": [1, 2], "layers": 4}, 1 + 1 + 2),
        ({"sharing": ["none", "all"], "layers": (1, 3)}, 1 + 1 + 2),
        ({"blocks": ["conv", "residual", "inverted_residual"], "expansions": [1, 2], "squeeze": 0.0}, 1 + 1 + 2),
        ({"training": TrainingSpace(optimizer=["adamw", "sgd"], epochs=(1, 3))}, 6),
        ({"training": TrainingSpace(finetune_epochs=(1, 3)), "pruning": [0.0, 0.5]}, 1 + 3),
    ],
    ids=str,
)
def test_settings_are_counted_exactly(fields: dict[str, Any], count: int) -> None:
    """A conditional gene counts only where it is asked for."""
    assert ConvSpace(**{**FIXED, **fields}).size(GRAY) == Size(count, exact=True, continuous=())


def test_a_continuous_gene_counts_as_one_value_and_is_named() -> None:
    """There are infinitely many; whatever the upper end asks for counts too."""
    training = TrainingSpace(learning_rate=(1e-3, 1e-1), finetune_epochs=[1, 2])
    size = ConvSpace(**{**FIXED, "widths": [8, 16], "pruning": (0.0, 0.5), "training": training}).size(GRAY)
    assert size == Size(4, exact=True, continuous=("pruning", "learning_rate"))
    assert str(size) == "4 settings, for each value of pruning, learning_rate"


def test_a_large_space_has_a_bound() -> None:
    """The product over all genes: no setting is beyond it."""
    fields = {**FIXED, "layers": 12, "widths": [8, 16, 24, 32], "width_per": "layer"}
    size = ConvSpace(**fields).size(GRAY)
    assert size == Size(4**12, exact=False, continuous=())
    assert str(size) == "at most 1.7e+07 settings"
    per_layer_or_all = ConvSpace(**{**fields, "width_per": ["network", "layer"]}).size(GRAY)
    assert per_layer_or_all.count >= 4**12 + 4
    assert not per_layer_or_all.exact


@pytest.mark.parametrize(("limit", "exact"), [(64, True), (63, False), (1, False)])
def test_the_limit_is_the_number_of_settings_that_are_counted(limit: int, exact: bool) -> None:  # noqa: FBT001
    """One more than it, and there is a bound instead."""
    space = ConvSpace(**{**FIXED, "widths": [8, 16, 24, 32], "width_per": "layer"})
    assert space.size(GRAY, limit=limit) == Size(64, exact=exact, continuous=())


def test_the_bound_knows_genes_that_few_candidates_ask_for() -> None:
    """A gene behind one option in a thousand, which a random candidate hardly meets."""

    def ask(trial: Suggester) -> None:
        if trial.suggest_int("door", 1, 1000) == 1000:
            trial.suggest_categorical("behind", (1, 2, 3))

    assert dict(all_genes(ask, [])) == {}
    assert size_of(ask, limit=2000) == Size(999 + 3, exact=True, continuous=())
    assert size_of(ask, limit=500) == Size(3000, exact=False, continuous=())


def test_a_gene_that_is_asked_for_twice_is_one_gene() -> None:
    """As Optuna gives the same answer again."""

    def ask(trial: Suggester) -> int:
        first = trial.suggest_categorical("a", (1, 2, 3))
        assert trial.suggest_categorical("a", (1, 2, 3)) == first
        return int(trial.suggest_int("b", 1, 2))

    assert count_leaves(ask, 100) == 6


def test_every_gene_is_listed_with_how_often_it_is_asked_for() -> None:
    """Its choice as the trial is asked, the share of random candidates that ask."""
    space = ConvSpace(**{**FIXED, "activations": ["relu", "leaky_relu"], "slopes": (0.1, 0.2), "widths": (8, 16)})
    genes = space.genes(GRAY, samples=100)
    assert [gene.name for gene in genes] == ["stage0.width", "activation", "slope"]
    assert genes[0] == GeneUse("stage0.width", Range(8, 16, step=1), 1.0)
    assert genes[1] == GeneUse("activation", Options(("relu", "leaky_relu")), 1.0)
    assert genes[2].choice == Range(0.1, 0.2)
    assert 0.3 < genes[2].share < 0.7


def test_a_space_without_choices_has_no_genes() -> None:
    """It is one network."""
    assert ConvSpace(**FIXED).genes(GRAY) == ()
    assert str(ConvSpace(**FIXED).size(GRAY)) == "1 setting"


@pytest.mark.parametrize("data", [GRAY, DataSpec((1, 8, 8), (Head(3, "a"), Head(2, "b")))], ids=["one head", "two"])
def test_the_default_spaces_can_be_looked_at(data: DataSpec) -> None:
    """A size, and all genes, of images and of what is flattened."""
    for space in (ConvSpace(layers=(1, 3)), MLPSpace(layers=(1, 3))):
        size, genes = space.size(data, limit=500), space.genes(data)
        assert size.count > 100
        assert "pruning" in size.continuous
        assert ("trunk" in {gene.name for gene in genes}) == (len(data.heads) > 1)
        assert size.count <= prod(len(g.choice.values) if isinstance(g.choice, Options) else 100 for g in genes)


def test_what_has_no_effect_on_the_data_is_not_asked_for() -> None:
    """Augmentation of data that have none, as the data say."""
    training = TrainingSpace(augment=(0.0, 1.0), dropout=(0.0, 0.5), label_smoothing=[0.0, 0.1])
    space = ConvSpace(**{**FIXED, "training": training})
    assert {gene.name for gene in space.genes(GRAY)} == {"augment", "dropout", "label_smoothing"}
    idle = DataSpec((1, 8, 8), 10, ineffective=("augment", "label_smoothing"))
    assert {gene.name for gene in space.genes(idle)} == {"dropout"}
    fixed = ConvSpace(**{**FIXED, "training": TrainingSpace(augment=0.5)})
    assert fixed.sample(GRAY).training.augment == 0.5
    assert fixed.sample(idle).training.augment == 0.0
