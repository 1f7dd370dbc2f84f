"""Plans as plain PyTorch hooks, for passes that are not traced: rows with plans of their own.

The same `OnePass` acts that acts inside nnsight; here each row of a batch has one, which sees its
own row of every site and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor
from torch.nn import Module

from steer.lm.anatomy import Site
from steer.splice.one_pass import OnePass, sites_of


@contextmanager
def hooked(module: Module, passes: Mapping[int, OnePass]) -> Iterator[None]:
    """While entered, the model's next call is that pass of every row that has one.

    passes: batch row -> its pass, whose plans are for a batch of that row alone.
    """
    sites = sites_of([plan for pass_ in passes.values() for plan in pass_.plans])
    with ExitStack() as hooks:
        for site in sites:
            here = {
                row: one_pass
                for row, one_pass in passes.items()
                if site in sites_of(one_pass.plans)
            }
            hooks.callback(_hook(module.get_submodule(site.path), site, here).remove)
        yield


def _hook(module: Module, site: Site, passes: Mapping[int, OnePass]) -> Any:
    def visit(x: Tensor) -> None:
        for row, one_pass in passes.items():
            one_pass.visit(site, x[row : row + 1])

    if site.side == "input":
        return module.register_forward_pre_hook(_on_input(site, visit), with_kwargs=True)

    def after(_: Module, __: Any, output: Any) -> None:
        visit(output[0] if isinstance(output, tuple | list) else output)

    return module.register_forward_hook(after)


def _on_input(site: Site, visit: Callable[[Tensor], None]) -> Any:
    """The first argument, however it is given; a copy of it where it goes elsewhere too."""

    def before(_: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = None if args else next(iter(kwargs))
        x = args[0] if name is None else kwargs[name]
        x = x.clone() if site.alone else x
        visit(x)
        return ((x, *args[1:]), kwargs) if name is None else (args, {**kwargs, name: x})

    return before
