"""`optiscale info`."""

from __future__ import annotations

import platform
from importlib.metadata import version

from rich.console import Console
from rich.table import Table


def run() -> None:
    """Print versions, devices and caches."""
    import torch

    from optiscale.dataset.schema import MANIFEST
    from optiscale.dataset.shelf import shelf_file, shelf_ids
    from optiscale.dataset.source import cache_folder

    table = Table(show_header=False, box=None)
    packages = ("optiscale", "torch", "pytorch-lightning", "torch-geometric", "ase", "matminer", "pandas", "lmfit")
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    for name in packages:
        table.add_row(name, version(name))
    table.add_row("cpu", f"{torch.get_num_threads()} torch threads")
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        table.add_row(f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    if not torch.cuda.is_available():
        table.add_row("cuda", "none")
    table.add_row("embedded shelf", f"{len(shelf_ids())} materials, {shelf_file().stat().st_size / 2**20:.1f} MiB")
    cache = cache_folder()
    table.add_row("cache", str(cache))
    for manifest in sorted(cache.glob(f"*/{MANIFEST}")):
        size = sum(path.stat().st_size for path in manifest.parent.rglob("*") if path.is_file())
        table.add_row("", f"{manifest.parent.name}: {size / 2**20:.1f} MiB")
    Console().print(table, highlight=False)
