"""Read a study file strictly; what is wrong is said in one line that names the field and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from optiscale.config.cluster import Cluster
from optiscale.config.study import Study
from optiscale.errors import UserError
from optiscale.io import atomic_write


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as everyone expects, and a key stands once.

    PyYAML follows YAML 1.1, which makes 1e-3 a string, and lets the last of doubled keys win.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        doubled = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if doubled is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {doubled!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


#: the study as it was run, in its results folder
RESOLVED = "resolved.yaml"


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> Study:
    """Read a study from a YAML file.

    Parameters
    ----------
    path
        The file.
    overrides
        "key=value" with dots between nested keys; the value is YAML.

    Raises
    ------
    UserError
        If the file is missing, is not YAML, or a field is unknown, of the wrong type or impossible.
    """
    content = _read(Path(path), "a study needs name, models and grid (see experiments/demo.yaml)")
    for override in overrides:
        _override(content, override)
    return parse_study(content, origin=str(path))


def load_cluster(path: Path | str) -> Cluster:
    """Read what a batch system is asked for.

    Raises
    ------
    UserError
        If the file is missing, is not YAML, or a field is unknown, of the wrong type or impossible.
    """
    content = _read(Path(path), "a cluster needs walltime and memory (see docs/sweeps.md)")
    try:
        return Cluster.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_line(error, Cluster)}") from error


def _read(path: Path, needs: str) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a YAML file: {needs}") from error
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no fields; {needs}")
    return content


def parse_study(content: dict[str, Any], *, origin: str = "study") -> Study:
    """Check the content of a study file."""
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_line(error)}") from error


def save_study(study: Study, path: Path) -> None:
    """Write the resolved study as YAML, atomically."""
    with atomic_write(path, "w") as stream:
        yaml.safe_dump(study.resolved(), stream, sort_keys=False, allow_unicode=True)


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override}: write it as key=value, e.g. --set training.batch_size=32")
    *parents, last = key.split(".")
    place: Any = content
    for name in parents:
        place = _step(place, name, override, make=True)
    if isinstance(place, list):
        place[_index(place, last, override)] = _value(text, override)
    else:
        place[last] = _value(text, override)


def _value(text: str, override: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not valid YAML; quote it or close its brackets") from error


def _step(place: Any, name: str, override: str, *, make: bool) -> Any:
    if isinstance(place, list):
        return place[_index(place, name, override)]
    if make and place.get(name) is None:
        place[name] = {}
    inner = place[name]
    if not isinstance(inner, dict | list):
        raise UserError(f"--set {override}: {name} is {inner!r} and has no fields inside")
    return inner


def _index(place: list[Any], name: str, override: str) -> int:
    if not name.isdigit() or int(name) >= len(place):
        raise UserError(f"--set {override}: {name!r} is not a place in a list of {len(place)}; count from 0")
    return int(name)


def _first_line(error: ValidationError, root: type[BaseModel] = Study) -> str:
    """One line for the first problem: field, value, remedy."""
    errors = error.errors()
    first = errors[0]
    location = list(first["loc"])
    field = ".".join(str(part) for part in location) or "study"
    if first["type"] == "extra_forbidden":
        known = _fields_at(location[:-1], root)
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known fields: {', '.join(known)}"
        return f"unknown field {field}; {hint}"
    if first["type"] == "missing":
        return f"field {field} is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool | None) else ""
    return f"{field}: {message[0].lower()}{message[1:]}{shown}"


def _fields_at(location: Sequence[Any], root: type[BaseModel]) -> list[str]:
    """Names of the fields that the schema allows at a place of the file."""
    models: list[type[BaseModel]] = [root]
    for part in map(str, location):
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        inner = [model for info in fields for model in _models_in(info.annotation)]
        models = inner or [model for model in models if part in _tags(model)] or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """Values of `type` that choose this model among those of a union; the location of an error names them."""
    info = model.model_fields.get("type")
    return get_args(info.annotation) if info else ()
