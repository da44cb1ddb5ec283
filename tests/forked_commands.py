"""Commands of sdjax as forked processes, to be waited for or killed."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

LONGEST = 900  # seconds until a run counts as stuck


def start(commands: Sequence[Sequence[str]], log: Path) -> list[int]:
    """Fork a process for each command, in a group of its own; return their ids."""
    started = []
    for arguments in commands:
        child = os.fork()
        if child == 0:
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            for stream in (1, 2):
                os.dup2(output, stream)
            status = 70
            try:
                sys.argv = ["sdjax", *arguments]
                smaller_blocks()
                from sdjax import cli

                cli.main()
            except SystemExit as ended:
                status = ended.code or 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(status if isinstance(status, int) else 1)
        started.append(child)
    return started


def smaller_blocks() -> None:
    """Let there be many places to be killed at."""
    from sdjax.data.formats import lines
    from sdjax.features import bulk
    from sdjax.prepare import blocks, shards

    lines.CHUNK_BYTES = blocks.BLOCK_BYTES = 50_000
    shards._MOST_SHARDS, bulk.BLOCK_TEXTS = 2, 200


def kill(processes: Sequence[int]) -> None:
    """Kill the groups of some processes; -9 reaches what they started, too."""
    for process in processes:
        try:
            os.killpg(process, signal.SIGKILL)
        except ProcessLookupError:
            pass


def kill_process(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_for(processes: Sequence[int], seconds: float) -> list[int] | None:
    """Return the exit statuses; None where not all have ended by then."""
    end, left, statuses = time.monotonic() + seconds, list(processes), {}
    while left and time.monotonic() < end:
        for process in list(left):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                statuses[process] = os.waitstatus_to_exitcode(status)
                left.remove(process)
        time.sleep(0.01)
    return None if left else [statuses[process] for process in processes]


def run_whole(commands: Sequence[Sequence[str]], log: Path) -> float:
    """Run commands to their end; return how many seconds they took.

    Raises:
        RuntimeError: one failed or does not end.
    """
    begin, processes = time.monotonic(), start(commands, log)
    statuses = wait_for(processes, LONGEST)
    kill(processes)
    if statuses is None or any(statuses):
        raise RuntimeError(f"{commands}: {statuses or 'stuck'}; see {log}")
    return time.monotonic() - begin
