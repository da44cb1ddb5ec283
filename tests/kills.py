"""Kill -9 at random moments, and compare what comes of going on with no kill at all.

    python tests/kills.py --folder kills --kills 30 --detach

For each kind of work there is one undisturbed run. Then, again and again: the work is
begun in an empty folder, all of its processes are killed after a random time, the same
command is given once more, and what is there then must be the same, bit for bit. The
moments are drawn from the seed. What was counted stands in `<folder>/counts.jsonl`, so
the script goes on where it was stopped; with --detach it does so after its terminal is
gone, and writes to `<folder>/log.txt`.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from forked_commands import LONGEST, kill, kill_process, run_whole, start, wait_for

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
FLAGS = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"


class Kind(NamedTuple):
    """A kind of work.

    commands: from its folder to the command lines that run at once, one a process.
    result: from its folder to all that must be the same, by name.
    """

    commands: Callable[[Path], list[list[str]]]
    result: Callable[[Path], dict[str, str]]


def files_of(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in found
    }


def trained(folder: Path) -> dict[str, str]:
    """Return the digests of a run's last checkpoint, and its log without the rates."""
    from sdjax.checkpoints.stored import checkpoint_steps, read_meta, verify
    from sdjax.training.metrics import read_metrics

    *_, last = checkpoint_steps(folder / "run")
    meta, problems = read_meta(last), verify(last).problems
    found = {
        f"{item}.{name}": digest
        for item, d in meta.digests.items()
        for name, digest in d.items()
    }
    log = [
        {k: v for k, v in record.items() if k != "chars_per_second"}
        for record in read_metrics(folder / "run" / "metrics.jsonl")
    ]
    steps = [path.name for path in checkpoint_steps(folder / "run")]
    return (
        found
        | {"step": last.name, "steps": str(steps), "log": json.dumps(log)}
        | {"problems": str(problems)}
    )


def tuned(folder: Path) -> dict[str, str]:
    """Return the digests of a fine-tuned model, and the files of its classifier."""
    from sdjax.checkpoints.stored import checkpoint_steps, read_meta

    *_, last = checkpoint_steps(folder / "tuned")
    found = read_meta(last).digests["params"] | files_of(
        folder / "tuned" / "classifier"
    )
    left = sorted(path.name for path in (folder / "tuned").iterdir())
    return found | {"step": last.name, "left": str(left)}


def kinds(made: Path) -> dict[str, Kind]:
    """Return all kinds of work, on what `make_inputs` wrote."""
    labelled = made / "labelled"
    run = str(made / "run")

    def train(folder: Path) -> list[list[str]]:
        return [["train", f"--config={made / 'config.py'}", f"--workdir={folder}/run"]]

    def train_by_two(folder: Path) -> list[list[str]]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        joined = f"--coordinator=127.0.0.1:{port} --num-processes=2".split()
        one = [*train(folder)[0], "--distributed", *joined]
        return [[*one, f"--process-id={process}"] for process in range(2)]

    def prepare(folder: Path, *more: str) -> list[list[str]]:
        out = ["--shards", "6/1/1", "--out", str(folder / "corpus"), *more]
        return [["prepare", str(made / "in.jsonl"), *out]]

    def featurize(folder: Path) -> list[list[str]]:
        files = ["--input", str(made / "in.jsonl"), "--output", str(folder / "x.npy")]
        return [["featurize", "--checkpoint", run, *files]]

    def finetune(folder: Path) -> list[list[str]]:
        given = [
            x
            for s in ("train", "valid", "test")
            for x in (f"--{s}", str(labelled / f"{s}.csv"))
        ]
        quick = "--epochs 2 --batch-size 16 --max-bytes 16 --save-every 2".split()
        out = ["--label-key", "label", "--out", str(folder / "tuned"), *quick]
        return [["finetune", run, *given, *out]]

    return {
        "training": Kind(train, trained),
        "training by two processes": Kind(train_by_two, trained),
        "prepare": Kind(lambda f: prepare(f, "--workers", "2"), files_of),
        "prepare on Spark": Kind(
            lambda f: prepare(f, "--engine", "spark", "--spark-master", "local[2]"),
            files_of,
        ),
        "featurize": Kind(featurize, files_of),
        "finetune": Kind(finetune, tuned),
    }


def make_inputs(made: Path) -> None:
    """Write texts, a corpus, a config and a small model to `made`."""
    from sdjax.prepare import synthetic

    made.mkdir(parents=True)
    with open(made / "in.jsonl", "w") as file:
        for example in synthetic.reviews(3000, 0):
            file.write(json.dumps({"text": example.text}) + "\n")
    synthetic.write_labelled(made / "labelled", (64, 32, 32), 0)
    (made / "config.py").write_text(
        "from sdjax.training.config import defaults\n"
        "def get_config():\n"
        "    config = defaults.get_config()\n"
        f"    config.corpus = {str(made / 'corpus')!r}\n"
        "    config.model.hidden_size, config.model.embedding_size = 8, 4\n"
        "    config.global_batch_size, config.window_size = 8, 16\n"
        "    config.train_steps, config.checkpoint_every_steps = 16, 2\n"
        "    config.log_every_steps, config.eval_batch_size = 2, 8\n"
        "    config.keep_last_checkpoints = 3\n"
        "    return config\n"
    )
    shards = ["--shards", "2/1/1", "--out", str(made / "corpus")]
    run_whole([["prepare", "synthetic", "--reviews", "80", *shards]], made / "a.log")
    train = [f"--config={made / 'config.py'}", f"--workdir={made / 'run'}"]
    run_whole([["train", *train]], made / "b.log")


def result_of(kind: Kind, folder: Path) -> dict[str, str]:
    """Return the result of a kind of work, found out by a process of its own.

    Whoever has read a checkpoint has threads, and can fork no more.
    """
    answer = folder.with_suffix(".json")
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            answer.write_text(json.dumps(kind.result(folder)))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if wait_for([child], LONGEST) != [0]:
        kill_process(child)
        raise RuntimeError(f"{folder}: no result")
    return json.loads(answer.read_text())


def one_kill(kind: Kind, folder: Path, after: float, victims: Sequence[int]) -> str:
    """Begin, kill after some seconds, go on; say what was hit: "killed" or "done".

    Args:
        victims: which of the processes are killed; the others have to end themselves.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    processes = start(kind.commands(folder), log)
    ended = wait_for(processes, after)
    kill([processes[i] for i in victims])
    if ended is None and wait_for(processes, 120) is None:
        kill(processes)
        raise RuntimeError(f"what was not killed does not end; see {log}")
    if ended is not None and not any(ended):
        return "done"
    run_whole(kind.commands(folder), log)
    return "killed"


def count(folder: Path) -> list[dict]:
    """Return what was counted so far; a last line that was cut short is none."""
    path, found = folder / "counts.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def campaign(folder: Path, kills: int, seed: int, names: Sequence[str]) -> dict:
    """Kill each kind of work so many times; return the counts by kind.

    Args:
        folder: of inputs, runs and counts; what is there is gone on with.
        kills: of each kind, those that hit it.
        names: of the kinds; all of them by default.
    """
    os.environ["XLA_FLAGS"] = FLAGS
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    import sdjax.finetune.folder
    import sdjax.training.loop  # once, for all processes that are forked

    assert sdjax.training.loop and sdjax.finetune.folder
    folder = folder.absolute()
    made = folder / "made"
    if not (made / "whole").exists():
        shutil.rmtree(made, ignore_errors=True)
        make_inputs(made)
        (made / "whole").touch()
    chosen = {name: kind for name, kind in kinds(made).items() if name in names}
    for name, kind in chosen.items():
        place = folder / name.replace(" ", "-")
        known = place / "undisturbed.json"
        if not known.exists():
            shutil.rmtree(place, ignore_errors=True)
            (place / "undisturbed").mkdir(parents=True)
            run_whole(kind.commands(place / "undisturbed"), place / "undisturbed.log")
            shutil.rmtree(place / "undisturbed")  # once more: now all is compiled
            (place / "undisturbed").mkdir()
            log = place / "undisturbed.log"
            seconds = run_whole(kind.commands(place / "undisturbed"), log)
            wanted = result_of(kind, place / "undisturbed")
            known.write_text(json.dumps({"seconds": seconds, "result": wanted}))
        expected = json.loads(known.read_text())
        tried = [entry for entry in count(folder) if entry["kind"] == name]
        while sum(entry["hit"] == "killed" for entry in tried) < kills:
            draw = random.Random(f"{seed} {name} {len(tried)}")
            after = draw.uniform(0, 1) * lasts(tried, expected["seconds"])
            several = len(kind.commands(place / "again"))
            victims = draw.choice([[0], [1], [0, 1]]) if several == 2 else [0]
            entry = {"kind": name, "try": len(tried), "after": round(after, 3)}
            entry["victims"], entry["differences"] = victims, []
            try:
                begin = time.monotonic()
                entry["hit"] = one_kill(kind, place / "again", after, victims)
                entry["seconds"] = round(time.monotonic() - begin, 3)
                found = result_of(kind, place / "again")
                keys = sorted({*found, *expected["result"]})
                entry["differences"] = [
                    key for key in keys if found.get(key) != expected["result"].get(key)
                ]
            except Exception as error:
                entry |= {"hit": "killed", "differences": [f"failed: {error}"]}
            if entry["differences"]:
                kept = place / f"different-{len(tried)}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(place / "again", kept, symlinks=True)
                shutil.copy(place / "again.log", kept.with_suffix(".log"))
            tried.append(entry)
            with open(folder / "counts.jsonl", "a") as file:
                file.write(json.dumps(entry) + "\n")
            print(json.dumps(entry), flush=True)
    return {name: totals(folder, name) for name in chosen}


def lasts(tried: Sequence[dict], first: float) -> float:
    """Return how long an undisturbed run takes at present, on a shared machine.

    Args:
        tried: so far: one that was done before its kill tells how long it took.
        first: of the first one.
    """
    known = [e["seconds"] for e in tried if e["hit"] == "done" and "seconds" in e]
    return min([first, *known[-3:]])


def totals(folder: Path, name: str) -> dict:
    """Return how many kills hit a kind of work, how many came late, and differences."""
    tried = [entry for entry in count(folder) if entry["kind"] == name]
    return {
        "kills": sum(entry["hit"] == "killed" for entry in tried),
        "too late": sum(entry["hit"] == "done" for entry in tried),
        "differences": sum(bool(entry["differences"]) for entry in tried),
    }


def detach(folder: Path) -> None:
    """Go on in a process of its own, whose output is `<folder>/log.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.fork():
        os._exit(0)
    os.setsid()
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = list(kinds(Path("made")))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=names, action="append", help="default: all")
    parser.add_argument("--detach", action="store_true")
    given = parser.parse_args()
    if given.detach:
        detach(given.folder)
    found = campaign(given.folder, given.kills, given.seed, given.kind or names)
    for name, counts in found.items():
        print(f"{name}: {counts}", flush=True)
    sys.exit(any(counts["differences"] for counts in found.values()))


if __name__ == "__main__":
    main()
