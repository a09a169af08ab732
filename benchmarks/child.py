"""Starts one command and writes down what it cost. A program of its own, and a small one, on purpose:

a process inherits the peak memory of the one that starts it (``ru_maxrss`` survives ``exec``), and a parent that serves
a hub at the same time would measure its own waiting. ``python -I -S child.py RESULT.json COMMAND...``
"""

import json
import os
import resource
import sys
import time


def main() -> int:
    """Runs the command; its exit code is ours."""
    result, *command = sys.argv[1:]
    began = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    # WNOWAIT leaves the ended process there, with its counters: they are gone once it is waited for.
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - began
    with open(f"/proc/{process}/io") as counters:
        written = next(int(line.split()[1]) for line in counters if line.startswith("write_bytes"))
    _, status = os.waitpid(process, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024, "written": written}
    with open(result, "w") as file:
        json.dump(cost, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
