"""A Spark session of this Python, and what went wrong on a worker in one sentence."""

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sdjax.errors import InputError
from sdjax.terminal import show

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Each in the text of an error of Spark, which has the stack of the worker in it, and
# what to say of it; `{}` is what the group found, the last time that it did: an error
# that was raised because of another one comes after that. The first of these counts.
_CAUSES = tuple(
    (re.compile(pattern), line)
    for pattern, line in (
        (r"sdjax\.errors\.\w+: (.+)", "{}"),
        (
            r"(?:ModuleNotFound|Import)Error: No module named '?([\w.]+)",
            "a worker of Spark has no module {}: install sdjax, with all that it needs,"
            " in the Python of the workers, and name that Python in PYSPARK_PYTHON",
        ),
        (
            r"PYTHON_VERSION_MISMATCH\] (.+)",
            "the Python of the workers is not that of the driver; name the one of the"
            " driver's version in PYSPARK_PYTHON ({})",
        ),
        (
            r'Cannot run program "([^"]+)"',
            "a worker of Spark cannot run {}: name a Python that all workers have in"
            " PYSPARK_PYTHON",
        ),
        (
            r"(MemoryError|RESOURCE_EXHAUSTED|bad_alloc|OutOfMemoryError"
            # How the system, its loader and XLA say it under a limit of memory.
            r"|Cannot allocate memory|failed to map segment|YNNPACK operation failed"
            r"|Python worker exited unexpectedly|ExecutorLostFailure"
            r"|Killed by external signal|exit(?:ed with)? code 137)",
            "a worker process of Spark has not memory enough, or was killed, most often"
            " for want of memory ({}): give executors more (spark.executor"
            ".memoryOverhead, which is outside of the heap of Java) or fewer cores,"
            " since each core has a process of its own",
        ),
        (
            r"\w*Error: \[Errno \d+\] (.+)",
            "a worker of Spark met: {}; input and output must be on a file system that"
            " driver and workers share, with room for the output",
        ),
    )
)


# What logs the stack of each attempt that failed; `cause` says what came of it.
_WITH_STACKS = (
    "org.apache.spark.executor.Executor",
    "org.apache.spark.scheduler.TaskSetManager",
)


@contextlib.contextmanager
def session(master: str, name: str, progress: bool) -> "Iterator[SparkSession]":
    """Give a Spark session; at the end it is stopped.

    One that is there already is given as it is, and stays.

    Args:
        master: URL of the cluster, or `local[N]` for N threads of this machine.
        name: of the application.
        progress: show Spark's progress bar.

    Raises:
        InputError: Spark is missing or does not start; or as `clear_errors`.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise InputError(
            "--engine spark needs pyspark and Java 17: pip install 'sdjax[spark]'"
        ) from error
    there = SparkSession.getActiveSession()
    made = there or _start(SparkSession.builder.master(master).appName(name), progress)
    try:
        with clear_errors():
            yield made
    except InputError:
        if progress and there is None:
            show("", file=sys.stderr)  # the bar has not ended its line
        raise
    finally:
        if there is None:
            made.stop()


def _start(builder: "SparkSession.Builder", progress: bool) -> "SparkSession":
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": str(progress).lower(),
        "spark.executorEnv.PYTHONPATH": str(Path(__file__).parents[2]),
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        with warnings.catch_warnings():  # of jax: forked, Java's process begins at once
            warnings.simplefilter("ignore", RuntimeWarning)
            made = builder.getOrCreate()
    except Exception as error:  # Java, py4j and pyspark each raise their own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"--spark-master does not give a Spark that starts ({lines[0][:200]});"
            " check the URL and that Java 17 is installed"
        ) from error
    log4j = made.sparkContext._jvm.org.apache.logging.log4j
    for name in _WITH_STACKS:
        log4j.core.config.Configurator.setLevel(name, log4j.Level.OFF)
    return made


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Raise what a worker could not do as one sentence instead of Java's stack.

    Raises:
        InputError: names what the user can mend. An error of which nothing is known
            stays as it is.
    """
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:
        if line := cause(str(error)):
            raise InputError(line) from error
        raise


def cause(text: str) -> str | None:
    """Return in one sentence what an error of Spark comes from; None if not known."""
    for pattern, line in _CAUSES:
        if found := pattern.findall(text):
            return line.format(found[-1].strip())
    return None
