"""The quarter of an hour with a GPU: every measurement in two commands of six minutes.

    make gpu-day                       # versions, numerics, speed
    make gpu-day HALF=second CORPUS=data/imdb SST=data/sst    # training, 8,192 units
    make gpu-day-rehearsal             # all of it on a CPU, at tiny sizes

Each part is a process of its own with a time that it is ended after, and writes what it
has found as soon as it has it, so that being cut off loses nothing measured before.
Nothing is fetched: the machine needs no network, but Python 3.12 (docs/performance.md).
"""

import argparse
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SECONDS = 360  # of each half
_STOP_SECONDS = 30  # that a run gets to save its last checkpoint
NUMERICS = ("test_recurrence.py", "test_stack.py", "test_precision.py")


class Part(NamedTuple):
    """One measurement: a command, and what it may take."""

    name: str
    half: str
    seconds: int
    what: str
    command: tuple[str, ...]
    output: str = ""  # file that its words go to, else the screen


def plan(arguments: argparse.Namespace) -> list[Part]:
    """Return the parts of a half in their order."""
    out, python, tiny = arguments.out, sys.executable, arguments.rehearse
    here = (python, "-m", "benchmarks.gpu_day_parts")
    rehearsal = ("--rehearse",) if tiny else ()
    tests = [f"tests/model/{name}" for name in NUMERICS]
    if tiny:  # the default run of the tests has all of them on this machine
        tests = ["tests/model/test_precision.py"]
    run, features = out / "work" / "run", out / "work" / "features"
    parts = [
        Part("versions", "first", 30, "card, versions, flags", (*here, "versions")),
        Part(
            "numerics",
            "first",
            90,
            "both layouts against float64, on the device",
            (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests),
            "numerics.txt",
        ),
        Part(
            "speed",
            "first",
            210,
            "4,096 units in three precisions against the baselines",
            (*here, "speed"),
        ),
        Part(
            "train",
            "second",
            150,
            "a training run of 4,096 units for as long as there is time",
            (python, "train.py", *_train_flags(arguments, run)),
        ),
    ]
    for split, names in arguments.splits.items():
        parts.append(
            Part(
                f"features-{split}",
                "second",
                20,
                f"features of {names}",
                (
                    *(python, "featurize.py", "--checkpoint", str(run)),
                    *("--input", str(names), "--text-key", "sentence"),
                    *("--label-key", "label", "--batch-size", "256"),
                    *("--output", str(features / f"{split}.npz")),
                ),
            )
        )
    if arguments.splits:
        files = [str(features / f"{s}.npz") for s in ("train", "valid", "test")]
        flags = zip(("--train", "--valid", "--test"), files, strict=True)
        command = (python, "-m", "sdjax.cli", "probe", *(x for f in flags for x in f))
        command += ("--out", str(out / "work" / "report"), "--draws", "0")
        command += ("--no-bag-of-words", "--one-checkpoint")
        parts.append(
            Part("probe", "second", 45, "the unit", command, "probe.txt"),
        )
    parts += [
        Part("curve", "second", 10, "the loss curve", (*here, "curve")),
        Part("wide", "second", 60, "8,192 units: whether, how fast", (*here, "wide")),
    ]
    parts = [p for p in parts if p.half == arguments.half or tiny]
    ours = [
        p._replace(command=(*p.command, "--out", str(out), *rehearsal))
        if p.command[: len(here)] == here
        else p
        for p in parts
    ]
    return [p for p in ours if p.name not in arguments.skip]


def _train_flags(arguments: argparse.Namespace, run: Path) -> list[str]:
    settings = {"corpus": arguments.corpus, "precision": "bf16"}
    if arguments.rehearse:
        settings |= {
            "model.hidden_size": 16,
            "global_batch_size": 8,
            "window_size": 16,
            "precision": "fp32",
            "train_steps": 40,
            "log_every_steps": 10,
            "checkpoint_every_steps": 40,
        }
    else:
        # Ends by the clock; the learning rate falls as if it were to take an epoch.
        settings |= {
            "model.hidden_size": 4096,
            "global_batch_size": 256,
            "log_every_steps": 10,
            "checkpoint_every_steps": 100_000,
            "base_learning_rate": 2.5e-4,
        }
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    return ["--config", "configs/default.py", "--workdir", str(run), *flags]


def missing() -> list[str]:
    """Return the requirements, those for a GPU and the tests included, that lack."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cuda"]]
    wanted += ["pytest>=9", "jax-cuda13-plugin"]
    found = []
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9_.\-]+", requirement)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found.append(requirement)
    return found


def how_to_bring(found: list[str]) -> str:
    """Say which wheels to bring to a machine without a network, and how."""
    quoted = " ".join(f"'{requirement}'" for requirement in found)
    return (
        f"{len(found)} packages are not installed: {', '.join(found)}\n"
        "On a machine with a network and the same Python:\n"
        f"  pip download -c constraints.txt -d wheels 'jax[cuda13]' {quoted}\n"
        "Copy wheels/ here, then:\n"
        "  pip install --no-index --find-links wheels -c constraints.txt"
        f" 'jax[cuda13]' {quoted}"
    )


def carry_out(part: Part, seconds: float, out: Path) -> str:
    """Run a part for at most so long; return how it ended.

    What is asked to stop gets a signal first, so that a training run saves.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SDJAX_TEST_OPTIMISED": "1"}
    log = open(out / part.output, "w") if part.output else None
    try:
        process = subprocess.Popen(
            part.command,
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
            return "done" if status == 0 else f"failed with status {status}"
        except subprocess.TimeoutExpired:
            process.terminate()  # SIGINT is ignored in the background of a shell
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return f"ended after {seconds:.0f} s"
    finally:
        if log:
            log.close()


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu_day", description=__doc__.split("\n")[0])
    parser.add_argument("half", choices=("first", "second"), nargs="?", default="first")
    parser.add_argument("--out", type=Path, default=Path("gpu-day"), metavar="DIR")
    parser.add_argument("--corpus", default="data/imdb", help="to train on")
    parser.add_argument("--sst", type=Path, metavar="DIR", help="train, val*, test CSV")
    parser.add_argument("--skip", nargs="*", default=[], metavar="PART")
    parser.add_argument("--rehearse", action="store_true", help="both, tiny, on a CPU")
    arguments = parser.parse_args(argv)
    arguments.out = arguments.out.absolute()
    arguments.splits = {}
    if arguments.rehearse:
        arguments.sst = arguments.out / "work" / "labelled"
        arguments.corpus = str(arguments.out / "work" / "corpus")
    if arguments.sst:
        names = {"train": "*train*.csv", "valid": "*val*.csv", "test": "*test*.csv"}
        arguments.splits = {
            split: next(iter(sorted(arguments.sst.glob(pattern))), f"{split}.csv")
            for split, pattern in names.items()
        }
        if arguments.rehearse:
            arguments.splits = {s: arguments.sst / f"{s}.csv" for s in names}
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    if not arguments.rehearse and (found := missing()):
        print(how_to_bring(found))
        return 2
    out, parts = arguments.out, plan(arguments)
    (out / "work").mkdir(parents=True, exist_ok=True)
    if arguments.rehearse:
        rehearsal_data(out / "work")
    print(f"{arguments.half} half, at most {SECONDS} s, into {out}:")
    for part in parts:
        print(f"  {part.name:<16} {part.seconds:>4} s at most  {part.what}")
    begin, ended = time.monotonic(), {}
    for part in parts:
        left = SECONDS - (time.monotonic() - begin)
        if left < 5:
            ended[part.name] = "left out, no time"
            continue
        start = time.monotonic()
        ended[part.name] = carry_out(part, min(part.seconds, left), out)
        took = time.monotonic() - start
        print(f"{part.name}: {ended[part.name]}, {took:.0f} s", flush=True)
    command = (sys.executable, "-m", "benchmarks.gpu_day_parts", "results")
    results = Part("results", "", 20, "", (*command, "--out", str(out)))
    print(f"results: {carry_out(results, results.seconds, out)}")
    return 1 if any(how.startswith("failed") for how in ended.values()) else 0


def rehearsal_data(work: Path) -> None:
    """Make a small corpus and labelled texts, once."""
    sdjax = (sys.executable, "-m", "sdjax.cli")
    for made, command in (
        (
            work / "corpus",
            ("prepare", "synthetic", "--reviews", "400", "--shards", "2/1/1", "--out"),
        ),
        (work / "labelled", ("labelled", "--counts", "60/30/30", "--out")),
    ):
        if not made.exists():
            subprocess.run((*sdjax, *command, str(made)), cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
