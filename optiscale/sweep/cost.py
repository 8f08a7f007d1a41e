"""What a cell costs: its steps, its validations, and what each takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from optiscale.config import Study
from optiscale.datamodule import batches_an_epoch
from optiscale.training import Cell
from optiscale.training.record import validation_interval

#: networks are told apart by model and width
Key = tuple[str, int | None]
#: where rates come from that short fits gave
MEASURED = "measured"


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Attributes
    ----------
    seconds
        Of wall time; NaN for a network that cannot be built or run.
    memory_mb
        Its peak in MiB: of the card, or of the process on a CPU; NaN where nothing is known of it.
    source
        Where the two come from, in words.
    problem
        What went wrong in the measurement, in one line, or "".
    """

    seconds: float
    memory_mb: float
    source: str
    problem: str = ""


def failed(problem: str) -> Cost:
    """Return the cost of a network that could not be measured at all."""
    return Cost(math.nan, math.nan, "none: it failed", problem)


@dataclass(frozen=True)
class Work:
    """What a cell does.

    Attributes
    ----------
    steps
        Of training.
    batch
        Mean number of crystals in a step.
    largest
        Most crystals in a step.
    epochs
        How often the subset is gone through, as a fraction.
    validations
        Of the whole validation part.
    """

    steps: int
    batch: float
    largest: int
    epochs: float
    validations: int


def work_of(study: Study, cell: Cell) -> Work:
    """Count what the network of a cell does."""
    training = study.models[cell.model].training
    batches = batches_an_epoch(cell.D, training.batch_size)
    steps = training.length.steps or training.length.total * batches
    unit, every = validation_interval(training)
    return Work(
        steps=steps,
        batch=cell.D / batches,
        largest=min(cell.D, training.batch_size + (cell.D % training.batch_size == 1)),
        epochs=steps / batches,
        validations=math.ceil(steps / (every * batches if unit == "epochs" else every)),
    )


@dataclass(frozen=True)
class Rates:
    """What a network takes on a machine; seconds and MiB.

    Attributes
    ----------
    step, crystal
        A step of b crystals takes `step` + b `crystal`.
    epoch
        What the end of one epoch and the beginning of the next add.
    validation
        A validation of the whole part.
    begin
        To make the network and its trainer.
    memory, memory_crystal
        The peak with at most b crystals in a step is `memory` + b `memory_crystal`.
    source
        Where this comes from, in words.
    """

    step: float
    crystal: float
    epoch: float
    validation: float
    begin: float
    memory: float
    memory_crystal: float
    source: str

    def cost(self, work: Work) -> Cost:
        """Return what a cell takes."""
        seconds = (
            self.begin
            + work.steps * (self.step + work.batch * self.crystal)
            + work.epochs * self.epoch
            + work.validations * self.validation
        )
        return Cost(seconds, self.memory + work.largest * self.memory_crystal, self.source)

    def scaled(self, factor: float, source: str) -> Rates:
        """Return those of a network with `factor` times the parameters, its memory by the root: that of its width."""
        return replace(
            self,
            step=self.step * factor,
            crystal=self.crystal * factor,
            validation=self.validation * factor,
            memory_crystal=self.memory_crystal * math.sqrt(factor),
            source=source,
        )


@dataclass(frozen=True)
class Measured:
    """What short fits told of networks.

    Attributes
    ----------
    rates
        Of each model and width that could be fitted.
    problems
        Why the others could not, or only with small batches, in one line.
    """

    rates: dict[Key, Rates]
    problems: dict[Key, str]
