"""Dropout and augmentation: where they act, and that nothing of them stays."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from paretonas.objectives import train
from paretonas.objectives.regularisation import dropout
from paretonas.objectives.tasks import Data, Split, as_task
from paretonas.spaces import Architecture, Block, Head, Training, build, example_input

SHORT = Training(epochs=2, batch_size=64, learning_rate=0.02)
IMAGES = (Block("conv", width=8), Block("global_average_pool"))
ROWS = (Block("linear", width=6, norm="none"), Block("residual_linear", hidden=5), Block("linear", width=4))
TEXT = (
    Block("embedding", width=8, vocabulary=9, length=5),
    Block("transformer", heads=2, head_width=4, hidden=8),
    Block("sequence_norm"),
    Block("mean_positions"),
)
FAMILIES = {
    "rows": (Architecture((7,), ROWS, (Head(3),)), {"block0", "block1.leave", "block2"}),
    "rows, two heads": (
        Architecture((7,), ROWS, (Head(3, "a"), Head(2, "b", follows=1))),
        {"block0", "block1.leave", "block2", "b"},
    ),
    "images": (Architecture((1, 8, 8), IMAGES, (Head(10),)), {"head"}),
    "text": (
        Architecture((5,), TEXT, (Head(2),), vocabulary=9),
        {"block0", "block1.attention", "block1.feed_forward", "head"},
    ),
    "language": (
        Architecture((5,), TEXT[:3], (Head(9, tied=0),), vocabulary=9),
        {"block0", "block1.attention", "block1.feed_forward"},
    ),
}


@pytest.fixture(scope="module")
def few() -> Data:
    """200 digits to train on and as many to judge by."""
    data = as_task("digits").load()
    train, validation, test = (Split(*next(split.batches(200))) for split in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)


def hooked(network: nn.Module) -> set[str]:
    return {name for name, part in network.named_modules() if part._forward_hooks or part._forward_pre_hooks}


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_stands_where_the_family_has_it(family: str) -> None:
    """And only there, only in training mode, and only as long as it is wanted."""
    architecture, places = FAMILIES[family]
    network, x = build(architecture, seed=0), example_input(architecture, 4)

    def answers() -> torch.Tensor:
        given = network(x)
        return given if isinstance(given, torch.Tensor) else torch.cat(list(given.values()), 1)

    with torch.random.fork_rng():
        network.eval()
        before = answers()
        with dropout(network, 0.5):
            assert hooked(network) == places
            assert torch.equal(answers(), before)
            network.train()
            assert not torch.equal(answers(), answers())
        assert hooked(network) == set()
        assert torch.equal(answers(), answers())


def test_dropout_zeroes_a_share_and_keeps_the_mean() -> None:
    """What stays is made larger by as much as went."""
    network = nn.Sequential(nn.Dropout(0.1))
    with torch.random.fork_rng(), dropout(network, 0.75):
        torch.manual_seed(0)
        kept = network(torch.ones(40_000))
    assert set(kept.tolist()) == {0.0, 4.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.05)


def test_a_module_of_ones_own_gets_its_rates_back(few: Data) -> None:
    """The rate is set while it trains; a rate of 0 leaves what the module has."""
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(64, 10))
    drop = network[1]
    assert isinstance(drop, nn.Dropout)
    for share, within in ((0.5, 0.5), (0.0, 0.25)):
        assert [drop.p for _ in train(network, few, replace(SHORT, dropout=share), seed=0)] == [within, within]
        assert drop.p == 0.25


def test_dropout_is_gone_after_training(few: Data) -> None:
    """Also where it was stopped after an epoch."""
    network = build(FAMILIES["images"][0], seed=0)
    running = train(network, few, replace(SHORT, dropout=0.5), seed=0)
    next(running)
    assert hooked(network) == {"head"}
    running.close()  # type: ignore[attr-defined]
    assert hooked(network) == set()


def test_augmentation_changes_the_batches_of_training_alone(few: Data) -> None:
    """It is given each batch, the strength and a generator; what is judged is as it was."""
    seen = []

    def darken(x: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
        seen.append((len(x), strength, torch.rand(1, generator=generator).item()))
        return torch.zeros_like(x)

    data = replace(few, augment=darken)
    network = nn.Sequential(nn.Flatten(), first := nn.Linear(64, 8, bias=False), nn.ReLU(), nn.Linear(8, 10))
    list(train(network, data, SHORT, seed=0))
    assert seen == []
    for _ in train(network, data, replace(SHORT, augment=0.5), seed=0):
        pass
    assert [(rows, strength) for rows, strength, _ in seen] == [(64, 0.5)] * 6
    assert len({number for *_, number in seen}) == 6
    assert first.weight.grad is not None
    assert first.weight.grad.abs().max() == 0
