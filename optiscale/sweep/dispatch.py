"""Runs on a Dask cluster: handed out in order, tried again where a worker fails, stopped on request."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep.budget import Deadline
from optiscale.sweep.jobs import Job, Lost, SweepStopped
from optiscale.sweep.own import modules_of
from optiscale.sweep.progress import SweepProgress
from optiscale.sweep.stopping import request_stop, stop_requested
from optiscale.sweep.worker import TOPIC, WALLTIME, Task, UnfitWorkerError, work

if TYPE_CHECKING:
    from distributed import Client, Future

_TICK_S = 0.5
_SEND_AWAY_S = 30.0
#: how long runs may take to write their checkpoint when the program is to stop
_GRACE_S = 300.0


@dataclass
class _Flight:
    """A run on its way."""

    job: Job
    given: float  # monotonic, as all times here: clocks are set


class Dispatch:
    """Keeps every worker busy with one run at a time, in the order of the jobs.

    Dask decides where a run goes. A run is lost if its worker was killed, hung, or could not read or write; it is
    handed out again, from its last checkpoint, up to `sweep.retries` times. A worker that does not see the data set is
    sent away.
    """

    def __init__(
        self,
        client: Client,
        study: Study,
        jobs: Sequence[Job],
        dataset: OpticalDataset,
        out: Path,
        git_commit: str,
        progress: SweepProgress,
        deadline: Deadline | None = None,
    ) -> None:
        self.client = client
        self.study = study
        self.dataset = dataset
        self.out = out.resolve()
        self.git_commit = git_commit
        self.progress = progress
        self.deadline = deadline
        self.waiting = deque(jobs)
        self.flying: dict[Future, _Flight] = {}
        self.lost: Counter[Job] = Counter()
        self.given = 0
        self._modules = modules_of(study)
        self._content = study.resolved()  # with the path of the data set from any folder
        self._stopping: float | None = None
        self._said_waiting = False
        self.beats: dict[str, float] = {}
        client.run(request_stop, None)  # workers of a running scheduler may remember an earlier program
        client.subscribe_topic(TOPIC, self._heard)

    def __iter__(self) -> Iterator[tuple[Job, Lost | None]]:
        """Yield each job when it has its record, or is given up.

        Raises
        ------
        SweepStopped
            If the program was asked to stop.
        UserError
            If the scheduler is gone, or no worker is fit for the study.
        """
        while self.waiting or self.flying:
            self._check_scheduler()
            self._stop_if_asked()
            self._fill()
            self._wait()
            for future in [future for future in self.flying if future.done()]:
                if (ended := self._settle(future)) is not None:
                    yield ended
            yield from self._end_hanging()
            self.progress.tick()

    def _fill(self) -> None:
        """Hand out as many runs as there are workers: the scheduler would take them early, and the order is ours."""
        if not self.waiting or self._stopping is not None:
            return
        workers = self._workers()
        while self.waiting and len(self.flying) < len(workers):
            job = self.waiting.popleft()
            if self.deadline is not None and not self.deadline.allows(job):
                continue
            self.given += 1
            where = (self.out, job.folder.resolve(), self.git_commit, Counter(workers.values()))
            task = Task(self._content, job.cell, self.dataset.hash, *where, self._modules)
            future = self.client.submit(work, task, key=f"{job.cell.id}#{self.given}", pure=False)
            self.flying[future] = _Flight(job, time.monotonic())

    def _workers(self) -> dict[str, str]:
        """Return the workers, each with the address of its machine."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        for address, worker in workers.items():
            if worker["nthreads"] != 1:
                raise UserError(
                    f"{address}: a worker with {worker['nthreads']} threads would mix the random numbers of its runs; "
                    "start it with `dask worker --nthreads 1`, one for each run at a time"
                )
            if worker["nanny"] is None:
                raise UserError(f"{address}: a worker that hangs could not be ended; start it without --no-nanny")
        if not workers and not self.flying and not self._said_waiting:
            self.progress.say("waiting for workers")
            self._said_waiting = True
        return {address: worker["host"] for address, worker in workers.items()}

    def _wait(self) -> None:
        from distributed import wait

        if not self.flying:
            time.sleep(_TICK_S)
            return
        try:
            wait(list(self.flying), timeout=_TICK_S, return_when="FIRST_COMPLETED")
        except (TimeoutError, CancelledError):
            return

    def _settle(self, future: Future) -> tuple[Job, Lost | None] | None:
        """Take what came of a run: a record, a reason to try again, or its loss."""
        flight = self.flying.pop(future)
        self.progress.dropped(flight.job.cell.id)
        if future.cancelled():
            return self._again(flight.job, "the scheduler lost the run")
        error = future.exception()
        if error is None:
            reason, address = future.result()
            future.release()  # a worker that holds a result could not be sent away
            return self._settle_stop(flight.job, flight.given, reason, address)
        if isinstance(error, UnfitWorkerError):
            self.waiting.appendleft(flight.job)
            self._send_away(*error.args)
            return None
        if isinstance(error, OSError):
            return self._again(flight.job, _reason(error))
        if type(error).__name__ == "KilledWorker":
            return self._again(flight.job, "the worker process was killed (often for lack of memory)")
        return flight.job, ("failed", _reason(error))

    def _settle_stop(self, job: Job, given: float, reason: str | None, address: str) -> tuple[Job, None] | None:
        """Take a run that ended, or stopped in time and goes on elsewhere or in a later program."""
        if reason is None:
            if self.deadline is not None:
                self.deadline.ended(job, time.monotonic() - given)
            return job, None
        self.waiting.appendleft(job)
        if reason == WALLTIME:
            self._send_away(address, f"{reason} is near")
        return None

    def _again(self, job: Job, reason: str) -> tuple[Job, Lost] | None:
        """Try a lost run again, unless it was lost too often."""
        self.lost[job] += 1
        tries = self.lost[job]
        if tries > self.study.sweep.retries:
            return job, ("failed", f"{reason}, {tries} times" if tries > 1 else reason)
        self.progress.say(f"{job.cell.id}: {reason}; tried again")
        self.waiting.appendleft(job)
        return None

    def _send_away(self, address: str, reason: str) -> None:
        """Close a worker that is of no use to the study.

        Raises
        ------
        UserError
            If it was the last one, and not its time was over but something is missing there.
        """
        self.progress.say(f"{address}: {reason}; the worker is sent away")
        end = time.monotonic() + _SEND_AWAY_S
        while address in self._workers() and time.monotonic() < end:
            self.client.retire_workers([address], close_workers=True)
            time.sleep(_TICK_S)
        if not reason.startswith(WALLTIME) and not self._workers():
            raise UserError(f"no worker is fit for the study; the last said: {reason}")

    def _end_hanging(self) -> Iterator[tuple[Job, Lost]]:
        """Kill workers whose run gave no sign of life for too long."""
        limit = self.study.sweep.hang_s
        late = [future for future, flight in self.flying.items() if time.monotonic() - self._sign(flight) > limit]
        if not late:
            return
        processing = self.client.processing()
        for future in late:
            address = next((worker for worker, keys in processing.items() if future.key in keys), None)
            if address is None or (len(processing[address]) > 1 and self.flying[future].job.cell.id not in self.beats):
                continue  # no worker has it yet, or it stands behind another run there
            flight = self.flying.pop(future)
            self.progress.dropped(flight.job.cell.id)
            future.cancel()
            self.client.restart_workers([address], timeout=60, raise_for_error=False)
            if (
                ended := self._again(flight.job, f"no sign of life for {limit:g} s, the worker was killed")
            ) is not None:
                yield ended

    def _sign(self, flight: _Flight) -> float:
        return max(flight.given, self.beats.get(flight.job.cell.id, 0.0))

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take a sign of life, on a thread of Dask's."""
        content = event[1]
        self.beats[content["cell"]] = time.monotonic()
        if content["val_loss"] is None:
            self.progress.started(content["cell"], content["step"], content["worker"])
        else:
            self.progress.step(content["cell"], content["step"], content["val_loss"])

    def _check_scheduler(self) -> None:
        if self.client.status != "running":
            raise UserError(
                "the Dask scheduler is gone; finished runs and checkpoints are kept: start it again, and the same "
                "command goes on from there"
            )

    def _stop_if_asked(self) -> None:
        reason = stop_requested()
        if reason is None:
            return
        if self._stopping is None:
            self._stopping = time.monotonic()
            self.progress.say(f"{reason}: runs write their checkpoints and stop")
            self.client.run(request_stop, reason, on_error="ignore")
        if not self.flying or time.monotonic() - self._stopping > _GRACE_S:
            raise SweepStopped(reason)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
