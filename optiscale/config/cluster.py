"""The cluster file: what one job of a batch system asks for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from optiscale.config.strict import Strict

Seconds = Annotated[int, Field(ge=0)]


class Cluster(Strict):
    """One job runs one worker, one run at a time, on at most one GPU.

    Attributes
    ----------
    walltime
        Of a job, "HH:MM:SS".
    memory
        Of a job, e.g. "16GB".
    cores
        Of a job; its torch threads, unless the study says less.
    gpus
        0 or 1: one device a run keeps L_val exact.
    queue, account
        Partition or queue, and who pays, if the site asks.
    modules
        Loaded before the worker starts.
    setup
        Lines of shell before the worker starts, e.g. to activate an environment.
    directives
        More lines for the head of the job script, without the prefix (`#SBATCH`, `#PBS`, `#BSUB`).
    interface
        Network interface that the nodes share, e.g. ib0.
    log_folder
        Of the jobs' own output.
    stop_before_s
        Seconds before the end of the walltime at which a run writes its checkpoint and moves on to the next job; with
        0 the batch system kills it, and the next job goes on from the checkpoint before.
    """

    walltime: Annotated[str, Field(pattern=r"^\d{1,3}:[0-5]\d:[0-5]\d$")]
    memory: Annotated[str, Field(pattern=r"^\d+ ?[KMGT]i?B$")]
    cores: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    queue: str | None = None
    account: str | None = None
    modules: list[str] = []
    setup: list[str] = []
    directives: list[str] = []
    interface: str | None = None
    log_folder: str | None = None
    stop_before_s: Seconds = 120

    @field_validator("gpus")
    @classmethod
    def _one_device_a_run(cls, gpus: int) -> int:
        if gpus > 1:
            raise ValueError("a job runs one run on one GPU; write 1, and ask for more jobs with --workers")
        return gpus

    @model_validator(mode="after")
    def _time_to_stop(self) -> Cluster:
        if self.stop_before_s >= self.walltime_s:
            raise ValueError(
                f"stop_before_s: {self.stop_before_s} s are no less than the walltime {self.walltime}; make it smaller"
            )
        return self

    @property
    def walltime_s(self) -> int:
        """Seconds of a job."""
        hours, minutes, seconds = (int(part) for part in self.walltime.split(":"))
        return hours * 3600 + minutes * 60 + seconds
