"""Objectives as users write them, for tests in several files."""

from dataclasses import dataclass
from pathlib import Path

import paretonas as pn


@dataclass(frozen=True)
class Layers(pn.Objective):
    """Blocks of a network, known before training."""

    unit = "blocks"
    direction = "minimize"
    early = True

    def measure(self, deployed: pn.Deployed, bench: pn.Bench) -> float:  # noqa: ARG002 - the interface has it
        return len(deployed.architecture.blocks)


@dataclass(frozen=True)
class Energy(pn.Objective):
    """Joules of one example at so many watts: a figure made of the bench's clock, with settings."""

    watts: float
    board: str = "pi"
    unit = "joules"
    direction = "minimize"
    clock = True

    def measure(self, deployed: pn.Deployed, bench: pn.Bench) -> pn.Measurement:
        latency = bench.time(deployed)
        return pn.Measurement(self.watts * latency.latency_ms / 1000, {"watts": self.watts})


@dataclass(frozen=True)
class Worst(pn.Objective):
    """The share of right answers of the hardest ten validation examples: a quality that reads the data."""

    unit = "share"
    direction = "maximize"
    quality = True

    def measure(self, deployed: pn.Deployed, bench: pn.Bench) -> float:
        x, y = next(bench.data.validation.batches(50))
        assert not isinstance(y, dict)
        return float((deployed.answering(x).argmax(1) == y).float().sort().values[:10].mean())


@dataclass(frozen=True)
class OnBoard(pn.Objective):
    """A board that is gone while a file says so; it is gone once less each time it is asked."""

    file: str
    unit = "volts"
    direction = "minimize"
    early = True
    clock = True

    def measure(self, deployed: pn.Deployed, bench: pn.Bench) -> float:  # noqa: ARG002 - the interface has it
        left = int(Path(self.file).read_text(encoding="utf-8"))
        if left:
            Path(self.file).write_text(str(left - 1), encoding="utf-8")
            raise pn.DeviceLost("the board on port 3 does not answer")
        return 5.0 + len(deployed.architecture.blocks)


class NoUnit(pn.Objective):
    """Not complete."""

    def measure(self, deployed: pn.Deployed, bench: pn.Bench) -> float:  # noqa: ARG002 - the interface has it
        return 0.0
