"""Training: what it learns, that it repeats, and that it can be stopped."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretonas.errors import CandidateFailed
from paretonas.objectives import TASKS, Data, Epoch, Split, accuracy, train
from paretonas.spaces import Architecture, Block, Head, Network, Training, build

BLOCKS = (Block("conv", width=8), Block("conv", width=16), Block("max_pool"), Block("global_average_pool"))
SMALL = Architecture((1, 8, 8), BLOCKS, (Head(10),))
SHORT = Training(epochs=2, finetune_epochs=1, batch_size=64, learning_rate=0.02)


@pytest.fixture(scope="module")
def digits() -> Data:
    return TASKS["digits"].load()


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    """200 digits to train on and as many to judge by."""
    return Data(*(Split(split.x[:200], split.y[:200]) for split in (digits.train, digits.validation, digits.test)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are added in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(data: Data, *, weights: int = 0, seed: int = 0) -> tuple[dict[str, torch.Tensor], list[Epoch]]:
    """The state after a short training, and its records without their times."""
    network = build(SMALL, seed=weights)
    records = [replace(epoch, seconds=0.0) for epoch in train(network, data, SHORT, seed=seed)]
    return network.state_dict(), records


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# what it learns


def test_a_small_network_learns_digits(digits: Data) -> None:
    """Eight epochs give over 90 % on the validation split, and the loss falls."""
    records = list(train(build(SMALL, seed=0), digits, Training(epochs=8, learning_rate=0.03), seed=0))
    assert records[-1].accuracy > 0.9
    assert records[-1].loss < records[0].loss / 4


def test_a_record_comes_after_each_epoch(few: Data) -> None:
    """Records are numbered from 0, and their accuracy is that of the network at the time."""
    network = build(SMALL, seed=0)
    records = []
    for epoch in train(network, few, Training(epochs=3, learning_rate=0.02), seed=0):
        records.append(epoch)
        assert accuracy(network, few.validation) == epoch.accuracy
        assert epoch.seconds > 0
    assert [(epoch.phase, epoch.number) for epoch in records] == [("train", 0), ("train", 1), ("train", 2)]


def test_fine_tuning_has_its_own_epochs(few: Data) -> None:
    """The phase is in the record; no epochs of it are none."""
    network = build(SMALL, seed=0)
    records = list(train(network, few, SHORT, seed=0, phase="finetune"))
    assert [(epoch.phase, epoch.number) for epoch in records] == [("finetune", 0)]
    assert list(train(network, few, replace(SHORT, finetune_epochs=0), seed=0, phase="finetune")) == []


def test_the_first_loss_of_a_blank_network_is_that_of_chance(few: Data) -> None:
    """Where all scores are 0, the cross-entropy over ten classes is ln 10, and so is its mean over four batches."""
    network = build(Architecture((1, 8, 8), (Block("flatten"),), (Head(10),)), seed=0)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    still = Training(epochs=1, batch_size=50, learning_rate=1e-12)
    (record,) = train(network, few, still, seed=0)
    assert record.loss == pytest.approx(2.302585)


def test_every_epoch_trains_in_training_mode(few: Data) -> None:
    """Judging after an epoch does not leave the next one in evaluation: statistics count every step."""
    network = build(SMALL, seed=0)
    list(train(network, few, Training(epochs=3, batch_size=50), seed=0))
    assert network.state_dict()["block0.norms.0.num_batches_tracked"] == 3 * 4


@pytest.mark.parametrize("batch_size", [1, 7, 200, 10_000])
def test_any_batch_size_trains(few: Data, batch_size: int) -> None:
    """A batch larger than the split is the split; an incomplete last one waits."""
    plain = Architecture((1, 8, 8), (Block("flatten"), Block("linear", width=8, norm="none")), (Head(10),))
    (record,) = train(build(plain, seed=0), few, Training(epochs=1, batch_size=batch_size), seed=0)
    assert record.loss > 0


# that it repeats


def test_the_same_seed_trains_to_the_same_weights(few: Data) -> None:
    """Weights, statistics and records are the same to the last bit."""
    (one, one_records), (other, other_records) = trained(few), trained(few)
    assert equal(one, other)
    assert one_records == other_records


def test_what_else_is_drawn_does_not_matter(few: Data) -> None:
    """The global random state is neither read nor written."""
    torch.manual_seed(1)
    one, _ = trained(few)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other, _ = trained(few)
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(one, other)


def test_another_seed_trains_to_other_weights(few: Data) -> None:
    """The seed decides the order of the examples."""
    (one, one_records), (other, other_records) = trained(few), trained(few, seed=1)
    assert not equal(one, other)
    assert one_records != other_records


# that it can be stopped


def test_training_stops_when_nobody_asks_for_more(few: Data) -> None:
    """Between epochs nothing happens, and a closed generator leaves a network that works."""
    network = build(SMALL, seed=0)
    running = train(network, few, Training(epochs=100, learning_rate=0.02), seed=0)
    first = next(running)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    running.close()  # type: ignore[attr-defined]
    assert first.number == 0
    assert equal(network.state_dict(), state)
    assert list(running) == []


def contiguous(network: nn.Module) -> bool:
    return all(tensor.is_contiguous() for tensor in network.state_dict().values())


def test_the_memory_format_is_the_ordinary_one_after_training(few: Data) -> None:
    """Channels last is for training alone; whoever gets the network finds the ordinary layout."""
    network = build(SMALL, seed=0)
    within = [contiguous(network) for _ in train(network, few, SHORT, seed=0)]
    assert within == [False, False]
    assert contiguous(network)


def test_the_memory_format_is_the_ordinary_one_after_stopping(few: Data) -> None:
    """Also where the training was stopped after an epoch."""
    network = build(SMALL, seed=0)
    running = train(network, few, SHORT, seed=0)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert contiguous(network)


def diverging() -> tuple[Network, Training]:
    """Without normalisation, and at a learning rate of a million, the scores overflow in the first epoch."""
    plain = Block("conv", width=4, norm="none")
    network = build(Architecture((1, 8, 8), (plain,) * 4 + (Block("flatten"),), (Head(10),)), seed=0)
    return network, Training(epochs=3, learning_rate=1e6)


def test_a_loss_that_is_not_finite_fails_the_candidate(digits: Data) -> None:
    """CandidateFailed says that it diverged, in which epoch, and what the loss became."""
    network, training = diverging()
    with pytest.raises(CandidateFailed, match=r"the loss became (nan|inf) in epoch 1 of 3 \(train\)") as raised:
        list(train(network, digits, training, seed=0))
    assert raised.value.kind == "diverged"
    assert contiguous(network)


# accuracy


def test_accuracy_is_the_share_of_right_answers() -> None:
    """Three of four highest scores are at the label, in whatever batches they are judged."""
    split = Split(torch.eye(4)[[0, 1, 2, 3]], torch.tensor([0, 1, 2, 0]))
    for batch in (1, 3, 4, 1024):
        assert accuracy(nn.Identity(), split, batch=batch) == 0.75


def test_accuracy_is_judged_in_evaluation(few: Data) -> None:
    """Judging moves no statistics, and leaves the network in evaluation mode."""
    network = build(SMALL, seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    accuracy(network, few.validation)
    assert not network.training
    assert equal(network.state_dict(), before)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_optimizer_learns(few: Data, optimizer: str) -> None:
    """The loss falls, with label smoothing too."""
    settings = Training(epochs=4, learning_rate=0.02, optimizer=optimizer, label_smoothing=0.1)
    losses = [epoch.loss for epoch in train(build(SMALL, seed=0), few, settings, seed=0)]
    assert losses[-1] < losses[0]


def test_label_smoothing_changes_the_loss(few: Data) -> None:
    """The target is spread: what is trained differs from training without."""
    first, second = (
        [epoch.loss for epoch in train(build(SMALL, seed=0), few, Training(epochs=1, label_smoothing=share), seed=0)]
        for share in (0.0, 0.3)
    )
    assert first != second
