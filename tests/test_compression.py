"""How a candidate is made small, as data: what is checked, what is a gene, what is in a key."""

from dataclasses import replace
from typing import Any

import pytest

import paretonas as pn
from paretonas.errors import InvalidSpace, UsageError
from paretonas.spaces import ModuleArchitecture, Move, Start, space_from_json, space_to_json
from paretonas.spaces.choices import RandomSuggester

DIGITS = pn.DataSpec((1, 8, 8), 10)
PLAIN = pn.ConvSpace(layers=(2, 4), widths=[8, 16], sharing="none")


def one(seed: int = 0, pruning: float = 0.5, **fields: Any) -> pn.Candidate:
    """A convolutional candidate with this pruning ratio and this compression."""
    found = replace(PLAIN, pruning=pruning, widths=16, layers=3, stages=1).sample(DIGITS, seed=seed)
    return replace(found, compression=pn.Compression(**fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"criterion": "l3"}, "unknown criterion 'l3'"),
        ({"scope": "all"}, "unknown scope 'all'"),
        ({"schedule": "slow"}, "unknown schedule 'slow'"),
        ({"quantization": "fast"}, "unknown quantization 'fast'"),
        ({"bits": 4}, "32 or 8, 4 was given"),
        ({"bits": True}, "32 or 8, True was given"),
        ({"removed_layers": -1}, "whole number from 0, -1 was given"),
        ({"removed_layers": 1.5}, "whole number from 0, 1.5 was given"),
        ({"sparsity": 1.0}, "below 1, 1.0 was given"),
        ({"sparsity": float("nan")}, "below 1, nan was given"),
        ({"self_distillation": 1.1}, "from 0 to 1, 1.1 was given"),
        ({"pattern": "4:2"}, "N is below M, '4:2' was given"),
        ({"pattern": "x"}, "such as 2:4, 'x' was given"),
        ({"pattern": "2:4", "sparsity": 0.5}, "leave the sparsity out"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    """The rule and what was given are in the message."""
    with pytest.raises(UsageError, match=said):
        pn.Compression(**fields)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("bits", [32, 16], "32, 8 or a list of both"),
        ("bits", (8, 32), "32, 8 or a list of both"),
        ("pattern", ["global", "9:4"], "N is below M"),
        ("sparsity", (0.0, 1.0), "below 1"),
        ("criterion", "magnitude", "unknown value of CompressionSpace.criterion"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(field: str, value: Any, said: str) -> None:
    """A compression space checks its fields when it is made."""
    with pytest.raises(InvalidSpace, match=said):
        pn.CompressionSpace(**{field: value})


class Asked(RandomSuggester):
    """A random suggester that keeps the names of the genes it was asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.names: list[str] = []

    def suggest_categorical(self, name: str, choices: Any, /) -> Any:
        self.names.append(name)
        return super().suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1, log: bool = False) -> int:
        self.names.append(name)
        return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, /, *, step: float | None = None, log: bool = False
    ) -> float:
        self.names.append(name)
        return super().suggest_float(name, low, high, step=step, log=log)


ALL = pn.CompressionSpace(
    criterion=["l1", "taylor"],
    scope=["layer", "global"],
    removed_layers=(0, 2),
    sparsity=[0.0, 0.8],
    pattern=["global", "2:4"],
    schedule=["one_shot", "gradual"],
    self_distillation=(0.0, 1.0),
    bits=[32, 8],
    quantization=["static", "dynamic"],
    quantization_aware=[True, False],
)


@pytest.mark.parametrize("seed", range(40))
def test_a_gene_is_asked_for_only_where_it_has_an_effect(seed: int) -> None:
    """Each question follows from the answers before it, and the candidate survives JSON."""
    asked = Asked(seed)
    found = replace(PLAIN, pruning=[0.0, 0.5], compression=ALL).suggest(asked, DIGITS)
    recipe = found.compression
    assert ("criterion" in asked.names) == ("scope" in asked.names) == (found.pruning > 0)
    assert ("sparsity" in asked.names) == (recipe.pattern == "global")
    assert ("schedule" in asked.names) == recipe.sparse
    assert ("self_distillation" in asked.names) == (recipe.sparse or found.pruning > 0 or recipe.removed_layers > 0)
    assert ("quantization" in asked.names) == ("quantization_aware" in asked.names) == (recipe.bits == 8)
    assert pn.Candidate.from_json(found.to_json()) == found
    assert pn.Candidate.from_json(found.to_json()).key == found.key


def test_a_space_keeps_its_compression_in_json() -> None:
    """And one that an earlier release wrote has none, which is the default."""
    space = replace(PLAIN, compression=ALL)
    assert space_to_json(space_from_json(space_to_json(space))) == space_to_json(space)
    earlier = {name: value for name, value in space_to_json(PLAIN).items() if name != "compression"}
    assert space_from_json(earlier).compression == pn.CompressionSpace()


def test_what_has_no_effect_is_not_in_the_key() -> None:
    """Two recipes that do the same are one candidate."""
    whole = one(pruning=0.0)
    assert one(pruning=0.0, criterion="taylor", scope="global").key == whole.key
    assert one(pruning=0.0, self_distillation=0.5).key == whole.key
    assert one(pruning=0.0, quantization="dynamic", quantization_aware=True).key == whole.key
    assert one(pruning=0.0, schedule="rewind").key == whole.key


def test_what_has_an_effect_is_in_the_key() -> None:
    """Every field makes another candidate where it matters."""
    found = [
        one(pruning=0.0),
        one(),
        one(criterion="taylor"),
        one(scope="global"),
        one(pruning=0.51, scope="global"),
        one(removed_layers=1),
        one(sparsity=0.5),
        one(sparsity=0.5, pattern="layer"),
        one(pattern="2:4"),
        one(sparsity=0.5, schedule="gradual"),
        one(self_distillation=0.5),
        one(bits=8),
        one(bits=8, quantization="dynamic"),
        one(bits=8, quantization_aware=True),
    ]
    assert len({candidate.key for candidate in found}) == len(found)


def test_a_teacher_is_in_the_key_only_where_it_has_a_say() -> None:
    """The temperature of a distillation that there is not changes nothing."""
    plain = one(pruning=0.0)
    assert replace(plain, training=pn.Training(temperature=2.0)).key == plain.key
    taught = replace(plain, training=pn.Training(distillation=0.5))
    assert taught.key != plain.key
    assert replace(plain, training=pn.Training(distillation=0.5, temperature=2.0)).key != taught.key
    assert replace(plain, training=pn.Training(feature_distillation=1.0)).key != plain.key


def test_what_is_decided_on_trained_weights_is_not_known_before() -> None:
    """Until then the network that is left is the one that is trained."""
    assert one().deployed != one().architecture
    assert one(scope="global").deployed == one().architecture
    assert one(removed_layers=1).deployed == one().architecture
    assert all(candidate.shrinks for candidate in (one(), one(scope="global"), one(pruning=0.0, sparsity=0.5)))
    assert not one(pruning=0.0, bits=8).shrinks


def test_a_start_is_in_the_key_without_its_number() -> None:
    """The same weights under another number are the same weights; other moves are not."""
    found = one(pruning=0.0)
    first = replace(found, start=Start(3, "a" * 32, (Move("insert_layer", 0),)))
    assert replace(first, start=Start(4, "a" * 32, (Move("insert_layer", 0),))).key == first.key
    assert replace(first, start=Start(3, "b" * 32, (Move("insert_layer", 0),))).key != first.key
    assert replace(first, start=Start(3, "a" * 32)).key != first.key
    assert pn.Candidate.from_json(first.to_json()) == first


def test_units_of_an_own_module_do_not_leave_in_a_search() -> None:
    """The message says what to use instead."""
    own = ModuleArchitecture.of("my.module:make", {}, DIGITS)
    with pytest.raises(UsageError, match=r"paretonas\.compress"):
        pn.Candidate(own, compression=pn.Compression(removed_layers=1))
    assert pn.Candidate(own, compression=pn.Compression(sparsity=0.5, bits=8)).shrinks
