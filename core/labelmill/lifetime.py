"""Ties a child process to the life of the one that starts it. Linux."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

#: Asks the kernel for a signal on the parent's death (prctl PR_SET_PDEATHSIG, 1), then becomes the
#: command. The flag survives exec; a parent that died before it was set is noticed by its id.
_BOUND = """\
import ctypes, os, sys
number, parent = int(sys.argv[1]), int(sys.argv[2])
ctypes.CDLL(None).prctl(1, number, 0, 0, 0)
if os.getppid() != parent:
    sys.exit(1)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def bound(command: Sequence[str], death: signal.Signals = signal.SIGKILL) -> list[str]:
    """`command`, wrapped so that the kernel sends it `death` when this process dies in any way.

    Start it from a thread that lives as long as the process: the kernel counts the end of the
    thread that started a child as the death of its parent.
    """
    interpreter = [sys.executable, "-I", "-S", "-c", _BOUND]
    return [*interpreter, str(int(death)), str(os.getpid()), *command]
