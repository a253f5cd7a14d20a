"""A training script to start a project from: it stands beside ``net.py`` and needs nothing of ours."""

import json
from textwrap import indent
from typing import TYPE_CHECKING

from ...objectives import Data, DigitsParity
from ...objectives.tasks import Digits
from ...spaces import DataSpec
from .card import what_comes_in

if TYPE_CHECKING:
    from ..trial import Trial

LEFT_OUT = ("dropout", "augment", "distillation", "feature_distillation")  # what the script does not do
TEMPLATE = '''"""Train the network of net.py on data of your own, from the weights beside it or from scratch.

    python train.py                                # from net.safetensors, to trained.safetensors
    python train.py --from-scratch --epochs {epochs}
    python train.py --epochs 0                     # only judge it

It needs torch and safetensors. Put your own data into data(){default}.
The settings are those that the search trained the network with.{left_out}
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from net import Net

HERE = Path(__file__).parent
EPOCHS, FINETUNING_EPOCHS = {epochs}, {finetune_epochs}  # from scratch, and from the weights
BATCH = {batch}
LEARNING_RATE, FINETUNING_RATE = {rate!r}, {finetune!r}  # the highest of a one-cycle schedule
WEIGHT_DECAY = {decay!r}
LABEL_SMOOTHING = {smoothing!r}
SEED = {seed}
HEADS = {heads}  # what each answers
MEASURES = {measures}  # what each is judged by
{numbers}

def data() -> tuple[TensorDataset, TensorDataset]:
    """Examples to train on and to judge on, as TensorDataset(x, y){several}.

    x: {comes_in}, prepared as "preprocessing" in net.json says.
{labels}
    """
{examples}


def loss_of(answers: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """The mean loss of a batch, summed over the heads."""
    losses = []
    for head{kind} in HEADS{items}:
        answer, label = answers[head], labels[head]
{losses}
    return torch.stack(losses).sum()


@torch.no_grad()
def judge(net: nn.Module, examples: TensorDataset, device: torch.device) -> dict[str, float]:
    """{judges} of each head."""
    net.eval()
    right = dict.fromkeys(HEADS, 0.0)
    count = dict.fromkeys(HEADS, 0)
    for x, *ys in DataLoader(examples, batch_size=256):
        for head, answer, y in zip(HEADS, by_head(net(x.to(device))).values(), ys):
            answer = answer.cpu()
{judged}
            count[head] += y.numel()
    return {{head: right[head] / count[head] for head in HEADS}}


def by_head(answers: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """The answers of the network by the names of its heads, in the order of HEADS."""
    if isinstance(answers, dict):
        return {{head: answers[head] for head in HEADS}}
    return dict.fromkeys(HEADS, answers)


def train(net: nn.Module, examples: TensorDataset, test: TensorDataset, *, epochs: int, rate: float) -> None:
    """Train the network in place, and say after each epoch how good it is."""
    device = next(net.parameters()).device
    batches = DataLoader(examples, batch_size=min(BATCH, len(examples)), shuffle=True, drop_last=True)
    optimizer = {optimizer}
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=epochs * len(batches))
{masks}    for epoch in range(epochs):
        net.train()
        total = 0.0
        for x, *ys in batches:
            labels = {{head: y.to(device) for head, y in zip(HEADS, ys)}}
            loss = loss_of(by_head(net(x.to(device))), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
{masked}            schedule.step()
            total += loss.item()
        mean = total / len(batches)
        print(f"epoch {{epoch + 1}} of {{epochs}}: loss {{mean:.4f}}, {{said(judge(net, test, device))}}")


def said(figures: dict[str, float]) -> str:
    """The figures of judge in words."""
    return ", ".join(f"{{MEASURES[HEADS[head]]}} of {{head}} {{value:.4f}}" for head, value in figures.items())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--from-scratch", action="store_true", help="begin with random weights")
    options.add_argument("--epochs", type=int, help="passes over the data; 0 only judges")
    options.add_argument("--to", type=Path, default=HERE / "trained.safetensors", help="file for the weights")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = options.parse_args()

    torch.manual_seed(SEED)
    net = Net()
    if not given.from_scratch:
        net.load_state_dict(load_file(HERE / "net.safetensors"))
    net.to(given.device)
    examples, test = data()
    print(f"before: {{said(judge(net, test, torch.device(given.device)))}}")
    epochs = given.epochs if given.epochs is not None else EPOCHS if given.from_scratch else FINETUNING_EPOCHS
    if epochs > 0:
        train(net, examples, test, epochs=epochs, rate=LEARNING_RATE if given.from_scratch else FINETUNING_RATE)
        state = {{name: tensor.detach().cpu().contiguous().clone() for name, tensor in net.state_dict().items()}}
        save_file(state, given.to)
        print(f"the weights are in {{given.to}}")


if __name__ == "__main__":
    main()
'''
DIGITS = '''    try:  # the data of the search, and its splits
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        return random_data()
    pixels, digits = load_digits(return_X_y=True)
    rows, test = train_test_split(range(len(digits)), test_size=0.2, stratify=digits, random_state=0)
    x = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(digits, dtype=torch.int64)
    return TensorDataset(x[rows], {labels}), TensorDataset(x[test], {tested})


def random_data() -> tuple[TensorDataset, TensorDataset]:
    """Examples of the right shape, from which nothing can be learned."""
'''
RANDOM = """    print("these are random examples, from which nothing can be learned: put your own into data()")
    x = {x}
    {y}
    return TensorDataset(x[:192], {first}), TensorDataset(x[192:], {last})"""


def write_script(trial: "Trial", data: Data) -> str:
    """The text of ``train.py`` for a trial's network."""
    training, heads = trial.candidate.training, {target.head: target.kind for target in data.targets}
    kinds = ["number" if kind == "number" else "classes" for kind in heads.values()]
    kinds = list(dict.fromkeys(kinds))
    numbers = {target.head: (target.mean, target.std) for target in data.targets if target.kind == "number"}
    shipped = type(trial.study.definition.task) in (Digits, DigitsParity)
    sparse = trial.candidate.compression.sparse
    left_out = [name for name in LEFT_OUT if getattr(training, name)]
    return TEMPLATE.format(
        epochs=training.epochs,
        finetune_epochs=max(1, training.finetune_epochs),
        batch=training.batch_size,
        rate=training.learning_rate,
        finetune=training.learning_rate * training.finetune_rate,
        decay=training.weight_decay,
        smoothing=training.label_smoothing,
        seed=trial.evaluation.seed,
        heads=json.dumps(heads),
        numbers=f"SCALES = {json.dumps(numbers)}  # mean and standard deviation of a number\n" if numbers else "",
        default=".\nAs it stands these are the digits of the search, if scikit-learn is installed" if shipped else "",
        left_out=f" Not done here: {', '.join(left_out)}." if left_out else "",
        several="" if len(heads) == 1 else ", with a y for each head in the order of HEADS",
        comes_in=what_comes_in(data.spec),
        labels="\n".join(_labels(data)),
        examples=_examples(data, shipped=shipped),
        losses=_lines(LOSSES, kinds, 8),
        judged=_lines(JUDGED, kinds, 12),
        judges=JUDGES[kinds[0]] if len(kinds) == 1 else "The share of right answers or the mean absolute error",
        measures=json.dumps({kind: MEASURES[kind] for kind in dict.fromkeys(heads.values())}),
        kind=", kind" if len(kinds) > 1 else "",
        items=".items()" if len(kinds) > 1 else "",
        optimizer=_optimizer(training.optimizer),
        masks=MASKS if sparse else "",
        masked=MASKED if sparse else "",
    )


MEASURES = {"classes": "accuracy", "tokens": "accuracy", "number": "mean absolute error"}
JUDGES = {"classes": "The share of right answers", "number": "The mean absolute error"}
LOSSES = {
    "number": """mean, std = SCALES[head]
losses.append(nn.functional.mse_loss(answer[:, 0], (label - mean) / std))""",
    "classes": """scores, classes = answer.flatten(0, -2), label.flatten()
losses.append(nn.functional.cross_entropy(scores, classes, label_smoothing=LABEL_SMOOTHING))""",
}  # of an answer and a label of a head
JUDGED = {
    "number": """mean, std = SCALES[head]
right[head] += float((answer[:, 0] * std + mean - y).abs().sum())""",
    "classes": "right[head] += float((answer.argmax(-1) == y).sum())",
}
MASKS = """    zeros = [(weight, weight.detach() == 0) for weight in net.parameters() if weight.dim() > 1]
"""
MASKED = """            with torch.no_grad():
                for weight, zero in zeros:
                    weight[zero] = 0
"""


def _lines(code: dict[str, str], kinds: list[str], depth: int) -> str:
    """What is done for the kinds of head that there are; a condition where there are both."""
    space = " " * depth
    if len(kinds) == 1:
        return indent(code[kinds[0]], space)
    kind = "kind" if code is LOSSES else "HEADS[head]"
    parts = [f'{space}if {kind} == "number":', indent(code["number"], space + "    "), f"{space}else:"]
    return "\n".join([*parts, indent(code["classes"], space + "    ")])


def _optimizer(word: str) -> str:
    if word == "sgd":
        return "torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)"
    return "torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)"


def _labels(data: Data) -> list[str]:
    """What the y of each head are, a line each."""
    lines = []
    for target, head in zip(data.targets, data.spec.heads, strict=True):
        of = "y" if len(data.targets) == 1 else f"y of {target.head}"
        if target.kind == "number":
            lines.append(f"    {of}: (N,) float32, in its own unit.")
        elif target.kind == "tokens":
            lines.append(
                f"    {of}: (N, {data.spec.input_shape[-1]}) int64, the token that comes next at each position."
            )
        else:
            lines.append(f"    {of}: (N,) int64, the class from 0 to {head.outputs - 1}; net.json has their names.")
    return lines


def _examples(data: Data, *, shipped: bool) -> str:
    """The body of ``data()``."""
    names = [f"y{place}" if len(data.targets) > 1 else "y" for place in range(len(data.targets))]
    random = RANDOM.format(
        x=_random_input(data.spec),
        y="\n    ".join(f"{name} = {value}" for name, value in zip(names, _random_labels(data), strict=True)),
        first=", ".join(f"{name}[:192]" for name in names),
        last=", ".join(f"{name}[192:]" for name in names),
    )
    if not shipped:
        return random
    answers = ("y", "y % 2")[: len(names)]  # which digit, and whether it is odd
    parts = (", ".join(answer.replace("y", f"y[{rows}]") for answer in answers) for rows in ("rows", "test"))
    return DIGITS.format(labels=next(parts), tested=next(parts)) + random


def _random_input(spec: DataSpec) -> str:
    shape = ", ".join(map(str, (256, *spec.input_shape)))
    if spec.vocabulary is not None:
        return f"torch.randint({spec.vocabulary}, ({shape}))"
    if not spec.categories:
        return f"torch.rand({shape})"
    numbers = spec.input_shape[0] - len(spec.categories)
    codes = ", ".join(f"torch.randint({count}, (256, 1))" for count in spec.categories)
    return f"torch.cat([torch.rand(256, {numbers}), {codes}], 1)"


def _random_labels(data: Data) -> list[str]:
    length = f", {data.spec.input_shape[-1]}" if data.spec.per_position else ","
    return [
        f"torch.rand(256) * {target.std!r} + {target.mean!r}"
        if target.kind == "number"
        else f"torch.randint({head.outputs}, (256{length}))"
        for target, head in zip(data.targets, data.spec.heads, strict=True)
    ]
