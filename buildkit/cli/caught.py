"""A run of the command line, and what went wrong in it: the only place that catches everything, told as a person can mend it."""

from __future__ import annotations

import errno
import os
import sys

from buildkit.cli.main import STDOUT
from buildkit.errors import FAILED, OUR_BUG, ModelpackError, Problem


def run() -> int:
    """Runs the command that the process was started with, tells what went wrong, and returns its exit code.

    Raises KeyboardInterrupt where a signal interrupts it.
    """
    code = _run()
    try:
        sys.stdout.flush()
    except OSError as error:
        code = max(code, _unwritten(error))
    return code


def _run() -> int:
    try:
        from buildkit.cli.commands import app
        from buildkit.cli.completion import asked

        with asked():
            return int(app(standalone_mode=True, prog_name="modelpack") or 0)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else FAILED
    except ModelpackError as error:
        from buildkit.cli.render import show_error

        show_error(error)
        return error.exit_code
    except OSError as error:
        if error.filename == STDOUT:
            return _unwritten(error)
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


def _unwritten(error: OSError) -> int:
    """Tells that results are lost, and what is done nevertheless; returns the exit code."""
    # What is left would be written again when Python closes the stream, which would complain once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Who closes a pipe has read enough.
    if isinstance(error, BrokenPipeError):
        return FAILED
    from buildkit.cli.render import show_error
    from buildkit.cli.session import DONE

    noted = [Problem("", f"{name} {became}") for name, became in DONE.noted.items()]
    what = f"stdout cannot be written: {error.strerror}" + ("; what was done is" if noted else "")
    hint = "make room where it goes, and run the same command again" if error.errno == errno.ENOSPC else ""
    show_error(ModelpackError(what, noted, hint))
    return FAILED
