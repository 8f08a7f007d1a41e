"""Parts of networks that a user registered: every process that builds them must import the module that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from optiscale.config import Study
from optiscale.errors import UserError

_OURS = "optiscale."
_MAIN = ("__main__", "__mp_main__")


def modules_of(study: Study) -> tuple[str, ...]:
    """Return the modules that registered parts which the study's grid names; none for those of this package.

    A network named by its class, ``module:Class``, needs no registration.

    Raises
    ------
    UserError
        If one is registered in a notebook or in the script that is run, which no other process can import.
    """
    networks = {block.model: study.models[block.model].network for block in study.grid}
    found: dict[str, str] = {}
    for config in networks.values():
        if config is not None:
            from optiscale.networks import EDGES, MESSAGES, NETWORKS, NODES, POOLINGS

            parts = zip(
                (NETWORKS, NODES, EDGES, MESSAGES, POOLINGS),
                (config.type, config.nodes, config.edges, config.message, config.pooling),
                strict=True,
            )
            found |= {
                registry[name].__module__: f"{registry.field}: {name!r}"
                for registry, name in parts
                if name is not None and name in registry
            }
    for module, what in found.items():
        if module in _MAIN:
            raise UserError(
                f"{what} is registered in a notebook or script, where other processes do not see it; put it into a "
                "module of its own and import that, or take one worker"
            )
    return tuple(module for module in found if not module.startswith(_OURS))


def import_all(modules: Sequence[str]) -> None:
    """Import the modules, in a process that is to build their parts.

    Raises
    ------
    ImportError
        If one is not to be found here.
    """
    for module in modules:
        import_module(module)
