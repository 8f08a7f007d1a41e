"""Tables of losses from anywhere: read, checked, averaged over seeds."""

from __future__ import annotations

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
LEFT_OUT = "left_out"


def read_losses(path_or_frame: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read a table of validation losses and check it.

    Two layouts are understood: a row a run, with columns model, D, N, seed, val_loss; or a row a point, averaged over
    seeds, with model, D, N, val_loss_mean, val_loss_std (population standard deviation; also spelt
    val_loss_std_ddof0) and optionally n_seeds. Optional in both: study, width, message_passing (joined to the model's
    name unless it ends with it), status (rows that are not "finished" are left out). Other columns are kept.

    Parameters
    ----------
    path_or_frame
        A Parquet or CSV file, or the frame itself, which is not changed.

    Returns
    -------
    DataFrame
        The checked rows; ``attrs["left_out"]`` is the number of rows left out for their status.

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, a value is impossible, a row is doubled, or nothing is left.
    """
    frame, source = _read(path_or_frame)
    frame = frame.rename(columns={_STD_SPELLINGS[1]: STD})
    averaged = MEAN in frame.columns and "val_loss" not in frame.columns
    needed = ["model", "D", "N", *((MEAN, STD) if averaged else ("seed", "val_loss"))]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise UserError(
            f"{source}: no column {', '.join(missing)}: needs model, D, N and either seed, val_loss or {MEAN}, {STD}"
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
    _check_values(frame, source, averaged=averaged)
    _check_duplicates(frame, source, averaged=averaged)
    numbers = ["D", "N", *((MEAN, STD) if averaged else ("val_loss",))]
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})
    frame = frame.astype({"D": "int64", "N": "int64"})
    frame.attrs = {LEFT_OUT: left_out}
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


def _read(path_or_frame: str | Path | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    if isinstance(path_or_frame, pd.DataFrame):
        return path_or_frame.copy(), "losses"
    path = Path(path_or_frame)
    if not path.is_file():
        raise UserError(f"{path}: no such file: give a Parquet or CSV table of losses")
    suffix = path.suffix.lower()
    if suffix not in {".parquet", ".csv"}:
        raise UserError(f"{path}: cannot read {suffix or 'a file without an ending'}: give a .parquet or .csv table")
    try:
        return (pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)), str(path)
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path}: the file is empty: write the losses again") from error
    except (pa.ArrowException, OSError, pd.errors.ParserError, UnicodeDecodeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable {suffix[1:]} table ({first_line}): write it again") from error


def _name_models(frame: pd.DataFrame) -> pd.DataFrame:
    """Join message_passing to the model's name, so that two variants of a network are two networks."""
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
        raise UserError(f"{source}: {int(doubled.sum())} rows are doubled, first {named}: keep one row each")
