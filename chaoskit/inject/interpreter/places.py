"""Which code is the program's own, and the names of its places in schedules."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from types import CodeType, FrameType

from chaoskit.core.operation import Frame

_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_LIBRARY = tuple(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib"))
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class CodePlaces:
    """Recognises the program's code, and names its lines. Does not touch the disk."""

    def __init__(self, packages: Iterable[str] = ()) -> None:
        """Lines of ``packages`` count in addition to those of the project."""
        self._packages = tuple(packages)
        # By identity: hashing a code object costs more than everything else here. The objects are kept, so
        # that their identities are not reused.
        self._names: dict[int, tuple[str, CodeType]] = {}

    def own(self, frame: FrameType) -> bool:
        """True if the code of ``frame`` belongs to the program; afterwards its places have names."""
        code = frame.f_code
        known = self._names.get(id(code))
        if known is None:
            module = str(frame.f_globals.get("__name__", ""))
            name = _name(code, module) if self._counts(code, module) else ""
            self._names[id(code)] = known = (name, code)
        return bool(known[0])

    def known(self, code: CodeType) -> bool:
        """True if the code was found to be the program's."""
        found = self._names.get(id(code))
        return found is not None and bool(found[0])

    def line(self, code: CodeType, number: int) -> str:
        """The name of a line: file, function, and its distance in lines from the function's beginning."""
        return f"{self._names[id(code)][0]},{number - code.co_firstlineno}"

    def called(self, code: CodeType, callee: object) -> str:
        """The name of calls of ``callee``: file, function, and what is called."""
        name = getattr(callee, "__name__", None) or type(callee).__name__
        return f"{self._names[id(code)][0]},{name}"

    def _counts(self, code: CodeType, module: str) -> bool:
        if any(module == one or module.startswith(f"{one}.") for one in self._packages):
            return True
        file = code.co_filename
        # "<frozen importlib._bootstrap>", "<string>": not a file that a reader could open.
        if file.startswith(("<", _OURS, *_LIBRARY)):
            return False
        return not any(part in file for part in _INSTALLED)


def _name(code: CodeType, module: str) -> str:
    parts = code.co_filename.replace(os.sep, "/").split("/")
    # As many directories as the module has packages, so that two __init__.py have different names.
    depth = module.count(".") + (parts[-1] == "__init__.py") if module != "__main__" else 0
    function = code.co_qualname.replace(".<locals>", "").replace("<", "").replace(">", "")
    return f"{'/'.join(parts[-1 - depth :])},{function}"


def user_frame() -> FrameType | None:
    """The innermost frame outside this package."""
    frame: FrameType | None = sys._getframe(1)
    here = os.path.dirname(__file__)
    while frame is not None and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    return frame


def stack(frame: FrameType | None, boundary: CodeType) -> tuple[Frame, ...]:
    """The frames from ``frame`` to the one that runs ``boundary``, which is left out."""
    found = []
    while frame is not None and frame.f_code is not boundary:
        code = frame.f_code
        found.append(Frame(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_qualname))
        frame = frame.f_back
    return tuple(found)
