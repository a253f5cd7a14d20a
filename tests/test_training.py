"""Training: what it learns, what is minimised, that it repeats, and that it can be stopped."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from paretonas.errors import CandidateFailed
from paretonas.objectives import Epoch, default_metrics, quality, train
from paretonas.objectives.distillation import Lesson, Teacher
from paretonas.objectives.tasks import Data, Labels, LazySplit, Split, Target, as_task
from paretonas.objectives.training import loss_of
from paretonas.spaces import Architecture, Block, DataSpec, Head, Training, build
from paretonas.spaces.sparsity import masks_of

BLOCKS = (Block("conv", width=8), Block("conv", width=16), Block("max_pool"), Block("global_average_pool"))
SMALL = Architecture((1, 8, 8), BLOCKS, (Head(10),))
SHORT = Training(epochs=2, finetune_epochs=1, batch_size=64, learning_rate=0.02)


@pytest.fixture(scope="module")
def digits() -> Data:
    return as_task("digits").load()


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    """200 digits to train on and as many to judge by."""
    return first_rows(digits, 200)


def first_rows(data: Data, rows: int) -> Data:
    """The first rows of each split."""
    train, validation, test = (Split(*next(split.batches(rows))) for split in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)


def drawn_data(x: torch.Tensor, y: Labels, spec: DataSpec, *targets: Target) -> Data:
    """Data whose splits are all the same."""
    split = Split(x, y)
    return Data(spec, targets, split, split, split, preprocessing={})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are added in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(
    data: Data, architecture: Architecture = SMALL, training: Training = SHORT, *, seed: int = 0
) -> tuple[dict[str, torch.Tensor], list[Epoch]]:
    """The state after a short training, and its records without their times."""
    network = build(architecture, seed=0)
    records = [replace(epoch, seconds=0.0) for epoch in train(network, data, training, seed=seed)]
    return network.state_dict(), records


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# what it learns


def test_a_small_network_learns_digits(digits: Data) -> None:
    """Eight epochs give over 90 % on the validation split, and the loss falls."""
    records = list(train(build(SMALL, seed=0), digits, Training(epochs=8, learning_rate=0.03), seed=0))
    assert records[-1].score > 0.9
    assert records[-1].loss < records[0].loss / 4


def test_a_record_comes_after_each_epoch(few: Data) -> None:
    """Records are numbered from 0, and their score is that of the network at the time."""
    network = build(SMALL, seed=0)
    records = []
    for epoch in train(network, few, Training(epochs=3, learning_rate=0.02), seed=0):
        records.append(epoch)
        assert quality(network, few.validation, few, ["accuracy"]) == {"accuracy": epoch.score}
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


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_optimizer_learns(few: Data, optimizer: str) -> None:
    """The loss falls, with label smoothing too."""
    settings = Training(epochs=4, learning_rate=0.02, optimizer=optimizer, label_smoothing=0.1)
    losses = [epoch.loss for epoch in train(build(SMALL, seed=0), few, settings, seed=0)]
    assert losses[-1] < losses[0]


# what is minimised


def test_classes_are_trained_by_cross_entropy(few: Data) -> None:
    """The smoothed target gives the share away evenly over the classes (Szegedy et al. 2016, section 7)."""
    scores, y = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    logs = scores.double().log_softmax(1)
    told = -logs.gather(1, y[:, None]).mean()
    for share in (0.0, 0.3):
        wanted = (1 - share) * told - share * logs.mean()
        assert loss_of(scores, y, few, label_smoothing=share).item() == pytest.approx(wanted.item())


def test_numbers_are_trained_by_squared_error() -> None:
    """Of the standardised number; there is nothing to smooth."""
    y = torch.tensor([1.0, 0.0, -2.0])
    data = drawn_data(torch.zeros(3, 2), y, DataSpec((2,), 1), Target("head", "number", std=9))
    answers = torch.tensor([[0.0], [0.0], [2.0]])
    assert loss_of(answers, y, data, label_smoothing=0.5).item() == pytest.approx(17 / 3)


def test_tokens_are_trained_at_all_positions() -> None:
    """The mean of -log p over sequences and positions, smoothed or not."""
    draw = torch.Generator().manual_seed(0)
    y, scores = torch.randint(7, (4, 5), generator=draw), torch.randn(4, 5, 7, generator=draw)
    data = drawn_data(y, y, DataSpec((5,), 7, vocabulary=7, per_position=True), Target("head", "tokens"))
    logs = scores.double().log_softmax(2)
    told = -logs.gather(2, y[..., None]).mean()
    for share in (0.0, 0.3):
        wanted = (1 - share) * told - share * logs.mean()
        assert loss_of(scores, y, data, label_smoothing=share).item() == pytest.approx(wanted.item())


def test_heads_are_trained_by_the_sum_of_their_losses() -> None:
    """A class and a number of the same row."""
    y = {"digit": torch.tensor([0, 2]), "size": torch.tensor([1.0, 3.0])}
    spec = DataSpec((2,), (Head(3, "digit"), Head(1, "size")))
    data = drawn_data(torch.zeros(2, 2), y, spec, Target("digit", "classes"), Target("size", "number"))
    answers = {"size": torch.zeros(2, 1), "digit": torch.zeros(2, 3)}
    assert loss_of(answers, y, data).item() == pytest.approx(math.log(3) + 5)


def test_the_score_is_the_first_default_metric() -> None:
    """Of a number that the network cannot but learn, the error falls, in the number's own unit."""
    x = torch.randn(128, 2, generator=torch.Generator().manual_seed(0))
    data = drawn_data(x, x[:, 0], DataSpec((2,), 1), Target("head", "number", mean=3, std=100))
    network = build(Architecture((2,), (), (Head(1),)), seed=0)
    records = list(train(network, data, Training(epochs=10, batch_size=32, learning_rate=0.1), seed=0))
    assert records[-1].score == quality(network, data.validation, data, ["mae"])["mae"]
    assert records[-1].score < 10 < records[0].score


def test_two_tasks_are_learned_at_once() -> None:
    """Each head has its own answer: digits and whether they are even."""
    data = as_task("digits_parity").load()
    network = build(Architecture((1, 8, 8), BLOCKS, data.spec.heads), seed=0)
    records = list(train(network, data, Training(epochs=5, learning_rate=0.03), seed=0))
    found = quality(network, data.validation, data, default_metrics(data))
    assert records[-1].score == found["digit.accuracy"] > 0.8
    assert found["parity.accuracy"] > 0.8


def test_a_language_model_learns_what_comes_next() -> None:
    """Each token is followed by the next higher one: the perplexity goes from 8 towards 1."""
    x = (torch.arange(64)[:, None] + torch.arange(6)) % 8
    spec = DataSpec((6,), 8, vocabulary=8, per_position=True)
    blocks = (Block("embedding", width=8, vocabulary=8, length=6), Block("transformer", heads=1, hidden=8, causal=True))
    network = build(spec.architecture(blocks), seed=0)
    data = drawn_data(x, (x + 1) % 8, spec, Target("head", "tokens"))
    records = list(train(network, data, Training(epochs=20, batch_size=16, learning_rate=0.03), seed=0))
    assert records[0].score > 4
    assert records[-1].score < 1.5


@pytest.mark.parametrize(
    "other", [replace(SHORT, label_smoothing=0.3), replace(SHORT, dropout=0.3), replace(SHORT, augment=0.3)]
)
def test_a_hyperparameter_changes_what_is_learned(few: Data, other: Training) -> None:
    """The loss is another one."""
    losses = [[epoch.loss for epoch in trained(few, training=training)[1]] for training in (SHORT, other)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_loop_is_the_one_that_anyone_would_write(few: Data, optimizer: str) -> None:
    """Without a teacher and without masks: to the last bit the weights that these lines give."""
    settings = replace(SHORT, optimizer=optimizer, label_smoothing=0.1)
    network, steps = build(SMALL, seed=0).to(memory_format=torch.channels_last), 200 // 64
    if optimizer == "adamw":
        by: torch.optim.Optimizer = torch.optim.AdamW(network.parameters(), 0.02, weight_decay=0.01, fused=True)
    else:
        by = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, nesterov=True, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(by, 0.02, total_steps=2 * steps)
    shuffle = torch.Generator().manual_seed(7)
    for _ in range(2):
        network.train()
        for x, y in few.train.batches(64, torch.randperm(200, generator=shuffle)[: steps * 64]):
            assert isinstance(y, torch.Tensor)
            by.zero_grad()
            nn.functional.cross_entropy(network(x), y, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
            by.step()
            schedule.step()
    assert equal(network.state_dict(), trained(few, training=settings, seed=7)[0])


def test_a_lesson_and_zeros_go_with_all_the_rest(few: Data) -> None:
    """Teacher, features, masks, dropout and augmentation at once: it learns, repeats, and the zeros are zeros."""
    wide = Architecture((1, 8, 8), (Block("conv", width=32), *BLOCKS[1:]), (Head(10),))
    teacher = Teacher(build(wide, seed=1), few)
    states = []
    for _ in range(2):
        network = build(SMALL, seed=0)
        masks = masks_of(network, 0.5)
        lesson = Lesson(teacher, 0.5, features=0.1)
        losses = [epoch.loss for epoch in train(network, few, RANDOM, seed=0, lesson=lesson, sparsity=masks)]
        assert losses[-1] < losses[0]
        assert all((network.get_parameter(name)[~mask] == 0).all() for name, mask in masks.items())
        states.append(network.state_dict())
    assert equal(*states)


# that it repeats


RANDOM = replace(SHORT, dropout=0.2, augment=0.5)


@pytest.mark.parametrize("training", [SHORT, RANDOM])
def test_the_same_seed_trains_to_the_same_weights(few: Data, training: Training) -> None:
    """Weights, statistics and records are the same to the last bit."""
    (one, one_records), (other, other_records) = (trained(few, training=training) for _ in range(2))
    assert equal(one, other)
    assert one_records == other_records


@pytest.mark.parametrize("training", [SHORT, RANDOM])
def test_what_else_is_drawn_does_not_matter(few: Data, training: Training) -> None:
    """The global random state is neither read nor written, also by whoever draws between the epochs."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one, _ = trained(few, training=training)
        torch.manual_seed(2)
        network = build(SMALL, seed=0)
        for _ in train(network, few, training, seed=0):
            between = torch.rand(3)
        after = torch.rand(3)
        torch.manual_seed(2)
        torch.rand(3)
        assert torch.equal(torch.rand(3), between)
        assert torch.equal(torch.rand(3), after)
    assert equal(one, network.state_dict())


@pytest.mark.parametrize("task", ["digits", "digits_parity"])
def test_examples_that_are_read_batch_by_batch_train_to_the_same_weights(task: str) -> None:
    """What does not fit into memory is trained on as what does."""
    data = first_rows(as_task(task).load(), 200)
    architecture = Architecture((1, 8, 8), BLOCKS, data.spec.heads)
    lazy = replace(data, train=read_lazily(data.train), validation=read_lazily(data.validation))
    (one, one_records), (other, other_records) = (trained(some, architecture, RANDOM) for some in (data, lazy))
    assert equal(one, other)
    assert one_records == other_records


def read_lazily(split: Split | LazySplit) -> LazySplit:
    """The same examples through a torch Dataset."""
    assert isinstance(split, Split)
    if isinstance(split.y, torch.Tensor):
        return LazySplit(TensorDataset(split.x, split.y))
    rows = [(x, {head: labels[row] for head, labels in split.y.items()}) for row, x in enumerate(split.x)]
    return LazySplit(rows)  # type: ignore[arg-type]


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


def diverging() -> tuple[nn.Module, Training]:
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


def test_an_error_that_is_not_finite_fails_the_candidate() -> None:
    """The loss of a step can be finite, and the error of the network after it not."""
    x = torch.full((4, 1), 1e20)
    data = drawn_data(x, torch.zeros(4), DataSpec((1,), 1), Target("head", "number"))
    network = nn.Linear(1, 1)
    nn.init.zeros_(network.weight)
    nn.init.ones_(network.bias)
    with pytest.raises(CandidateFailed, match=r"nan|inf") as raised:
        list(train(network, data, Training(epochs=1, optimizer="sgd", learning_rate=1e20), seed=0))
    assert raised.value.kind == "diverged"


@pytest.mark.parametrize(("rows", "batch_size"), [(200, 1), (1, 64)])
def test_a_batch_of_one_example_cannot_be_normalised(few: Data, rows: int, batch_size: int) -> None:
    """The candidate is invalid, and the reason says what to do."""
    network = build(Architecture((1, 8, 8), (Block("flatten"), Block("linear", width=8)), (Head(10),)), seed=0)
    with pytest.raises(CandidateFailed, match="a batch_size of 2 or more") as raised:
        list(train(network, first_rows(few, rows), Training(epochs=1, batch_size=batch_size), seed=0))
    assert raised.value.kind == "invalid"
