"""A process that ends with the process that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

# argv: the read end of a pipe from the parent, then the module and its arguments.
_RUN_MODULE = (
    "import runpy, sys; "
    "from toomuchtv._internal.subprocess_pool import end_with_parent; "
    "end_with_parent(int(sys.argv[1])); del sys.argv[:2]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


class TiedProcess(subprocess.Popen[bytes]):
    """A process that runs a module as `python -m` does, and ends when this process ends.

    It ends however this process ends, also by SIGKILL. To let it end in order, call `terminate`.

    Args:
        module: The module to run.
        arguments: Its command line.
        options: Further arguments of `subprocess.Popen`.
    """

    def __init__(self, module: str, arguments: Sequence[str], **options: Any) -> None:
        theirs, self._ours = os.pipe()
        try:
            super().__init__(
                [sys.executable, "-c", _RUN_MODULE, str(theirs), module, *arguments],
                pass_fds=[theirs],
                **options,
            )
        finally:
            os.close(theirs)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        """Let go of the process. If it still runs, it ends now."""
        if hasattr(self, "_ours"):
            _close(self._ours)
            del self._ours
        super().__del__()
