"""Tables of losses from anywhere: read, checked, averaged over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from optiscale.errors import UserError

MEAN, STD = "val_loss_mean", "val_loss_std"
_STD_SPELLINGS = (STD, "val_loss_std_ddof0")
_RUN_KEY = ("study", "model", "D", "N", "width", "seed", "subset_seed")
_POINT_KEY = ("study", "model", "D", "N", "width")
_FINISHED = "finished"
LEFT_OUT, LOSS = "left_out", "loss"
_FILE = "_file"
_UNNAMED = "model"


def read_losses(
    tables: str | Path | pd.DataFrame | Sequence[str | Path], *, loss: str | None = None, by: str | None = None
) -> pd.DataFrame:
    """Read one or more tables of losses and check them.

    Two layouts are understood: a row a run, with columns D, N, seed, val_loss; or a row a point, averaged over seeds,
    with D, N, val_loss_mean, val_loss_std (population standard deviation; also spelt val_loss_std_ddof0) and optionally
    n_seeds. Optional in both: study, model, width, message_passing (joined to the model's name unless it ends with it),
    status (rows that are not "finished" are left out). Other columns are kept. The order of the rows does not matter.

    Parameters
    ----------
    tables
        A Parquet or CSV file, several of them, or a frame, which is not changed.
    loss
        Column of the loss, such as ``"val_eps_loss"``; its mean and deviation are then ``<loss>_mean`` and
        ``<loss>_std``. ``val_loss``, or else ``loss``, if not given.
    by
        Column by which to split what is fitted, such as a group of materials; each value becomes a study of its own.

    Returns
    -------
    DataFrame
        The checked rows, the chosen loss as val_loss or val_loss_mean; ``attrs["left_out"]`` is the number of rows left
        out for their status, ``attrs["loss"]`` the name of the loss.

    Raises
    ------
    UserError
        If a file cannot be read, a column is missing, a value is impossible, a row is doubled, or nothing is left.
    """
    frame, source = _read_all(tables)
    frame, name = _choose_loss(frame, source, loss)
    frame = frame.rename(columns={_STD_SPELLINGS[1]: STD})
    averaged = MEAN in frame.columns and "val_loss" not in frame.columns
    needed = ["D", "N", *((MEAN, STD) if averaged else ("seed", "val_loss"))]
    missing = [one for one in needed if one not in frame.columns]
    if missing:
        raise UserError(
            f"{source}: no column {', '.join(missing)}: needs D, N and either seed, val_loss or {MEAN}, {STD}"
        )
    left_out = 0
    if "status" in frame.columns:
        finished = frame["status"] == _FINISHED
        left_out = int((~finished).sum())
        frame = frame[finished]
    if frame.empty:
        remedy = f"all {left_out} rows are unfinished: finish the runs first" if left_out else "add a row a run"
        raise UserError(f"{source}: no losses to fit: {remedy}")
    frame = _name_models(frame.reset_index(drop=True))
    if by is not None:
        frame = _split_by(frame, source, by)
    _check_values(frame, source, averaged=averaged)
    _check_duplicates(frame, source, averaged=averaged)
    numbers = ["D", "N", *((MEAN, STD) if averaged else ("val_loss",))]
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})
    frame = frame.drop(columns=_FILE, errors="ignore").astype({"D": "int64", "N": "int64"})
    frame.attrs = {LEFT_OUT: left_out, LOSS: name}
    return frame


def average_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Average the runs of one point over their seeds (and subset seeds).

    Parameters
    ----------
    frame
        What :func:`read_losses` returns, either layout.

    Returns
    -------
    DataFrame
        study (if present), model, D, N, width (if present), n_seeds, val_loss_mean, val_loss_std (population, ddof = 0;
        0 for one seed), sorted. ``n_seeds`` is 0 where a table averaged elsewhere does not tell it.
    """
    key = [name for name in _POINT_KEY if name in frame.columns]
    if MEAN in frame.columns and "val_loss" not in frame.columns:
        seeds = frame["n_seeds"] if "n_seeds" in frame.columns else 0
        points = frame[[*key, MEAN, STD]].assign(n_seeds=seeds).astype({"n_seeds": "int64"})
    else:
        groups = frame.groupby(key, sort=True, dropna=False)["val_loss"]
        points = pd.DataFrame(
            {"n_seeds": groups.size(), MEAN: groups.mean(), STD: groups.std(ddof=0).fillna(0.0)}
        ).reset_index()
    points = points[[*key, "n_seeds", MEAN, STD]].sort_values(key).reset_index(drop=True)
    points.attrs = dict(frame.attrs)
    return points


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a Parquet or CSV table.

    Raises
    ------
    UserError
        If there is no such file, it has another ending, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file: give a Parquet or CSV table")
    suffix = path.suffix.lower()
    if suffix not in {".parquet", ".csv"}:
        raise UserError(f"{path}: cannot read {suffix or 'a file without an ending'}: give a .parquet or .csv table")
    try:
        return pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path}: the file is empty: write it again") from error
    except (pa.ArrowException, OSError, pd.errors.ParserError, UnicodeDecodeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable {suffix[1:]} table ({first_line}): write it again") from error


def _read_all(tables: str | Path | pd.DataFrame | Sequence[str | Path]) -> tuple[pd.DataFrame, str]:
    """Read all tables into one frame; its rows remember their file where there is more than one."""
    if isinstance(tables, pd.DataFrame):
        return tables.copy(), "losses"
    paths = [tables] if isinstance(tables, str | Path) else list(tables)
    if not paths:
        raise UserError("no table of losses: give a Parquet or CSV file")
    frames = [read_table(path) for path in paths]
    if len(paths) == 1:
        return frames[0], str(paths[0])
    layouts = {"seed" in frame.columns for frame in frames}
    source = ", ".join(str(path) for path in paths)
    if len(layouts) > 1:
        raise UserError(f"{source}: some have a row a run, some a row a point: give tables of one layout")
    return pd.concat([one.assign(**{_FILE: str(path)}) for one, path in zip(frames, paths, strict=True)]), source


def _choose_loss(frame: pd.DataFrame, source: str, loss: str | None) -> tuple[pd.DataFrame, str]:
    """Give the wanted loss the name val_loss, or its mean and deviation theirs."""
    if loss is None:
        known = {"val_loss", MEAN} & set(frame.columns)
        loss = "val_loss" if known or not {"loss", "loss_mean"} & set(frame.columns) else "loss"
    if loss == "val_loss":
        return frame, loss
    renamed = {loss: "val_loss", f"{loss}_mean": MEAN, f"{loss}_std": STD, f"{loss}_std_ddof0": STD}
    found = {old: new for old, new in renamed.items() if old in frame.columns}
    if not found:
        numeric = [str(name) for name in frame.select_dtypes("number").columns if name not in {*_RUN_KEY, "n_seeds"}]
        raise UserError(f"{source}: no column {loss}: choose one of {', '.join(numeric) or 'none'}")
    return frame.drop(columns=[new for new in renamed.values() if new in frame.columns]).rename(columns=found), loss


def _split_by(frame: pd.DataFrame, source: str, by: str) -> pd.DataFrame:
    if by not in frame.columns:
        raise UserError(f"{source}: no column {by} to split by: choose one of {', '.join(map(str, frame.columns))}")
    if frame[by].isna().any():
        raise UserError(f"{source}: {by} of row {int(np.argmax(frame[by].isna()))} is missing: fill it in")
    study = frame["study"].astype(str) + ", " if "study" in frame.columns else ""
    return frame.assign(study=study + f"{by} = " + frame[by].astype(str))


def _name_models(frame: pd.DataFrame) -> pd.DataFrame:
    """Join message_passing to the model's name, so that two variants of a network are two networks."""
    if "model" not in frame.columns:
        frame = frame.assign(model=_UNNAMED)
    if "message_passing" not in frame.columns:
        return frame
    names = [
        f"{model}-{kind}" if isinstance(kind, str) and kind and not str(model).endswith(kind) else model
        for model, kind in zip(frame["model"], frame["message_passing"], strict=True)
    ]
    return frame.assign(model=names)


def _check_values(frame: pd.DataFrame, source: str, *, averaged: bool) -> None:
    losses = [MEAN] if averaged else ["val_loss"]
    for name in ["D", "N", *losses, *([STD] if averaged else [])]:
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float)
        # A standard deviation may be missing or zero: the fit then weights all points alike and says so.
        missing = frame[name].isna().to_numpy()
        bad = ~((values >= 0) | missing) if name == STD else ~(np.isfinite(values) & (values > 0))
        if bad.any():
            row = int(np.argmax(bad))
            kind = "not negative" if name == STD else "a positive number"
            raise UserError(
                f"{source}: {name} of row {row} is {frame[name].iloc[row]}, must be {kind}: correct or drop that row"
            )
    for name in ("D", "N"):
        whole = pd.to_numeric(frame[name]) % 1 == 0
        if not whole.all():
            row = int(np.argmin(whole))
            raise UserError(f"{source}: {name} of row {row} is {frame[name].iloc[row]}, must be a whole number")
    if frame["model"].isna().any():
        raise UserError(f"{source}: model of row {int(np.argmax(frame['model'].isna()))} is missing: name the network")


def _check_duplicates(frame: pd.DataFrame, source: str, *, averaged: bool) -> None:
    key = [name for name in (_POINT_KEY if averaged else _RUN_KEY) if name in frame.columns]
    doubled = frame.duplicated(key)
    if doubled.any():
        first = frame.loc[doubled, key].iloc[0]
        named = ", ".join(f"{name} {first[name]}" for name in key)
        if _FILE in frame.columns:
            same = (frame[key] == first).all(axis=1)
            named += " in " + " and ".join(dict.fromkeys(frame.loc[same, _FILE]))
        raise UserError(f"{source}: {int(doubled.sum())} rows are doubled, first {named}: keep one row each")
