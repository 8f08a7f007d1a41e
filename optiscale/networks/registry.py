"""Names that a study file may use for the parts of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from optiscale.errors import UserError

Entry = TypeVar("Entry", bound=Callable[..., Any])


class Registry(Generic[Entry]):
    """The parts that can stand at one place of a network, by name.

    Parameters
    ----------
    field
        Field of the study file that names the part, for error messages.

    Examples
    --------
    >>> @EDGES.register("inverse")
    ... class Inverse(torch.nn.Module): ...
    """

    def __init__(self, field: str) -> None:
        self.field = field
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that makes a class or function known as `name`; a name is given once."""

        def enter(entry: Entry) -> Entry:
            if name in self._entries:
                raise UserError(f"{self.field}: the name {name!r} is already registered; choose another")
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise UserError(f"{self.field}: {name!r} is unknown; choose one of {', '.join(self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


NODES: Registry = Registry("network.nodes")
"""`Entry()` is a module with an int `width` that maps atomic numbers (A,) to features (A, width)."""

EDGES: Registry = Registry("network.edges")
"""`Entry(cutoff=...)` is a module with an int `width` that maps edge lengths (E,) in Å to features (E, width)."""

MESSAGES: Registry = Registry("network.message")
"""`Entry(width=..., heads=...)` is a module called with nodes (n, W), an edge index (2, e) and edge features (e, W); it
returns nodes (n, W), skip connection included."""

POOLINGS: Registry = Registry("network.pooling")
"""`Entry(width=...)` is a module called as `pool(x, index, dim_size=B)` with atoms (A, W) and their crystal (A,); it
returns crystals (B, W)."""

NETWORKS: Registry = Registry("network.type")
"""An entry is a torch module class with the class attribute `needs_angles` and two class methods:
`check_config(config)`, which raises `UserError`, and `from_config(config, targets, *, cutoff, angle_cutoff)`."""
