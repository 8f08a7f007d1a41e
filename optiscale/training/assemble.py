"""The parts of a run, put together: network, module, data, trainer."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment

from optiscale.config import Study, Training
from optiscale.datamodule import OpticalDataModule
from optiscale.datamodule.chunks import ON_CARD, ON_HOST, ON_HOST_SLOWLY, Pace, ResidentDataModule
from optiscale.dataset import OpticalDataset
from optiscale.networks import count_parameters
from optiscale.networks.fast import why_not_fast
from optiscale.training.cell import (
    Cell,
    fingerprint,
    learning_rate,
    make_network,
    network_config,
    optimizer_config,
    places,
    target_spec,
)
from optiscale.training.guard import AtomicCheckpoints, Guard
from optiscale.training.module import OpticalModule
from optiscale.training.options import RunOptions, Way, on_gpu
from optiscale.training.record import validation_interval
from optiscale.training.recorder import Recorder
from optiscale.training.resident import CompiledModule, ResidentModule

#: steps from which compiling pays: between what the first run of a network and width needs, and one whose compiled
#: code is in the cache (`benchmarks/compile_time.py`)
COMPILED_FROM = 10_000
#: weights times crystals of a batch up to which a step on a processor takes some tenths of a second at most
_QUICK = 1e8
_MODULES: dict[Way, type[OpticalModule]] = {
    "plain": OpticalModule,
    "resident": ResidentModule,
    "compiled": CompiledModule,
}


@dataclass(frozen=True)
class Run:
    """A cell ready to be trained."""

    module: OpticalModule
    data: OpticalDataModule
    trainer: pl.Trainer
    recorder: Recorder
    N: int
    message_passing: str


def assemble(study: Study, cell: Cell, dataset: OpticalDataset, options: RunOptions) -> Run:
    """Seed, then build everything that a run of `cell` needs."""
    model = study.models[cell.model]
    pl.seed_everything(cell.seed, workers=True, verbose=False)  # before the network is built
    targets = target_spec(model, dataset.manifest)
    network = make_network(study, cell, targets)
    if model.training.precision == "64-true":
        network = network.double()  # Lightning does so after it has read a checkpoint, which would lose digits
    components, scalars = places(dataset.manifest, targets)
    steps = model.training.length.steps or -(-cell.D // model.training.batch_size) * (model.training.length.epochs or 0)
    way = options.way or way_of(model.training, network, steps=steps, cut=options.micro_batch is not None)
    module = _MODULES[way](
        network,
        training=model.training,
        lr=learning_rate(study, cell, targets),
        weight_decay=optimizer_config(study, cell).weight_decay,
        components=components,
        scalars=scalars,
        fingerprint=fingerprint(study, cell, dataset.hash),
        micro_batch=options.micro_batch,
    )
    data = cell_data(study, cell, dataset, network, way=way)
    recorder = Recorder(
        keep_weights=study.output.weights == "best", steps_an_epoch=data.batches_an_epoch, report=options.report
    )
    return Run(
        module=module,
        data=data,
        trainer=_trainer(model.training, recorder, options, data),
        recorder=recorder,
        N=count_parameters(network),
        message_passing=network_config(study, cell).message or str(getattr(network, "default_message", "")),
    )


def way_of(training: Training, network: torch.nn.Module, *, steps: int, cut: bool = False) -> Way:
    """Say how a run is computed (see `Training.path`); the results are the same up to rounding.

    Parameters
    ----------
    training
        Its device and precision decide.
    network
        May have no fast form.
    steps
        Of the whole run: a short one would be over before the compiler is.
    cut
        Whether batches are cut into micro-batches, which only the plain way knows.
    """
    if training.path == "plain" or cut or why_not_fast(network) is not None:
        return "plain"
    if not on_gpu(training):
        # in bfloat16 a processor gains nothing by merged graphs, whose sums would lose digits
        return "plain" if training.precision == "bf16-mixed" else "resident"
    if training.precision == "64-true" or not _has_kernels():
        return "plain"
    return "compiled" if steps >= COMPILED_FROM else "resident"


def _has_kernels() -> bool:
    """Whether our kernels run here: they are in Triton's language, and count in bfloat16 as cards since Ampere do."""
    if importlib.util.find_spec("triton") is None:
        return False
    return not torch.cuda.is_available() or torch.cuda.get_device_capability() >= (8, 0)


def cell_data(
    study: Study, cell: Cell, dataset: OpticalDataset, network: torch.nn.Module, *, way: Way = "plain"
) -> OpticalDataModule:
    """Return the data module of a cell, for one way to compute it."""
    training = study.models[cell.model].training
    parts: dict[str, Any] = {
        "data": study.data,
        "graph": study.graph,
        "D": cell.D,
        "subset_seed": cell.subset_seed,
        "batch_size": training.batch_size,
        "seed": cell.seed,
        "angles": bool(getattr(network, "needs_angles", True)),
    }
    if way in ("resident", "compiled"):
        unit, every = validation_interval(training)
        steps = training.length.steps
        if unit == "steps":
            return ResidentDataModule(
                dataset, pace=_pace(training, network), steps=steps, batches_between=(every,), **parts
            )
        between = () if steps is None else (steps,)
        return ResidentDataModule(dataset, pace=_pace(training, network), batches_between=between, **parts)
    return OpticalDataModule(dataset, **parts)


def _pace(training: Training, network: torch.nn.Module) -> Pace:
    if on_gpu(training):
        return ON_CARD
    return ON_HOST if count_parameters(network) * training.batch_size <= _QUICK else ON_HOST_SLOWLY


def _trainer(training: Training, recorder: Recorder, options: RunOptions, data: OpticalDataModule) -> pl.Trainer:
    unit, every = validation_interval(training)
    resident = isinstance(data, ResidentDataModule)  # then Lightning counts chunks and leaves the clipping to us
    batches = every // data.batches_a_chunk if isinstance(data, ResidentDataModule) else every
    return pl.Trainer(
        accelerator="gpu" if on_gpu(training) else "cpu",
        devices=1,  # one device a run: a validation part shared by several would count materials twice
        precision=training.precision,
        max_epochs=training.length.epochs if training.length.epochs else -1,
        max_steps=training.length.steps or -1,
        gradient_clip_val=None if resident else training.gradient_clip,
        check_val_every_n_epoch=every if unit == "epochs" else None,
        val_check_interval=1.0 if unit == "epochs" else batches,
        num_sanity_val_steps=0,
        deterministic=not on_gpu(training),  # on a GPU the segment sums of torch_geometric have no deterministic kernel
        logger=options.logger,
        callbacks=[recorder, Guard(options.safety), *options.callbacks],
        # not the SLURM environment that Lightning finds: signals and requeueing are the sweep's
        plugins=[LightningEnvironment(), AtomicCheckpoints()],
        enable_checkpointing=any(isinstance(item, pl.callbacks.ModelCheckpoint) for item in options.callbacks),
        enable_progress_bar=any(isinstance(item, pl.callbacks.ProgressBar) for item in options.callbacks),
        enable_model_summary=False,
        log_every_n_steps=1,
    )
