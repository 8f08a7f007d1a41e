"""The study file: every field of a scaling study, with its meaning and limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from optiscale.config.baseline import BaselineConfig, MagpieForest
from optiscale.config.network import NetworkConfig
from optiscale.config.strict import Strict

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
#: names become names of folders
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Split(Strict):
    """Fractions of the unique compositions that train, validate and test; `given` takes the data set's own split."""

    given: bool = False
    train: Positive = 0.8
    validation: Positive = 0.1
    test: Annotated[float, Field(ge=0)] = 0.1
    seed: Seed = 0

    @model_validator(mode="after")
    def _sums_to_one(self) -> Split:
        if abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {self.train + self.validation + self.test:g}, must be 1")
        return self

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Train, validation, test."""
        return self.train, self.validation, self.test


class Subset(Strict):
    """How the subsets of size D are drawn from the training part; they are always nested."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    stratify: Literal["none", "n_sites"] = "none"

    @field_validator("seeds")
    @classmethod
    def _unique(cls, seeds: list[int]) -> list[int]:
        return _no_duplicates(seeds)


class Data(Strict):
    """Where the crystals come from and how they are shared out."""

    source: str = "dft-shelf"
    split: Split = Split()
    subset: Subset = Subset()


class Graph(Strict):
    """Radii of the graph (Å)."""

    cutoff: Positive = 5.5
    angle_cutoff: Positive = 4.0

    @model_validator(mode="after")
    def _angles_are_edges(self) -> Graph:
        if self.angle_cutoff > self.cutoff:
            raise ValueError(f"angle_cutoff {self.angle_cutoff} is beyond cutoff {self.cutoff}; make it smaller")
        return self


class Length(Strict):
    """How long to train: `epochs` (schedule moves every epoch) or `steps` (schedule moves every step)."""

    epochs: Count | None = None
    steps: Count | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Length:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self

    @property
    def unit(self) -> Literal["epochs", "steps"]:
        """What is counted."""
        return "epochs" if self.epochs is not None else "steps"

    @property
    def total(self) -> int:
        """Epochs or steps."""
        return self.epochs or self.steps or 0


class Schedule(Strict):
    """Linear warm-up from `start_lr`, then a cosine to 0; counted in the unit of the length.

    `t_max` is the length of the cosine; None takes the whole training length, as published (arXiv:2602.05702).
    """

    warmup: Annotated[int, Field(ge=0)] = 5
    start_lr: Positive = 1e-7
    t_max: Count | None = None


class ValidateEvery(Strict):
    """How often L_val is computed on the full validation part: every k epochs or every k steps."""

    epochs: Count | None = None
    steps: Count | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> ValidateEvery:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self


class Training(Strict):
    """How one network is trained; the defaults are the published ones.

    `path` says how the network is computed: "auto" takes our own layers on merged graphs where the network has them
    (`optiscale.networks.fast`), "plain" always torch_geometric's; the results are the same up to rounding.
    """

    length: Length = Length(epochs=500)
    batch_size: Annotated[int, Field(ge=2)] = 256
    schedule: Schedule = Schedule()
    gradient_clip: Positive = 100.0
    precision: Literal["bf16-mixed", "32-true", "64-true"] = "bf16-mixed"
    validate_every: ValidateEvery = ValidateEvery(epochs=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    path: Literal["auto", "plain"] = "auto"

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Training:
        if self.schedule.warmup >= self.length.total:
            raise ValueError(
                f"the warm-up of {self.schedule.warmup} {self.length.unit} fills the length of {self.length.total}; "
                "shorten schedule.warmup"
            )
        return self


class Optimizer(Strict):
    """AdamW; `lr` holds at `reference_width`.

    `lr_rule` "inverse_parameters" scales it as lr(W) = lr * N(reference_width) / N(W), as published for TC networks
    (arXiv:2602.05702); "constant" keeps it. `max_lr` caps the result.
    """

    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    reference_width: Count = 256
    lr_rule: Literal["inverse_parameters", "constant"] = "constant"
    max_lr: Positive | None = None


class Model(Strict):
    """A network, what it predicts, its optimizer, and its training (the study's, with its own fields over it).

    Or a baseline and what it predicts: it takes none of the rest.
    """

    network: NetworkConfig | None = None
    optimizer: Optimizer | None = None
    baseline: BaselineConfig | None = None
    components: list[str] | None = None
    scalars: list[str] | None = None
    training: Training = Training()

    @model_validator(mode="after")
    def _network_or_baseline(self) -> Model:
        if self.baseline is None:
            missing = [name for name in ("network", "optimizer") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"field {missing[0]} is missing; add it, or name a baseline")
        elif self.network is not None or self.optimizer is not None:
            raise ValueError("a baseline has no network and no optimizer; remove them, or remove baseline")
        return self


class Block(Strict):
    """Cells of one model: every combination of width (of a forest: its number of trees), data size and seed."""

    model: str
    widths: list[Count | None] = [None]
    trees: Annotated[list[Count], Field(min_length=1)] | None = None
    data_sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]

    @field_validator("widths", "trees", "data_sizes", "seeds")
    @classmethod
    def _unique(cls, values: list[Any] | None) -> list[Any] | None:
        return None if values is None else _no_duplicates(values)

    @property
    def capacities(self) -> Sequence[int | None]:
        """Widths of the network, or numbers of trees of the forest."""
        return self.widths if self.trees is None else self.trees


class Output(Strict):
    """What is kept beside the records."""

    weights: Literal["none", "best"] = "none"


class Sweep(Strict):
    """How the cells are run; none of it changes a result.

    `workers` processes side by side, torch `threads` in each. A run writes a checkpoint every `checkpoint_s` seconds,
    so that a shorter one writes none. A run whose worker was killed, hung (no step for `hang_s` seconds) or could not
    read or write a file is tried again up to `retries` times. `order` says which run goes first: "balanced" gives every
    D and every width of each model a value, then takes the longest; "longest", "shortest"; "grid" as the study says.
    `loggers` show learning curves elsewhere, too.
    """

    workers: Count = 1
    threads: Count | None = None
    retries: Annotated[int, Field(ge=0)] = 2
    checkpoint_s: Positive = 300.0
    hang_s: Positive = 1800.0
    order: Literal["balanced", "longest", "shortest", "grid"] = "balanced"
    loggers: list[Literal["tensorboard", "wandb"]] = []

    @field_validator("loggers")
    @classmethod
    def _unique(cls, loggers: list[Literal["tensorboard", "wandb"]]) -> list[Literal["tensorboard", "wandb"]]:
        return _no_duplicates(loggers)


class Study(Strict):
    """A scaling study."""

    name: Name
    description: str = ""
    data: Data = Data()
    graph: Graph = Graph()
    training: Training = Training()
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    grid: Annotated[list[Block], Field(min_length=1)]
    output: Output = Output()
    sweep: Sweep = Sweep()

    @model_validator(mode="before")
    @classmethod
    def _training_of_models(cls, content: Any) -> Any:
        shared = content.get("training") if isinstance(content, dict) else None
        models = content.get("models") if isinstance(content, dict) else None
        if not isinstance(models, dict) or not isinstance(shared, dict):
            return content
        resolved = {
            name: {**model, "training": _merge(shared, model.get("training", {}))} if isinstance(model, dict) else model
            for name, model in models.items()
        }
        return {**content, "models": resolved}

    @model_validator(mode="after")
    def _models_exist(self) -> Study:
        for block in self.grid:
            if block.model not in self.models:
                raise ValueError(f"grid names the model {block.model!r}; models has {', '.join(self.models)}")
            baseline = self.models[block.model].baseline
            if block.trees is not None and not isinstance(baseline, MagpieForest):
                raise ValueError(f"grid has trees for {block.model!r}, which is no forest; remove them")
            if baseline is not None and block.widths != [None]:
                raise ValueError(f"grid has widths for {block.model!r}, which is a baseline; a forest varies in trees")
        return self

    def resolved(self) -> dict[str, Any]:
        """Return the content of a study file that gives this study from any folder, each training stated once."""
        content = self.model_dump(mode="json")
        for model in content["models"].values():
            differs = {key: value for key, value in model.pop("training").items() if content["training"][key] != value}
            if differs:
                model["training"] = differs
        if Path(self.data.source).exists():
            content["data"]["source"] = str(Path(self.data.source).resolve())
        return content

    def default_folder(self) -> Path:
        """Where results go unless asked otherwise."""
        return Path("results") / self.name


def _merge(base: dict[str, Any], over: Any) -> Any:
    """Replace fields of `base` by those of `over`, going into nested fields; one-of pairs replace each other."""
    if not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        if key in ("length", "validate_every") or not (isinstance(value, dict) and isinstance(inner, dict)):
            merged[key] = value
        else:
            merged[key] = _merge(inner, value)
    return merged


def _no_duplicates(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError(f"{values} repeats a value; name each once")
    return values
