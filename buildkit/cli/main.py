"""The command ``modelpack``: the only place that catches what went wrong and ends the process."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys

from buildkit.done import Done
from buildkit.errors import FAILED, INTERRUPTED, OUR_BUG, TERMINATED, ModelpackError, Problem

_LOOKED_FOR_GARBAGE_AFTER = 100_000
"""Objects. What is loaded at the start is nearly as many, and no garbage: after every 700, as is usual, Python would look for it in vain."""

DONE = Done()
"""What this process has done that others see."""


def main() -> None:
    """Runs the command line and exits with its code: 0, 1, 2, 3, 70, 130 or 143."""
    gc.set_threshold(_LOOKED_FOR_GARBAGE_AFTER)
    _speak_utf8()
    signal.signal(signal.SIGTERM, _terminated)
    code = _run()
    if _Ended.by_signal and code == INTERRUPTED:
        code = TERMINATED
    if code in (INTERRUPTED, TERMINATED):
        from buildkit.cli.render import show_interruption

        show_interruption(DONE)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read us has enough: python would complain once more when it closes the stream itself.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or FAILED
    if code in (INTERRUPTED, TERMINATED):
        # Threads that wait for a silent peer are daemons, but their connections are not worth a second's goodbye.
        sys.stderr.flush()
        os._exit(code)
    # The interpreter's last look for garbage would take a fifth of a short command's time, and frees nothing that is needed.
    gc.freeze()
    sys.exit(code)


class _Ended:
    by_signal = False


def _terminated(number: int, frame: object) -> None:
    """SIGTERM, as container runtimes and CI systems send it, ends a command as tidily as Ctrl-C."""
    _Ended.by_signal = True
    raise KeyboardInterrupt


def _run() -> int:
    try:
        from buildkit.cli.commands import app
        from buildkit.cli.completion import asked

        with asked():
            return int(app(standalone_mode=True, prog_name="modelpack") or 0)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except ModelpackError as error:
        from buildkit.cli.render import show_error

        show_error(error)
        return error.exit_code
    except OSError as error:
        from buildkit.cli.render import show_error

        show_error(_explained(error))
        return FAILED
    except Exception:
        return _our_bug()


def _explained(error: OSError) -> ModelpackError:
    where = str(error.filename or "")
    hint = "make room on the disk, and run the same command again" if error.errno == errno.ENOSPC else ""
    return ModelpackError(f"{where}: {error.strerror or error}" if where else str(error.strerror or error), hint=hint)


def _our_bug() -> int:
    import traceback

    from buildkit import __version__
    from buildkit.cli.render import show_error

    kind, value, _ = sys.exc_info()
    named = Problem("", f"{kind.__name__ if kind else ''}: {value}")
    hint = f"report it with version {__version__} and what MODELPACK_TRACEBACK=1 shows"
    show_error(ModelpackError("this is a fault of modelpack itself, not of yours", [named], hint))
    if os.environ.get("MODELPACK_TRACEBACK"):
        traceback.print_exc()
    return OUR_BUG


def _speak_utf8() -> None:
    """Names of files may hold any letter, and a terminal that cannot show one must not end the command."""
    # A stream that was closed before we began is none at all in Python.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - it is for as long as we live
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - it is for as long as we live
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
