"""Distillation: what a teacher shows, what is minimised with it, and who cannot be one."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from paretonas.errors import UsageError
from paretonas.objectives import distillation, train
from paretonas.objectives.distillation import Lesson, Student, Teacher, check_teacher, soft_loss
from paretonas.objectives.features import by_head, caught, feature_places, run
from paretonas.objectives.regularisation import dropout
from paretonas.objectives.tasks import Data, Labels, LazySplit, Split, Target, as_task
from paretonas.spaces import Architecture, Block, DataSpec, Head, Network, Training, build, prune, pruned_architecture

SHORT = Training(epochs=2, finetune_epochs=2, batch_size=50, learning_rate=0.02)
DRAW = torch.Generator().manual_seed(0)


def conv(width: int) -> Architecture:
    return Architecture((1, 8, 8), (Block("conv", width=width), Block("global_average_pool")), (Head(10),))


def drawn(x: torch.Tensor, y: Labels, spec: DataSpec, *targets: Target) -> Data:
    """Data whose splits are all the same."""
    split = Split(x, y)
    return Data(spec, targets, split, split, split, preprocessing={})


def two_heads() -> tuple[Data, Callable[[int], Architecture]]:
    """Rows with a class and a number to tell."""
    heads = (Head(3, "kind"), Head(1, "size"))
    y = {"kind": torch.randint(3, (96,), generator=DRAW), "size": torch.randn(96, generator=DRAW)}
    targets = (Target("kind", "classes", names=("a", "b", "c")), Target("size", "number", std=2.0))
    spec = DataSpec((4,), heads)
    data = drawn(torch.randn(96, 4, generator=DRAW), y, spec, *targets)
    return data, lambda width: Architecture((4,), (Block("linear", width=width, norm="none"),), heads)


def language() -> tuple[Data, Callable[[int], Architecture]]:
    """Sequences of tokens; the head is tied to the embedding."""
    x = torch.randint(9, (64, 6), generator=DRAW)
    spec = DataSpec((6,), 9, vocabulary=9, per_position=True)
    data = drawn(x, (x + 1) % 9, spec, Target("head", "tokens"))

    def make(width: int) -> Architecture:
        blocks = (
            Block("embedding", width=width, vocabulary=9, length=6),
            layer := Block("transformer", heads=1, head_width=8, hidden=8, causal=True),
            layer.replace(shares=1),
        )
        return Architecture((6,), blocks, (Head(9, tied=0),), vocabulary=9)

    return data, make


@pytest.fixture(scope="module")
def few() -> Data:
    """200 digits to train on and as many to judge by."""
    data = as_task("digits").load()
    train_, validation, test = (Split(*next(split.batches(200))) for split in (data.train, data.validation, data.test))
    return replace(data, train=train_, validation=validation, test=test)


@pytest.fixture(params=["digits", "two heads", "language"])
def case(request: pytest.FixtureRequest, few: Data) -> tuple[Data, Callable[[int], Architecture]]:
    """Data of each kind of target, and networks for them of a width."""
    return {"digits": lambda: (few, conv), "two heads": two_heads, "language": language}[request.param]()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are added in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def state_after(data: Data, lesson: Lesson | None, training: Training = SHORT, *, width: int = 4) -> torch.Tensor:
    """All weights of a student of digits, in a row."""
    network = build(conv(width), seed=0)
    list(train(network, data, training, seed=0, lesson=lesson))
    return torch.cat([tensor.flatten() for tensor in network.state_dict().values()])


def frozen(network: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in network.state_dict().values()]


# what is minimised


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_targets_are_those_of_hinton(temperature: float) -> None:
    """T^2 times the sum of p (log p - log q) over the classes, p and q at temperature T, mean over the examples."""
    target = Target("head", "classes", names=("a", "b", "c"))
    student, teacher = (torch.randn(5, 3, dtype=torch.float64, generator=DRAW) for _ in range(2))
    p, q = (torch.softmax(scores / temperature, 1) for scores in (teacher, student))
    wanted = temperature**2 * (p * (p / q).log()).sum(1).mean()
    assert soft_loss(target, student, teacher, temperature).item() == pytest.approx(wanted.item())
    assert soft_loss(target, teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-12)


def test_tokens_are_compared_at_each_position() -> None:
    """The mean over sequences and positions is that of as many single answers."""
    student, teacher = (torch.randn(2, 5, 3, generator=DRAW) for _ in range(2))
    alone = soft_loss(Target("head", "classes"), student.flatten(0, 1), teacher.flatten(0, 1), 2.0)
    assert soft_loss(Target("head", "tokens"), student, teacher, 2.0).item() == pytest.approx(alone.item())


def test_numbers_are_compared_by_squared_error() -> None:
    """The temperature is for classes."""
    answers, taught = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [5.0]])
    assert soft_loss(Target("head", "number"), answers, taught, 4.0).item() == pytest.approx(4.5)


def test_the_loss_is_the_weighted_sum_over_the_heads() -> None:
    """(1 - w) hard + w (soft of one head + soft of the other) + f times the mean difference of the features."""
    data, make = two_heads()
    teacher, network = Teacher(build(make(6), seed=1), data), build(make(5), seed=0)
    lesson = Lesson(teacher, 0.3, temperature=2.0, features=0.7)
    student = Student(network, data, lesson, seed=0)
    x, labels = next(data.train.batches(10))
    with student.attended():
        answers = network(x)
        loss = student.loss(torch.tensor(2.0), answers, labels, x, None)
    shown = teacher.show(x, features=True)
    soft = sum(soft_loss(target, answers[target.head], shown.outputs[target.head], 2.0) for target in data.targets)
    with torch.no_grad():
        features = network.get_submodule("block0")(x)
    apart = [
        (student.projections[f"of_{head}"](features) - shown.features[head]).square().mean()
        for head in ("kind", "size")
    ]
    assert loss.item() == pytest.approx((0.7 * 2.0 + 0.3 * soft + 0.7 * sum(apart) / 2).item(), rel=1e-5)


def test_students_of_every_kind_come_near_their_teacher(case: tuple[Data, Callable[[int], Architecture]]) -> None:
    """Taught by nothing but a teacher of the same size, they answer more like it; labels have no part in it."""
    data, make = case
    network = build(make(8), seed=3)
    teacher, student = Teacher(network, data), build(make(8), seed=0)

    def apart() -> float:
        x = next(data.train.batches(50))[0]
        answers, shown = by_head(run(student, x), data), teacher.show(x).outputs
        return sum(soft_loss(t, answers[t.head], shown[t.head], 1.0).item() for t in data.targets)

    before = apart()
    list(train(student, data, replace(SHORT, epochs=10), seed=0, lesson=Lesson(teacher, 1.0, features=0.1)))
    assert apart() < before / 2


def test_a_pruned_network_learns_from_its_unpruned_self(few: Data) -> None:
    """In fine-tuning, by the same code; teacher and student differ in their widths, features too."""
    network = build(conv(8), seed=0)
    list(train(network, few, SHORT, seed=0))
    small = prune(network, pruned_architecture(conv(8), 0.5))
    before = frozen(network)
    lesson = Lesson(Teacher(network, few), 0.5, features=1.0)
    records = list(train(small, few, SHORT, seed=0, phase="finetune", lesson=lesson))
    assert [record.phase for record in records] == ["finetune"] * 2
    assert all(torch.equal(one, other) for one, other in zip(before, frozen(network), strict=True))


def test_a_lesson_of_no_weight_changes_nothing(few: Data) -> None:
    """To the last bit; one with a weight does."""
    teacher = Teacher(build(conv(8), seed=1), few)
    alone = state_after(few, None)
    assert torch.equal(state_after(few, Lesson(teacher, 0.0)), alone)
    lessons = (Lesson(teacher, 0.5), Lesson(teacher, 0.5, 2.0), Lesson(teacher, 0.0, features=0.1))
    states = [alone, *(state_after(few, lesson) for lesson in lessons)]
    assert len({tuple(state.tolist()) for state in states}) == 4


@pytest.mark.parametrize("training", [SHORT, replace(SHORT, augment=0.5, dropout=0.2)])
def test_the_same_lesson_gives_the_same_weights(few: Data, training: Training) -> None:
    """The projection is drawn from the seed too, and the global random state is left as it was."""
    teacher = Teacher(build(conv(8), seed=1), few)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        one = state_after(few, Lesson(teacher, 0.5, features=0.5), training)
        after = torch.rand(3)
        torch.manual_seed(5)
        assert torch.equal(torch.rand(3), after)
        other = state_after(few, Lesson(Teacher(build(conv(8), seed=1), few), 0.5, features=0.5), training)
    assert torch.equal(one, other)


def test_nothing_of_a_lesson_stays(few: Data) -> None:
    """No hook, no projection, also where training was stopped after an epoch."""
    network = build(conv(4), seed=0)
    names = set(network.state_dict())
    lesson = Lesson(Teacher(build(conv(8), seed=1), few), 0.5, features=1.0)
    running = train(network, few, SHORT, seed=0, lesson=lesson)
    next(running)
    assert any(part._forward_pre_hooks for part in network.modules())
    running.close()  # type: ignore[attr-defined]
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in network.modules())
    assert set(network.state_dict()) == names


# what a teacher shows


def test_a_teacher_is_never_changed(few: Data) -> None:
    """A copy of it answers: its mode, statistics and gradients stay; it may be its own student."""
    network = build(conv(8), seed=1).train()
    parts = [part.training for part in network.modules()]
    teacher = Teacher(network, few)
    before = frozen(network)
    list(train(build(conv(4), seed=0), few, SHORT, seed=0, lesson=Lesson(teacher, 0.5, features=1.0)))
    assert all(torch.equal(one, other) for one, other in zip(before, frozen(network), strict=True))
    assert [part.training for part in network.modules()] == parts
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    shown = teacher.show(next(few.train.batches(5))[0]).outputs["head"]
    list(train(network, few, SHORT, seed=0, lesson=Lesson(teacher, 0.5)))
    assert torch.equal(teacher.show(next(few.train.batches(5))[0]).outputs["head"], shown)


def test_outputs_are_answered_once_and_kept(few: Data) -> None:
    """The teacher runs over the train split once, however many students and epochs there are."""
    network = build(conv(8), seed=1)
    teacher, seen = Teacher(network, few), []
    teacher.network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    kept = teacher.outputs()
    assert kept is not None
    assert kept["head"].shape == (200, 10)
    assert sum(seen) == 200 + 1  # one to see how large they are
    for _ in range(2):
        list(train(build(conv(4), seed=0), few, SHORT, seed=0, lesson=Lesson(teacher, 0.5)))
    assert sum(seen) == 200 + 1
    list(train(build(conv(4), seed=0), few, replace(SHORT, augment=0.5), seed=0, lesson=Lesson(teacher, 0.5)))
    assert sum(seen) == 201 + 2 * 200  # what augmentation changed is answered as it comes


def test_kept_outputs_can_be_handed_in(few: Data) -> None:
    """Those of an earlier process teach the same, without the teacher being run."""
    network = build(conv(8), seed=1)
    first = Teacher(network, few)
    again = Teacher(network, few, outputs=first.outputs())
    again.network.register_forward_hook(lambda *_: pytest.fail("it is run"))
    states = [state_after(few, Lesson(teacher, 0.5)) for teacher in (first, again)]
    assert torch.equal(*states)
    for wrong in ({}, {"head": torch.zeros(199, 10)}, {"head": torch.zeros(200, 9)}):
        with pytest.raises(UsageError, match=r"must have the shape \(200, 10\)"):
            Teacher(network, few, outputs=wrong)


def test_what_does_not_fit_is_answered_as_it_comes(few: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept then, and students learn nearly the same: the sums of other batches round otherwise."""
    network = build(conv(8), seed=1)
    kept = state_after(few, Lesson(Teacher(network, few), 0.5, features=0.1))
    monkeypatch.setattr(distillation, "KEPT", 200 * 10 * 4 - 1)
    teacher = Teacher(network, few)
    assert teacher.outputs() is None
    assert torch.allclose(state_after(few, Lesson(teacher, 0.5, features=0.1)), kept, atol=1e-2)


def test_rows_that_are_read_one_by_one_are_taught_the_same(few: Data) -> None:
    """Kept outputs belong to the rows of a split that is read batch by batch, too."""
    assert isinstance(few.train, Split)
    assert isinstance(few.train.y, torch.Tensor)
    lazy = replace(few, train=LazySplit(TensorDataset(few.train.x, few.train.y)))
    states = [state_after(data, Lesson(Teacher(build(conv(8), seed=1), data), 0.5)) for data in (few, lazy)]
    assert torch.equal(*states)


# features


def test_features_are_what_comes_into_the_heads(case: tuple[Data, Callable[[int], Architecture]]) -> None:
    """Of each head, at each position where these are answered; of a shared layer at the use that leads to it."""
    data, make = case
    network = build(make(8), seed=0).eval()
    x = next(data.train.batches(5))[0]
    with caught(network, feature_places(network, data)) as found, torch.no_grad():
        answers = network(x)
    assert isinstance(network, Network)
    assert set(found) == {target.head for target in data.targets}
    for head in network.architecture.heads:
        assert torch.equal(network._answer(head, found[head.name]), by_head(answers, data)[head.name])


def test_features_of_an_early_use_are_not_those_of_a_late_one() -> None:
    """Two heads behind the first and the second use of one layer."""
    layer = Block("linear", width=4, norm="none", activation="tanh")
    heads = (Head(3, "kind", follows=0), Head(1, "size"))
    data, _ = two_heads()
    network = build(Architecture((4,), (layer, layer.replace(shares=0)), heads), seed=0)
    x = next(data.train.batches(5))[0]
    with caught(network, feature_places(network, data)) as found, torch.no_grad():
        network(x)
        network(x)  # counting begins anew
        once = network.get_submodule("block0")(x)
        assert torch.equal(found["kind"], once)
        assert torch.equal(found["size"], network.get_submodule("block0")(once))


def test_features_are_seen_before_dropout() -> None:
    """What a student is compared by is not the noise that its training adds."""
    data, make = two_heads()
    network = build(make(8), seed=0)
    x = next(data.train.batches(5))[0]
    found = []
    for share in (0.0, 0.9):
        places = feature_places(network, data)
        with torch.random.fork_rng(), caught(network, places) as seen, dropout(network, share), torch.no_grad():
            network.train()(x)
        found.append(seen["kind"])
    assert torch.equal(*found)


def test_features_of_a_module_of_ones_own_come_into_its_last_layer(few: Data) -> None:
    """Wherever the ``nn.Linear`` stands that gives the answer."""
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    shown = Teacher(teacher, few).show(next(few.train.batches(7))[0], features=True)
    assert shown.features["head"].shape == (7, 20)
    assert state_after(few, Lesson(Teacher(teacher, few), 0.5, features=1.0)).isfinite().all()


def test_features_that_cannot_be_found_are_refused(few: Data) -> None:
    """In the teacher or the student, before anything is trained; its answers can be learned from all the same."""
    odd = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softplus())
    assert state_after(few, Lesson(Teacher(odd, few), 0.5)).isfinite().all()
    with pytest.raises(UsageError, match=r"features of head 'head' cannot be found.*set feature_distillation to 0"):
        state_after(few, Lesson(Teacher(odd, few), 0.5, features=1.0))
    with pytest.raises(UsageError, match="cannot be found"):
        next(train(odd, few, SHORT, seed=0, lesson=Lesson(Teacher(build(conv(4), seed=0), few), 0.5, features=1.0)))


# who cannot be one


class Takes(nn.Module):
    """Answers whatever a function makes of (N, 1, 8, 8)."""

    def __init__(self, answer: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: torch.Tensor) -> object:
        return self.answer(x)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (build(replace(conv(4), heads=(Head(9),)), seed=0), r"\(2, 10\) for 'head', \(2, 9\) came"),
        (build(replace(conv(4), input_shape=(1, 16, 16)), seed=0), r"takes the inputs of its students"),
        (build(replace(conv(4), input_shape=(3, 8, 8)), seed=0), r"takes the inputs of its students"),
        (nn.Sequential(nn.Flatten(), nn.Linear(65, 10)), "fails at them: RuntimeError"),
        (Takes(lambda x: [x]), "a tensor of"),
        (Takes(lambda x: {"other": x}), "NoneType came"),
        (Takes(lambda x: torch.full((len(x), 10), math.nan)), "finite numbers"),
        (Takes(lambda _: int("no")), "fails at them: ValueError"),
        ("resnet", "nn.Module, str was given"),
    ],
)
def test_who_cannot_be_a_teacher(few: Data, network: nn.Module, message: str) -> None:
    """Other inputs, other classes, no tensor, no numbers: said before anything is trained."""
    for ask in (check_teacher, Teacher):
        with pytest.raises(UsageError, match=message):
            ask(network, few)


def test_another_vocabulary_is_refused() -> None:
    """Even if the tokens of the first examples are below it."""
    data, _ = language()
    blocks = (Block("embedding", width=8, vocabulary=12, length=6),)
    with pytest.raises(UsageError, match="vocabulary"):
        Teacher(build(Architecture((6,), blocks, (Head(9),), vocabulary=12), seed=0), data)


@pytest.mark.parametrize(
    "settings",
    [{"weight": 1.1}, {"weight": -0.1}, {"weight": math.nan}]
    + [{"weight": 0.5, "temperature": value} for value in (0, -1.0, math.inf, math.nan)]
    + [{"weight": 0.5, "features": value} for value in (-1, math.inf, math.nan)],
)
def test_an_impossible_lesson_is_refused(few: Data, settings: dict[str, float]) -> None:
    """The weight is from 0 to 1, the temperature above 0, that of features 0 or more."""
    with pytest.raises(UsageError, match=r"from 0 to 1|above 0|0 or more"):
        Lesson(Teacher(build(conv(4), seed=0), few), **settings)
    names = {"weight": "distillation", "features": "feature_distillation"}
    with pytest.raises(UsageError, match=r"from 0 to 1|above 0|0 or more"):
        Training(**{names.get(name, name): value for name, value in settings.items()})  # type: ignore[arg-type]


def test_a_copy_teaches_the_same(few: Data) -> None:
    """A teacher that was copied is one that has the same answers."""
    teacher = Teacher(build(conv(8), seed=1), few)
    assert torch.equal(*(state_after(few, Lesson(some, 0.5)) for some in (teacher, copy.deepcopy(teacher))))
