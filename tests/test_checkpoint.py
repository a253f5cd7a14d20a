"""Checkpoints: a training that goes on from one is, to the last bit, the training that nothing disturbed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

import paretonas as pn
from paretonas import own
from paretonas.errors import BrokenCheckpoint, CandidateFailed, Stopped
from paretonas.objectives import Checkpoint, Epoch, LazySplit, Split, Teacher, as_task, default_metrics, restore, train
from paretonas.objectives.checkpoint import load_tensors, tensors_of
from paretonas.objectives.tasks import Data, Target
from paretonas.search.evaluate import Result, evaluate
from paretonas.spaces import Architecture, Block, Compression, Head, ModuleArchitecture, Move, Start, Training, build

BLOCKS = (Block("conv", width=6), Block("conv", width=8), Block("max_pool"), Block("global_average_pool"))
CONV = Architecture((1, 8, 8), BLOCKS, (Head(10),))
DEEP = Architecture((1, 8, 8), (BLOCKS[0], *BLOCKS[1:2] * 3, BLOCKS[3]), (Head(10),))
MLP = Architecture((1, 8, 8), (Block("flatten"), *(Block("linear", width=16),) * 2), (Head(10),))
TWO_HEADS = Architecture((1, 8, 8), BLOCKS, (Head(10, "digit"), Head(2, "parity")))
BRIEF = Training(epochs=2, finetune_epochs=2, batch_size=48, learning_rate=0.02)
ALL_AT_ONCE = replace(BRIEF, dropout=0.2, augment=0.5, label_smoothing=0.1)
ROWS = 160  # of each split: three batches, and some examples that wait for the next epoch


class Own(nn.Module):
    """What users write: tied weights, its own noise, and a buffer that is made while it runs and never saved."""

    seen: torch.Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.mix = nn.Linear(6, 6, bias=False)
        self.again = self.mix
        self.drop = nn.Dropout(0.1)
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(6, 10))
        self.register_buffer("seen", None, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).mean((2, 3))
        if self.training:
            mean = x.detach().mean(0)
            self.seen = mean if self.seen is None else 0.9 * self.seen + 0.1 * mean
            x = x + 0.01 * torch.randn_like(x)
        if self.seen is not None:
            x = x - self.seen
        return self.head(self.drop(self.again(self.mix(x)).relu()))  # type: ignore[no-any-return]


@cache
def few(task: str = "digits") -> Data:
    """The first rows of each split."""
    data = as_task(task).load()
    train, validation, test = (Split(*next(split.batches(ROWS))) for split in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)


@cache
def read_one_by_one() -> Data:
    """The same digits, as what does not fit into memory."""
    data = few()
    assert isinstance(data.train, Split)
    assert isinstance(data.train.y, torch.Tensor)
    return replace(data, train=LazySplit(TensorDataset(data.train.x, data.train.y)))


LANGUAGE = pn.DataSpec((6,), 8, vocabulary=8, per_position=True)
NEXT = LANGUAGE.architecture(
    (
        Block("embedding", width=8, vocabulary=8, length=6),
        Block("transformer", heads=2, head_width=4, hidden=16, causal=True),
        Block("sequence_norm"),
    ),
    (Head(8, tied=0),),
)


@cache
def text() -> Data:
    """Sequences of six tokens of eight; each is followed by the next higher one."""
    x = (torch.arange(ROWS)[:, None] + torch.arange(6)) % 8
    split = Split(x, (x + 1) % 8)
    return Data(LANGUAGE, (Target("head", "tokens"),), split, split, split, preprocessing={})


@cache
def wide(seed: int = 1) -> nn.Module:
    """A trained network, larger than its students."""
    network = build(Architecture((1, 8, 8), (Block("conv", width=12), *BLOCKS[1:]), (Head(10),)), seed=seed)
    list(train(network, few(), BRIEF, seed=seed))
    return network


@dataclass(frozen=True)
class Case:
    """A candidate, and what else its training depends on."""

    training: Training = BRIEF
    compression: Compression = Compression()
    architecture: Architecture = CONV
    pruning: float = 0.0
    data: Callable[[], Data] = few
    taught: bool = False
    start: Start | None = None
    parts: tuple[str, ...] = field(default=())  # of its last checkpoint, without which it would go on otherwise

    @property
    def candidate(self) -> pn.Candidate:
        return pn.Candidate(self.architecture, self.pruning, self.training, self.compression, self.start)


OWN = ModuleArchitecture((1, 8, 8), (), (Head(10),), factory=f"{__name__}:Own")
NONE_FINETUNED = replace(BRIEF, epochs=3)
TAUGHT = replace(BRIEF, distillation=0.5, feature_distillation=0.2)
CASES = {
    "adamw": Case(NONE_FINETUNED, parts=("network", "optimizer", "random")),
    "sgd": Case(replace(NONE_FINETUNED, optimizer="sgd"), parts=("network", "optimizer", "random")),
    "dropout": Case(replace(NONE_FINETUNED, dropout=0.3), architecture=MLP, parts=("random",)),
    "augmentation": Case(replace(NONE_FINETUNED, augment=0.7, optimizer="sgd"), parts=("random",)),
    "read one by one": Case(ALL_AT_ONCE, data=read_one_by_one),
    "teacher with features": Case(TAUGHT, taught=True, parts=("projections",)),
    "language, tied": Case(replace(BRIEF, dropout=0.2), architecture=NEXT, pruning=0.5, data=text),
    "several heads": Case(ALL_AT_ONCE, architecture=TWO_HEADS, data=lambda: few("digits_parity")),
    "module of one's own": Case(ALL_AT_ONCE, Compression(sparsity=0.3), OWN, parts=("network", "masks")),
    "units of each layer": Case(ALL_AT_ONCE, pruning=0.5, parts=("network",)),
    "units that compete": Case(
        replace(TAUGHT, optimizer="sgd"), Compression(criterion="taylor", scope="global"), pruning=0.5, taught=True
    ),
    "layers": Case(BRIEF, Compression(removed_layers=1, self_distillation=0.5), DEEP, parts=("trained",)),
    "zeros at once": Case(BRIEF, Compression(sparsity=0.6), pruning=0.3, parts=("masks",)),
    "zeros step by step": Case(
        replace(BRIEF, finetune_epochs=3), Compression(sparsity=0.6, schedule="gradual"), parts=("masks",)
    ),
    "two of four": Case(replace(BRIEF, optimizer="sgd"), Compression(pattern="2:4", schedule="gradual")),
    "rewinding": Case(
        ALL_AT_ONCE, Compression(sparsity=0.5, schedule="rewind"), pruning=0.3, parts=("network", "optimizer")
    ),
    "quantization-aware": Case(
        replace(BRIEF, epochs=1),
        Compression(bits=8, quantization_aware=True, self_distillation=0.3),
        parts=("ranges",),
    ),
    "trained weights, smaller": Case(BRIEF, pruning=0.5, start=Start(0, "a" * 32), parts=("optimizer",)),
    "trained weights, moved": Case(BRIEF, start=Start(0, "a" * 32, (Move("remove_layer", 1),))),
}


@dataclass
class Told:
    """What an evaluation tells on its way. checkpoints: one after each epoch, as bytes, if they are wanted."""

    wanted: bool = False
    epochs: list[Epoch] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)

    def on_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(replace(epoch, seconds=0.0))

    def on_checkpoint(self, make: Callable[[], Checkpoint]) -> None:
        if self.wanted:
            self.checkpoints.append(make().to_bytes())


def evaluated(case: Case, told: Told, *, resume: bytes | Checkpoint | None = None, **more: Any) -> Result:
    """The candidate's way, from bytes if there are any."""
    data, start = case.data(), None
    if case.start is not None:
        start = build(case.architecture, seed=5)
        list(train(start, data, BRIEF, seed=5))
    return evaluate(
        case.candidate,
        data,
        [default_metrics(data)[0], "parameters"],
        seed=3,
        teacher=Teacher(wide(), data) if case.taught else None,
        start=start,
        resume=Checkpoint.from_bytes(resume) if isinstance(resume, bytes) else resume,
        **{"on_epoch": told.on_epoch, "on_checkpoint": told.on_checkpoint, **more},
    )


@cache
def undisturbed(name: str) -> tuple[Result, Told]:
    """An evaluation of which no checkpoint is made."""
    told = Told()
    return evaluated(CASES[name], told), told


@cache
def kept(name: str) -> tuple[bytes, ...]:
    """The checkpoints of another one, after each epoch."""
    told = Told(wanted=True)
    result = evaluated(CASES[name], told)
    assert_same(result, undisturbed(name)[0])
    return tuple(told.checkpoints)


def assert_same(one: Result, other: Result) -> None:
    """Weights, statistics, architecture, int8 model and figures are equal to the last bit."""
    assert one.measured == other.measured
    assert one.deployed.architecture == other.deployed.architecture
    assert same_tensors(one.deployed.network.state_dict(), other.deployed.network.state_dict())
    models = [made.quantized.model if made.quantized else None for made in (one.deployed, other.deployed)]
    assert models[0] == models[1]


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums are added in one order; the module of this file may run."""
    monkeypatch.setattr(own, "_trusted", {OWN.factory})
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# that nothing changes


@pytest.mark.parametrize("name", CASES)
def test_going_on_after_any_epoch_changes_no_bit(name: str) -> None:
    """Whatever is trained, and however: weights, figures, epochs and later checkpoints are the undisturbed ones."""
    result, told = undisturbed(name)
    assert len(kept(name)) == len(told.epochs)
    for number, content in enumerate(kept(name)):
        again = Told(wanted=True)
        assert_same(evaluated(CASES[name], again, resume=content), result)
        assert again.epochs == told.epochs[number + 1 :]
        for one, other in zip(again.checkpoints, kept(name)[number + 1 :], strict=True):
            assert_same_checkpoint(Checkpoint.from_bytes(one), Checkpoint.from_bytes(other))


def assert_same_checkpoint(one: Checkpoint, other: Checkpoint) -> None:
    assert same_tensors(dict(one.tensors), dict(other.tensors))
    assert {**one.state, "seconds": 0.0} == {**other.state, "seconds": 0.0}


class Died(Exception):
    """A worker is gone."""


@pytest.mark.parametrize("name", ["units of each layer", "zeros step by step", "teacher with features", "rewinding"])
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(deaths=st.lists(st.integers(0, 11), max_size=4), due=st.lists(st.booleans(), min_size=20, max_size=20))
def test_dying_in_any_batch_any_number_of_times_changes_no_bit(name: str, deaths: list[int], due: list[bool]) -> None:
    """Checkpoints are made now and then: what follows the last one is trained again, and is the same again."""
    result, undisturbed_told = undisturbed(name)
    lives, last, epochs = iter([*deaths, None]), None, dict[tuple[str, int], Epoch]()
    wanted = iter(due)

    def keep(make: Callable[[], Checkpoint]) -> None:
        nonlocal last
        if next(wanted, False):
            last = make().to_bytes()

    def note(epoch: Epoch) -> None:
        epochs[epoch.phase, epoch.number] = replace(epoch, seconds=0.0)

    for left in lives:
        batches = iter(range(100))

        def die(left: int | None = left, batches: Iterator[int] = batches) -> None:
            if next(batches) == left:
                raise Died

        try:
            found = evaluated(CASES[name], Told(), resume=last, on_epoch=note, on_checkpoint=keep, on_batch=die)
        except CandidateFailed as error:
            assert "Died" in error.reason  # noqa: PT017 - it is what went through
        else:
            break
    assert_same(found, result)
    assert list(epochs.values()) == undisturbed_told.epochs


@pytest.mark.parametrize(("name", "part"), [(name, part) for name, case in CASES.items() for part in case.parts])
def test_every_part_of_a_checkpoint_counts(name: str, part: str) -> None:
    """With other numbers in one part alone the training goes on otherwise: so it is read, and needed."""
    whole = Checkpoint.from_bytes(kept(name)[-2])
    changed = {key: other(tensor) if key.startswith(f"{part}.") else tensor for key, tensor in whole.tensors.items()}
    assert not same_tensors(dict(whole.tensors), changed)
    told = Told()
    evaluated(CASES[name], told, resume=replace(whole, tensors=changed))
    assert told.epochs != undisturbed(name)[1].epochs[-1:]


def other(tensor: torch.Tensor) -> torch.Tensor:
    """Another mask, other ranges or weights; a generator of another seed."""
    if tensor.dtype == torch.bool:
        return torch.ones_like(tensor)
    if tensor.dtype == torch.uint8:
        return torch.Generator().manual_seed(9).get_state()
    return tensor * 1.5 if tensor.dtype.is_floating_point else tensor


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
import test_checkpoint as tests

torch.set_num_threads(1)
file, left = Path(sys.argv[3]), iter(range(int(sys.argv[4]), -1, -1))

def keep(make):
    part = file.with_suffix(".part")
    part.write_bytes(make().to_bytes())
    part.replace(file)

def die():
    if next(left) == 0:
        os.kill(os.getpid(), signal.SIGKILL)

tests.evaluated(tests.CASES[sys.argv[2]], tests.Told(), on_checkpoint=keep, on_batch=die)
"""


def test_a_killed_process_is_followed_by_another(tmp_path: Path) -> None:
    """After kill -9 in fine-tuning this process, which has only the file, comes to the same weights."""
    name, file = "rewinding", tmp_path / "checkpoint"
    arguments = [str(Path(__file__).parent), name, str(file), "10"]
    end = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=dict(os.environ), check=False)
    assert end.returncode == -signal.SIGKILL
    found = Checkpoint.from_bytes(file.read_bytes())
    assert (found.phase, found.epoch) == ("finetune", 0)
    assert_same(evaluated(CASES[name], Told(), resume=found), undisturbed(name)[0])


# what a checkpoint is


def test_a_checkpoint_stays_as_it_is_while_the_training_goes_on() -> None:
    """It holds copies; what is made of it later is what it was."""
    network = build(CONV, seed=0)
    running = train(network, few(), NONE_FINETUNED, seed=0)
    made = next(running).checkpoint()
    content = made.to_bytes()
    list(running)
    assert made.to_bytes() == content
    assert (made.phase, made.epoch) == ("train", 0)


def test_a_checkpoint_says_where_it_was_made() -> None:
    """Phase and epoch, numbered as in the records, and the seconds of all attempts."""
    name = "units of each layer"
    found = [Checkpoint.from_bytes(content) for content in kept(name)]
    assert [(one.phase, one.epoch) for one in found] == [
        (epoch.phase, epoch.number) for epoch in undisturbed(name)[1].epochs
    ]
    assert all(0 < one.seconds < other.seconds for one, other in pairwise(found))
    long_ago = replace(found[-1], state={**found[-1].state, "seconds": 1000.0})
    assert 1000 < evaluated(CASES[name], Told(), resume=long_ago).seconds < 1100


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shapes=st.lists(st.tuples(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(DTYPES)), max_size=6),
    epoch=st.integers(0, 10**6),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    text=st.text(),
)
def test_bytes_keep_all(shapes: list[tuple[list[int], torch.dtype]], epoch: int, rate: float, text: str) -> None:
    """Tensors of any kind and shape, also empty ones, and numbers to the last bit."""
    tensors = {
        f"network.{at}.ß{text[:3]}": torch.randint(0, 2, shape).to(dtype) for at, (shape, dtype) in enumerate(shapes)
    }
    made = Checkpoint(tensors, {"phase": "train", "epoch": epoch, "rate": rate, "of": text})
    found = Checkpoint.from_bytes(made.to_bytes())
    assert same_tensors(dict(found.tensors), tensors)
    assert [tensor.dtype for tensor in found.part("network").values()] == [
        found.tensors[key].dtype for key in found.tensors
    ]
    assert found.state == made.state


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cut=st.integers(0, 400), at=st.integers(0, 3000), byte=st.integers(0, 255))
def test_bytes_that_are_damaged_are_refused(cut: int, at: int, byte: int) -> None:
    """Cut off, or with a changed byte in the header: one sentence, or what is there reads as before."""
    content = kept("adamw")[0]
    with pytest.raises(BrokenCheckpoint, match="begins anew"):
        Checkpoint.from_bytes(content[: len(content) - 1 - cut])
    with pytest.raises(BrokenCheckpoint, match="begins anew"):
        Checkpoint.from_bytes(content[:cut])
    damaged = bytearray(content)
    damaged[at] = byte
    try:
        found = Checkpoint.from_bytes(bytes(damaged))
    except BrokenCheckpoint as error:
        assert "\n" not in str(error)  # noqa: PT017 - either of the two
    else:
        assert found.epoch >= 0


def test_bytes_of_another_format_are_refused() -> None:
    """A later paretonas may write others."""
    content = kept("adamw")[0].replace(b'format\\": 1', b'format\\": 2')
    with pytest.raises(BrokenCheckpoint, match="another paretonas"):
        Checkpoint.from_bytes(content)


# whose it is


@pytest.mark.parametrize(
    "case",
    [
        replace(CASES["adamw"], training=replace(NONE_FINETUNED, learning_rate=0.03)),
        replace(CASES["adamw"], architecture=DEEP),
        CASES["sgd"],
    ],
)
def test_a_checkpoint_of_another_candidate_is_refused(case: Case) -> None:
    """Before anything is measured or trained."""
    told, early = Told(), list[object]()
    with pytest.raises(BrokenCheckpoint, match="goes on from its own"):
        evaluated(case, told, resume=kept("adamw")[0], on_early=early.append)
    assert told.epochs == early == []


@pytest.mark.parametrize(
    "change",
    [
        lambda made: replace(made, state={**made.state, "groups": []}),
        lambda made: replace(made, state={**made.state, "groups": [{}]}),
        lambda made: replace(made, state={**made.state, "schedule": None}),
        lambda made: replace(made, tensors={k: v for k, v in made.tensors.items() if not k.startswith("random.")}),
        lambda made: replace(made, tensors={k: v[:1] if v.dim() else v for k, v in made.tensors.items()}),
        lambda made: replace(made, tensors={**made.tensors, "network.more": torch.ones(1)}),
        lambda made: replace(made, tensors={**made.tensors, "network.no.such": torch.ones(1)}),
        lambda made: replace(made, tensors={**made.tensors, "optimizer.99.step": torch.ones(1)}),
        lambda made: replace(made, tensors={**made.tensors, "optimizer.0.exp_avg": torch.ones(7)}),
        lambda made: replace(made, tensors={**made.tensors, "random.noise": torch.ones(7)}),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change: Callable[[Checkpoint], Checkpoint]) -> None:
    """One sentence, and nothing is trained."""
    told = Told()
    with pytest.raises(BrokenCheckpoint, match="anew"):
        evaluated(CASES["adamw"], told, resume=change(Checkpoint.from_bytes(kept("adamw")[0])))
    assert told.epochs == []


# on the way


def test_a_stopped_training_makes_no_checkpoint() -> None:
    """It will not go on."""
    told = Told(wanted=True)
    with pytest.raises(Stopped):
        evaluated(CASES["adamw"], told, on_epoch=lambda epoch: "enough" if epoch.number else None)
    assert len(told.checkpoints) == 1


def test_each_step_is_announced() -> None:
    """Three batches in each of two and two epochs; with a checkpoint, those after it."""
    name = "units of each layer"
    steps: list[int] = []
    evaluated(CASES[name], Told(), on_batch=lambda: steps.append(1))
    assert len(steps) == 4 * (ROWS // BRIEF.batch_size) == 12
    steps.clear()
    evaluated(CASES[name], Told(), resume=kept(name)[2], on_batch=lambda: steps.append(1))
    assert len(steps) == 3


def test_what_is_raised_before_a_step_ends_the_training() -> None:
    """A time limit goes through as it is, before the weights change, and the network has its ordinary layout."""
    late = CandidateFailed("timeout", "it took longer than a second")

    def tick() -> None:
        raise late

    with pytest.raises(CandidateFailed) as raised:
        evaluated(CASES["adamw"], Told(), on_batch=tick)
    assert raised.value is late
    network = build(CONV, seed=0)
    before = tensors_of(network)
    with pytest.raises(CandidateFailed):
        list(train(network, few(), BRIEF, seed=0, on_batch=tick))
    assert same_tensors(tensors_of(network), before)
    assert all(tensor.is_contiguous() for tensor in network.state_dict().values())


def test_what_is_restored_is_laid_out_as_after_training() -> None:
    """Strides decide which kernels run, also where a dimension is 1; so they are those that training leaves."""
    trained, restored = (build(CONV, seed=seed) for seed in (0, 1))
    list(train(trained, few(), BRIEF, seed=0))
    restore(restored, tensors_of(trained))
    for one, other in zip(trained.parameters(), restored.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_tensors_of_tied_weights_are_one() -> None:
    """A weight that has two names is kept once, and is tied again."""
    network, other = Own(), Own()
    found = tensors_of(network)
    assert "mix.weight" in found
    assert "again.weight" not in found
    load_tensors(other, found)
    assert other.again.weight is other.mix.weight
    assert torch.equal(other.again.weight, network.mix.weight)
