"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optiscale import __version__
from optiscale.cli.data_app import data_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Neural scaling laws in materials science: train over data size D, parameters N and seeds, and fit the laws.",
)
app.add_typer(data_app, name="data")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field, e.g. --set training.batch_size=32."),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results.", show_default=False)]
Loss = Annotated[str | None, typer.Option(metavar="COLUMN", help="The loss, e.g. val_eps_loss; val_loss by default.")]
By = Annotated[str | None, typer.Option(metavar="COLUMN", help="Fit each value of this column by itself.")]
Cost = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="What a run costs; wall_s where the runs have it, else 6 N D E.", show_default=False
    ),
]
Epochs = Annotated[
    float | None, typer.Option(metavar="E", help="Count 6 N D E with these epochs; those of the runs, or 1.")
]
Runs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUNS...",
        help="Parquet or CSV with D, N, seed, val_loss (or val_loss_mean, val_loss_std), or a results folder.",
        show_default=False,
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    del version


@app.command()
def grid(
    study: StudyFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove earlier results of this study first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="inline, local, slurm, lsf, pbs, or tcp://host:port of a Dask scheduler; inline for one worker, else "
            "local, by default.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Runs side by side; the study's by default.", show_default=False)
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What a job of slurm, lsf or pbs asks for (YAML).", show_default=False),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Show Dask's own page of the workers; its address is printed.")
    ] = False,
    branch: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Keep a changed study beside the old one, in DIR-NAME.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Run the most telling runs that fit, e.g. into 90min, 2h or 1d."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="GOAL",
            help="Run what tells most about an answer until it is known well enough, e.g. 'D_c ± 0.1 decades'.",
        ),
    ] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Another results folder whose runs tell what runs take."),
    ] = None,
    overrides: Set = None,
    out: Out = None,
) -> None:
    """Run every cell of a study that has no result yet, then fit and draw."""
    from optiscale.cli.grid import Choice, Where, run

    where = Where(executor, workers, cluster, dashboard)
    flags = {"dry_run": dry_run, "fresh": fresh, "yes": yes}
    chosen = Choice(budget, like or [], until)
    run(study, **flags, overrides=overrides or [], out=out, where=where, branch=branch, choice=chosen)


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Results folders of one study.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
) -> None:
    """Join the results of one study from several machines; anything that does not fit is refused."""
    from optiscale.cli.merge import run

    run(folders, out=out)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder of a study.")],
) -> None:
    """Show what is done, running, failed and left of a study, while it runs or after."""
    from optiscale.cli.status import run

    run(folder)


@app.command()
def train(
    study: StudyFile,
    model: Annotated[str, typer.Option(help="Name of a model of the study.")],
    data: Annotated[int, typer.Option(metavar="D", help="Number of training materials.")],
    seed: Annotated[int, typer.Option(help="Seed of weights and order.")],
    width: Annotated[int | None, typer.Option(metavar="W", help="Hidden width.", show_default=False)] = None,
    subset_seed: Annotated[int | None, typer.Option(min=0, help="Of the subset; the study's first by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    overrides: Set = None,
    out: Out = None,
) -> None:
    """Train one cell, with checkpoints and its learning curve."""
    from optiscale.cli.train import run

    run(
        study,
        model=model,
        width=width,
        D=data,
        seed=seed,
        subset_seed=subset_seed,
        resume=resume,
        overrides=overrides or [],
        out=out,
    )


@app.command()
def evaluate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that kept its weights.")],
    part: Annotated[str, typer.Option(help="validation or test.")] = "validation",
) -> None:
    """Per-material metrics of a trained network, and its figures."""
    from optiscale.cli.evaluate import run

    run(run_folder, part=part)


@app.command()
def fit(
    runs: Runs,
    published: Annotated[
        bool, typer.Option("--published", help="Fit as arXiv:2602.05702 did: its six laws, its weights, AICc.")
    ] = False,
    loss: Loss = None,
    by: By = None,
    weights: Annotated[
        str, typer.Option(help="pooled, pooled-absolute, by-scale, published (each point's own std) or equal.")
    ] = "pooled",
    cost: Annotated[
        str, typer.Option(help="squares, huber, or asymmetric (runs trained too short lie above the law).")
    ] = "squares",
    space: Annotated[str, typer.Option(help="Residuals of the log of the losses, or linear ones.")] = "log",
    reach: Annotated[float, typer.Option(help="Factor in size by which to extrapolate.")] = 2.0,
    out: Out = None,
) -> None:
    """Fit the scaling laws to any table of losses and choose among them by held-out error."""
    from optiscale.cli.laws import fit as run

    run(runs, out=out, published=published, loss=loss, by=by, weights=weights, cost=cost, space=space, reach=reach)


@app.command()
def plot(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUNS...]", help="As for fit.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Redraw the paper's figures and tables, with RUNS over them.")
    ] = False,
    out: Out = None,
) -> None:
    """Draw the figures of a study, or those of the paper."""
    from optiscale.cli.laws import plot as run

    run(runs or [], published=published, out=out)


@app.command()
def forecast(
    runs: Runs,
    data: Annotated[
        list[int] | None, typer.Option("--data", metavar="D", help="Number of materials; may be given again.")
    ] = None,
    params: Annotated[
        list[int] | None, typer.Option("--params", metavar="N", help="Number of parameters; may be given again.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(metavar="L", help="A loss: what D or N reaches it?", show_default=False)
    ] = None,
    loss: Loss = None,
    by: By = None,
    out: Out = None,
) -> None:
    """Say what loss a run not yet made will give, what reaches a loss, and what more materials buy."""
    from optiscale.cli.advice import forecast as run

    run(runs, data=data or [], params=params or [], target=target, loss=loss, by=by, out=out)


@app.command()
def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS",
            help="A results folder, or a Parquet or CSV table with D, N, seed, val_loss (or loss).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page; in the folder or beside the table by default."),
    ] = None,
) -> None:
    """Write a study as one HTML page: answers, figures that answer to the mouse, tables, forecasts, provenance."""
    from optiscale.cli.page import run

    run(source, out=out)


@app.command()
def frontier(
    runs: Runs,
    budget: Annotated[
        list[float] | None,
        typer.Option("--budget", metavar="C", help="Cost of one run; may be given again. A ladder is shown anyway."),
    ] = None,
    cost: Cost = None,
    epochs: Epochs = None,
    loss: Loss = None,
    by: By = None,
    out: Out = None,
) -> None:
    """Find the best N and D for a budget, from a grid of runs and what they cost."""
    from optiscale.cli.advice import frontier as run

    run(runs, budgets=budget or [], cost=cost, epochs=epochs, loss=loss, by=by, out=out)


@app.command("next")
def next_runs(
    runs: Runs,
    budget: Annotated[float, typer.Option("--budget", metavar="C", help="Cost of all runs at most.")],
    answer: Annotated[
        list[str],
        typer.Option(
            "--answer",
            metavar="WHAT",
            help="D_c, N_c, alpha, a parameter such as a2, or loss@D,N; may be given again.",
        ),
    ],
    data: Annotated[
        list[int] | None, typer.Option("--data", metavar="D", help="A size that could be run, beside those measured.")
    ] = None,
    params: Annotated[list[int] | None, typer.Option("--params", metavar="N", help="The same for parameters.")] = None,
    cost: Cost = None,
    epochs: Epochs = None,
    loss: Loss = None,
    by: By = None,
    out: Out = None,
) -> None:
    """Choose the runs that shrink the interval of an answer most within a budget."""
    from optiscale.cli.advice import next_runs as run

    run(
        runs,
        budget=budget,
        answers=answer,
        data=data or [],
        params=params or [],
        cost=cost,
        epochs=epochs,
        loss=loss,
        by=by,
        out=out,
    )


@app.command()
def info() -> None:
    """Versions, devices and caches."""
    from optiscale.cli.info import run

    run()


@app.command()
def bench(
    case: Annotated[
        list[str], typer.Option(metavar="NETWORK:WIDTH", help="2B-TC, 2B-CGC or 3B-TC and a width; repeat.")
    ] = ["2B-TC:16", "3B-TC:16"],  # noqa: B006  Typer copies it
    n: Annotated[int, typer.Option("--n", min=64, help="Crystals to make and measure with.")] = 512,
    batch_size: Annotated[int, typer.Option(min=2, help="Crystals a step.")] = 16,
    precision: Annotated[str, typer.Option(help="32-true or bf16-mixed.")] = "32-true",
    device: Annotated[str, typer.Option(help="cpu, or cuda (unfinished, see benchmarks/README.md).")] = "cpu",
    rattle: Annotated[float, typer.Option(min=0, help="Displace atoms at random, Å: no symmetry is left.")] = 0.0,
    epochs: Annotated[int, typer.Option(min=4, help="To train; the first two are not counted.")] = 6,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="For the crystals; in the cache by default.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="For the numbers.")] = Path("bench.json"),
    compile_first: Annotated[
        int, typer.Option(min=0, help="Compile in so many programs side by side before measuring (cuda).")
    ] = 0,
) -> None:
    """Measure training on this machine: our path against torch_geometric's, and the hardware's limit."""
    from optiscale.cli.bench import run

    run(
        cases=case,
        n=n,
        batch_size=batch_size,
        precision=precision,
        device=device,
        rattle=rattle,
        epochs=epochs,
        data=data,
        out=out,
        compile_first=compile_first,
    )
