"""One network of a search: what its runs tell, and which ones are to be made next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optiscale.adaptive.goal import Goal
from optiscale.adaptive.lines import Pair, shape_of
from optiscale.advice import series_to_plan
from optiscale.advice.answers import answer_of
from optiscale.advice.design import DRAWS, Beliefs, beliefs_of, pick
from optiscale.advice.tables import number
from optiscale.errors import UserError
from optiscale.laws import Series, read_losses
from optiscale.laws.uncertainty import LEVEL

#: with so many of its smallest N and D a network begins, and with as many seeds of each of these cells
FIRST, SEEDS = 3, 2
#: what a round costs, as a share of what was spent before: so much at most is spent beyond the goal
SHARE = 1.0 / 3.0
_DONE = ("finished", "diverged")
_FEW_DRAWS = 100  # enough for a median
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Candidate:
    """A run that could be made.

    Attributes
    ----------
    cell
        Its name, unique.
    model, N, D
        What is run; runs of the same model, N and D differ in their seeds.
    cost
        Estimated seconds.
    """

    cell: str
    model: str
    N: int
    D: int
    cost: float

    @property
    def pair(self) -> Pair:
        """N and D."""
        return self.N, self.D


class Network:
    """What is known and to be known of one network.

    Parameters
    ----------
    goal
        What is to be known.
    candidates
        All runs of the network. Where they make no map of N and D, those of the longest line over D or N are used.

    Attributes
    ----------
    interval
        Low end, median and high end of the answer; NaN if no law gives it yet.
    width, met
        Half of it, in the unit of the goal, and whether that is narrow enough.
    hangs
        The size of N or D on which a narrow interval hangs, in words, or "".
    why
        Why nothing more is run, or "".
    finished
        Number of runs with a loss.
    """

    def __init__(self, goal: Goal, candidates: Sequence[Candidate]) -> None:
        self.goal = goal
        self.model = candidates[0].model
        self.shape = shape_of({one.pair for one in candidates})
        self.candidates = [one for one in candidates if one.pair in self.shape.pairs]
        self.interval = (np.nan, np.nan, np.nan)
        self.width, self.met, self.why, self.finished = np.inf, False, "", 0
        self.hangs = ""
        self._cells = {one.cell: one for one in self.candidates}
        self._tried: set[Candidate] = set()
        self._seeds = dict.fromkeys(self.shape.pairs, 0)
        self._beliefs: Beliefs | None = None
        self._refused = ""  # by the fit
        self._pace = 1.0

    def knows(self) -> bool:
        """Whether its laws have the answer; says why not, if they do not."""
        if not self.shape.knows(self.goal.answer):
            self.why = str(self.refusal())
        return not self.why

    def refusal(self) -> UserError:
        """Return what is wrong with an answer that its laws do not have."""
        what = "a map over N and D" if self.shape.along == "map" else f"a line over {self.shape.along}"
        return UserError(
            f"--until: no law of {what}, as the grid of {self.model} is, has {self.goal.answer!r}; choose D_c, alpha, "
            "loss@D,N or a parameter of such a law (docs/laws.md)"
        )

    def cost(self, runs: Sequence[Candidate]) -> float:
        """Return the seconds that runs take one after the other, by the pace of those made."""
        return self._pace * sum(one.cost for one in runs)

    def learn(self, table: pd.DataFrame) -> None:
        """Fit what is known now.

        Parameters
        ----------
        table
            All runs so far, with the columns of `runs.parquet`.
        """
        mine = table[table["cell"].isin(self._cells)]
        self._tried |= {self._cells[cell] for cell in mine.loc[mine["status"].isin(_DONE), "cell"]}
        runs = mine[mine["status"] == "finished"]
        made = [self._cells[cell] for cell in runs["cell"]]
        runs = runs.assign(N=[one.N for one in made], D=[one.D for one in made])
        self.finished = len(made)
        self._seeds = {pair: sum(one.pair == pair for one in made) for pair in self.shape.pairs}
        if made and "wall_s" in runs and float(runs["wall_s"].sum()) > 0:
            self._pace = float(runs["wall_s"].sum()) / sum(one.cost for one in made)
        self.hangs = ""
        try:
            self._fit(runs)
        except UserError as error:
            self._beliefs, self._refused = None, str(error)
            self.interval, self.width, self.met = (np.nan, np.nan, np.nan), np.inf, False

    def _fit(self, runs: pd.DataFrame) -> None:
        self._beliefs, self.interval = self._told(runs)
        self.width = self.goal.width_of(*self.interval)
        if self.width <= self.goal.width:
            self.hangs = self._hangs_on(runs)
        self.met = self.width <= self.goal.width and not self.hangs

    def _told(self, runs: pd.DataFrame, draws: int = DRAWS) -> tuple[Beliefs, Interval]:
        """Return what runs tell, and the interval of the answer."""
        series = self._series(runs)
        answer = answer_of(self.goal.answer, series)
        n, d = np.array(self.shape.pairs, dtype=float).T
        beliefs = beliefs_of(series, [answer], n, d, n=draws)
        ends = np.quantile(beliefs.answers[:, 0], [0.5 - LEVEL / 2, 0.5, 0.5 + LEVEL / 2])
        low, value, high = (answer.shown(float(one)) for one in ends)
        return beliefs, (low, value, high)

    def _hangs_on(self, runs: pd.DataFrame) -> str:
        """Say on which N or D the answer hangs: without it, it would be farther away than wanted; "" if on none.

        Where a law is not exact, the cheap cells agree on an answer that the dear ones correct, and bootstrap and laws
        know nothing of that. Cells left out tell, and what they tell is no chance: all runs of a size go together.
        """
        value = self.interval[1]
        for name in ("N", "D"):
            for size in sorted(set(runs[name])):
                try:
                    other = self._told(runs[runs[name] != size], _FEW_DRAWS)[1][1]
                except UserError:  # too few are left to tell
                    continue
                if self.goal.width_of(min(value, other), value, max(value, other)) > self.goal.width:
                    return f"it hangs on {name} = {size:,}: {number(other)} without it"
        return ""

    def _series(self, runs: pd.DataFrame) -> Series:
        if not len(runs):
            raise UserError("no run has finished")
        series = next(iter(series_to_plan(read_losses(runs))))
        if self.shape.along == "map" and series.kind != "map":
            raise UserError("too few cells for a map over N and D")
        return series

    def choose(self, seconds: float, workers: int) -> list[Candidate]:
        """Choose the runs of the next round, or say why there are none.

        Parameters
        ----------
        seconds
            That may pass.
        workers
            Runs side by side.
        """
        untried = [one for one in self.candidates if one not in self._tried]
        left = [one for one in untried if self.cost([one]) <= seconds]
        if not left:
            reason = "no run that is left fits into the time" if untried else "every cell of the grid has been run"
            self.why = f"{reason}{f' ({self._refused})' if self._beliefs is None and self._refused else ''}"
            return []
        most = seconds * workers
        chosen = self._smallest(left) if self._beliefs is None else self._telling(self._beliefs, left, most, workers)
        while len(chosen) > 1 and self.cost(chosen) > most:
            chosen.pop()
        self.why = "" if chosen else "no further run of the grid tells anything more"
        self._tried.update(chosen)
        return chosen

    def _smallest(self, left: Sequence[Candidate]) -> list[Candidate]:
        """Return what is missing of the smallest sizes, as many of these as it takes, and at last all seeds."""
        n, d = (sorted({pair[place] for pair in self.shape.pairs}) for place in (0, 1))
        for many in range(FIRST, max(len(n), len(d)) + 1):
            first = [pair for pair in self.shape.pairs if pair[0] <= n[:many][-1] and pair[1] <= d[:many][-1]]
            missing = [one for pair in first for one in _of(left, pair)[: self._missing(pair)]]
            if missing:
                return sorted(missing, key=lambda one: one.cost)
        return sorted(left, key=lambda one: one.cost)

    def _missing(self, pair: Pair) -> int:
        return max(0, SEEDS - sum(one.pair == pair for one in self._tried))

    def _telling(self, beliefs: Beliefs, left: Sequence[Candidate], most: float, workers: int) -> list[Candidate]:
        """Return the runs that tell most for their cost; a round costs more only where less would buy nothing."""
        seeds = np.array([self._seeds[pair] for pair in self.shape.pairs], dtype=float)
        runs = {pair: _of(left, pair) for pair in self.shape.pairs}
        room = np.array([len(runs[pair]) for pair in self.shape.pairs], dtype=float)
        price = np.array([self.cost(_of(self.candidates, pair)[:1]) for pair in self.shape.pairs])
        allowed = max(SHARE * self.cost(list(self._tried)), workers * min(self.cost([one]) for one in left))
        most = min(most, self.cost(left))
        while True:
            places = pick(beliefs, price, seeds, min(allowed, most), most_seeds=seeds + room).cells
            if places or allowed >= most:
                return [runs[self.shape.pairs[place]].pop(0) for place in places]
            allowed *= 2


def _of(candidates: Sequence[Candidate], pair: Pair) -> list[Candidate]:
    return [one for one in candidates if one.pair == pair]
