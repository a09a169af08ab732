"""The command ``modelpack``: ends the process, with the code of what it did, or by a signal that comes at any moment.

Only what Python has in itself is imported before the first signal can be caught: among imports it would end in a traceback.
"""

from __future__ import annotations

import gc
import io
import os
import sys

_LOOKED_FOR_GARBAGE_AFTER = 100_000
"""Objects. What is loaded at the start is nearly as many, and no garbage: after every 700, as is usual, Python would look for it in vain."""
_BEHIND_SECONDS = 0.01
STDOUT = "<stdout>"
"""The file name of what is raised where stdout cannot be written."""


class _Signals:
    """What came, and what the next one does: it interrupts, until the command is ``over``, and ends us at once where ``code`` is set."""

    came = False
    terminated = False
    over = False
    code: int | None = None


def main() -> None:
    """Runs the command line and exits with its code: 0, 1, 2, 3, 70, 130 or 143."""
    _Signals.over, _Signals.code = False, None
    try:
        gc.set_threshold(_LOOKED_FOR_GARBAGE_AFTER)
        _take_signals()
        _speak_utf8()
        from buildkit.cli.caught import run

        code, interrupted = run(), False
    except KeyboardInterrupt:
        # A call would let the next signal in, which nobody would catch.
        _Signals.over = True
        code, interrupted = 0, True
    _Signals.over = True
    from buildkit.errors import INTERRUPTED

    # typer makes an exit code of an interruption; a server that was run may have ended with the same.
    if interrupted or (code == INTERRUPTED and _Signals.came):
        _leave_interrupted()
    _Signals.code = code
    # The interpreter's last look for garbage would take a fifth of a short command's time, and frees nothing that is needed.
    gc.freeze()
    sys.exit(code)


def _take_signals() -> None:
    import signal

    signal.signal(signal.SIGTERM, _terminated)
    # A shell starts what it runs in the background with SIGINT ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    sys.unraisablehook = _lost


def _terminated(number: int, frame: object) -> None:
    """SIGTERM, as container runtimes and CI systems send it, ends a command as tidily as Ctrl-C."""
    _Signals.terminated = True
    _interrupted(number, frame)


def _interrupted(number: int, frame: object) -> None:
    _Signals.came = True
    if _Signals.code is not None:
        os._exit(_Signals.code)
    if not _Signals.over:
        raise KeyboardInterrupt


def _lost(exception: sys.UnraisableHookArgs) -> None:
    """An interruption in a callback of the import machinery, or in a destructor, ends nothing there: it comes again, behind it."""
    if exception.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(exception)
        return
    import threading

    threading.Timer(_BEHIND_SECONDS, _again).start()


def _again() -> None:
    import signal

    number = signal.SIGTERM if _Signals.terminated else signal.SIGINT
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        # To the process, and not to this thread: it wakes the main one, whatever that waits for.
        os.kill(os.getpid(), number)


def _leave_interrupted() -> None:
    """Tells what was done, and ends the process."""
    # Once more: the first signal may have come before this was done.
    _take_signals()
    from buildkit.cli.render import show_interruption
    from buildkit.cli.session import DONE
    from buildkit.errors import INTERRUPTED, TERMINATED

    code = TERMINATED if _Signals.terminated else INTERRUPTED
    try:
        show_interruption(DONE)
        _Signals.code = code
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Whoever listened is gone, perhaps. Threads that wait for a silent peer are daemons, but their connections are not
        # worth a second's goodbye.
        os._exit(code)


class _Stdout(io.TextIOWrapper):
    """stdout, which says of its failures that they are its own: of themselves they name no file."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            error.filename = STDOUT
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            error.filename = STDOUT
            raise


def _speak_utf8() -> None:
    """Names of files may hold any letter, and a terminal that cannot show one must not end the command."""
    out, err = sys.stdout, sys.stderr
    # A stream that was closed before we began is none at all in Python.
    sys.stdout = out or open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115 - it is for as long as we live
    sys.stderr = err or open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115 - it is for as long as we live
    if isinstance(out, io.TextIOWrapper):
        sys.stdout = _Stdout(out.buffer, out.encoding, "backslashreplace", None, out.line_buffering, out.write_through)
    if isinstance(err, io.TextIOWrapper):
        err.reconfigure(errors="backslashreplace")
