"""Run a command and print as JSON its seconds, to the first line and in all, its peak memory and its output.

A process of its own, run by its path: peak memory of a process includes that of the one that started it, which must be
small.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any


def run(command: list[str]) -> dict[str, Any]:
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as problems,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=problems) as process,
    ):
        assert process.stdout is not None
        output = process.stdout.readline()
        first = time.perf_counter() - start
        output += process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        problems.seek(0)
        *_, problem = ["", *problems.read().decode(errors="replace").splitlines()]
    unit = 1 if sys.platform == "darwin" else 1024
    facts = {"megabytes": usage.ru_maxrss * unit / 1e6, "code": process.returncode, "output": output.decode()}
    return {"first": first, "seconds": seconds, **facts, "problem": problem}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1:])))
