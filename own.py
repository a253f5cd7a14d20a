"""The user's own code by name, ``"module:attribute"``: blocks, spaces, factories of modules, data sets.

A store or a study only names such code. To read a store must not run what somebody wrote into it, so a name is loaded
only if whoever runs the process trusts it: by giving the object itself or a study file that names it, by
``--allow-code``, or by the environment variable PARETONAS_TRUST (names with commas between). Who trusts a module trusts
all that is in it.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from .errors import UntrustedCode, UsageError

VARIABLE = "PARETONAS_TRUST"
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_trusted: set[str] = set()


def is_own(name: object) -> bool:
    """Whether a word names the user's own code."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def name_of(thing: Any) -> str:
    """The name of a top-level class or function. UsageError for one that another process could not find."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if not is_own(name):
        raise UsageError(
            f"own code is found again by its name, {name} is inside of something: move it to the top level"
        )
    return name


def trust(names: Iterable[str]) -> None:
    """Let this process run what has these names: of modules, or of one thing in a module."""
    for name in names:
        if not is_own(name) and not is_own(f"{name}:all"):
            raise UsageError(f"own code is named as in 'my.module:make_net' or 'my.module', {name!r} was given")
        _trusted.add(name)


def trusted() -> set[str]:
    """All names that this process may run."""
    return _trusted | set(filter(None, os.environ.get(VARIABLE, "").split(",")))


def is_trusted(name: str) -> bool:
    """Whether this process may run what has this name."""
    return is_own(name) and not trusted().isdisjoint((name, name.partition(":")[0]))


def named(thing: Any) -> str:
    """The name of a class or function, which whoever gives the thing itself trusts; a name stays as it is."""
    if isinstance(thing, str):
        return thing
    name = name_of(thing)
    trust([name])
    return name


def names(data: Any) -> set[str]:
    """The names of own code in JSON data."""
    if isinstance(data, dict):
        return set().union(*(names(value) for value in data.values()))
    if isinstance(data, list):
        return set().union(*(names(value) for value in data))
    return {data} if is_own(data) else set()


def load(name: str) -> Any:
    """What has this name. UntrustedCode if nobody allowed it, UsageError if it is not there."""
    if not is_own(name):
        raise UsageError(f"own code is named as in 'my.module:make_net', {name!r} was given")
    if not is_trusted(name):
        raise UntrustedCode(
            f"{name} is code that the study names: if you know it, allow it with --allow-code {name} or "
            f"trust=[{name!r}]"
        )
    module, attribute = name.split(":")
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 - a script's own folder is not always there
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"there is no module {error.name!r} for {name}: start in its folder or install it") from error
    if not hasattr(found, attribute):
        where = "the script at work" if module == "__main__" else f"the module {module}"
        raise UsageError(f"{where} has no {attribute!r}, which the study names: put it into a module of its own")
    return getattr(found, attribute)
