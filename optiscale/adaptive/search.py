"""Plan, run, fit, and again, until the interval of an answer is narrow enough, or the time or the grid is spent.

What is run and how stays outside: a search is told the candidates, what they cost, and a function that runs some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optiscale.adaptive.goal import Goal
from optiscale.adaptive.network import Candidate, Network
from optiscale.advice.tables import number, span
from optiscale.laws.uncertainty import LEVEL


@dataclass(frozen=True)
class Finding:
    """What is known of a network's answer.

    Attributes
    ----------
    model
        The network.
    low, value, high
        Its interval of 90 %; NaN if no law gives the answer.
    width
        Half of it, in the unit of the goal; infinite if there is none.
    met
        Whether that is narrow enough, and does not hang on one size.
    why
        Why the search ended without it, or ""
    """

    model: str
    low: float
    value: float
    high: float
    width: float
    met: bool
    why: str

    def words(self, goal: Goal) -> str:
        """Write it in one line."""
        why = f"; {self.why}" if self.why else ""
        if not np.isfinite(self.value):
            return f"{self.model}: {goal.answer} is not known yet{why}"
        known = f"{self.model}: {goal.answer} = {number(self.value)} {span(self.low, self.high)} ({100 * LEVEL:.0f} %)"
        wanted = "as wanted" if self.met else f"wanted {goal.wide(goal.width)}"
        return f"{known}, {goal.wide(self.width)}, {wanted}{why}"


def search(
    goal: Goal,
    candidates: Sequence[Candidate],
    run: Callable[[Sequence[Candidate]], pd.DataFrame],
    *,
    time_left: Callable[[], float],
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> list[Finding]:
    """Run candidates, the most telling first, until the goal is met for every network.

    Each network begins with its smallest cells, three N by three D, and grows by one size of each until a law with the
    answer can be fitted. From then on a round takes the cells that `optiscale next` would choose among the candidates,
    for a third of the cost so far. An interval that is narrow enough counts only if the answer stays within the wanted
    width when any one N or D is left out.

    Parameters
    ----------
    goal
        What is to be known.
    candidates
        All runs that could be made; those made before, too.
    run
        Makes some runs and returns the table of all runs so far, with the columns of `runs.parquet`; called with none
        first. A run that has no loss then is not tried again.
    time_left
        Seconds that may still pass.
    workers
        Runs side by side.
    say
        Called with a line a network and round.

    Returns
    -------
    list of Finding
        One a network, in the order of the candidates.

    Raises
    ------
    UserError
        If no network has the answer, however many runs are made.
    """
    models = list(dict.fromkeys(one.model for one in candidates))
    networks = {model: Network(goal, [one for one in candidates if one.model == model]) for model in models}
    asking = [network for network in networks.values() if network.knows()]
    if not asking:
        raise next(iter(networks.values())).refusal()
    table, rounds = run([]), 0
    while True:
        for network in asking:
            network.learn(table)
        open_ = [network for network in asking if not network.met]
        chosen = {network: network.choose(time_left() / len(open_), workers) for network in open_}
        for network in asking:
            state = f"round {rounds}, {network.finished} of {len(network.candidates)} runs"
            more = chosen.get(network, [])
            next_ = f"; next {len(more)} runs, about {network.cost(more) / workers:.0f} s" if more else ""
            say(f"{state}: {_finding(network).words(goal)}{next_}")
        asking = [network for network, more in chosen.items() if more]
        if not asking:
            return [_finding(network) for network in networks.values()]
        rounds += 1
        table = run([one for more in chosen.values() for one in more])


def _finding(network: Network) -> Finding:
    why = "; ".join(reason for reason in (network.hangs, network.why) if reason)
    return Finding(network.model, *network.interval, network.width, network.met, why)
