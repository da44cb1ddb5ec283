"""The files of examples/cluster/: what they run parses, and what a cluster is told."""

import os
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from documentation import ROOT

from sdjax import cli
from sdjax.training.config.load import load

EXAMPLES = ROOT / "examples" / "cluster"
BASH = shutil.which("bash")


def parsed(words: list[str]):
    """The arguments of a command line, which the program's own parser has read."""
    assert words[0] == "sdjax"
    arguments, rest = cli.parse(cli.parser_of(words[1], "sdjax"), words[2:])
    if words[1] == "train":
        load(arguments.config, rest)
    return arguments


# -- Slurm, with stand-ins for its programs and for ours


class Cluster:
    """A folder of programs that write down how they were called, and what they give."""

    def __init__(self, folder: Path):
        self._folder, self._calls = folder, folder / "calls"
        self._calls.touch()
        self._program("hostname", "echo host0")

    def _program(self, name: str, *lines: str) -> None:
        path = self._folder / name
        path.write_text("\n".join([f"#!{BASH}", *lines, ""]))
        path.chmod(0o755)

    def notes(self, name: str, *lines: str) -> None:
        """Make a program that notes its name and words, a line each, and goes on."""
        note = f"""printf '%s\\n' "{name}" "$@" "" >> '{self._calls}'"""
        self._program(name, note, *lines)

    def run(self, script: str, *words: str) -> int:
        path = f"{self._folder}:/usr/bin:/bin"
        environment = {"PATH": path, "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "2"}
        command = [BASH, EXAMPLES / script, *words]
        return subprocess.run(
            command, cwd=self._folder, env=environment, timeout=60
        ).returncode

    def calls(self) -> list[list[str]]:
        """What was called, each with its words."""
        blocks = self._calls.read_text().split("\n\n")
        return [block.split("\n") for block in blocks if block]


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


@pytest.mark.parametrize(
    ("status", "again"), [(0, False), (1, False), (143, True)], ids=str
)
def test_training_is_queued_again_only_where_it_was_stopped(cluster, status, again):
    cluster.notes("srun", f"exit {status}")
    cluster.notes("scontrol")
    words = ["--config", "mlstm4k", "--workdir", "a run"]
    assert cluster.run("train.slurm", *words) == status
    (_, *ours), *rest = cluster.calls()
    arguments = parsed(ours)
    assert arguments.distributed and arguments.workdir == Path("a run")
    assert arguments.coordinator is None  # jax asks Slurm
    assert rest == ([["scontrol", "requeue", "7"]] if again else [])


@pytest.mark.parametrize("status", [0, 2])
def test_a_spark_lasts_as_long_as_its_command(cluster, status, tmp_path):
    cluster.notes("srun", "echo $$ > worker; exec sleep 60")
    cluster.notes("spark-class", "echo $$ > master; exec sleep 60")
    cluster.notes(
        "sdjax",
        "until [ -s worker ] && [ -s master ]; do sleep 0.01; done",
        f"exit {status}",
    )
    words = ["prepare", "a b/*.jsonl", "--out", "corpus"]
    assert cluster.run("spark.slurm", *words) == status
    calls = {call[0]: call for call in cluster.calls()}
    arguments = parsed(calls["sdjax"])
    assert (arguments.engine, arguments.spark_master) == ("spark", "spark://host0:7077")
    assert arguments.source == ["a b/*.jsonl"]
    assert calls["spark-class"][2:] == ["--host", "host0", "--port", "7077"]
    assert calls["srun"][-1] == "spark://host0:7077"
    numbers = [int((tmp_path / name).read_text()) for name in ("master", "worker")]
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


# -- Kubernetes


def manifests() -> dict[str, dict]:
    text = (EXAMPLES / "train-job.yaml").read_text()
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


@pytest.mark.parametrize("version", ["1.28", kubernetes_validate.latest_version()])
def test_the_job_follows_the_schema_of_kubernetes(version):
    for manifest in manifests().values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_finds_a_mistake():
    job = manifests()["Job"]
    job["spec"]["template"]["spec"]["container"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.28", strict=True)


def test_the_pods_of_the_job_find_each_other():
    service, job = manifests()["Service"], manifests()["Job"]
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    arguments = parsed(
        [w.replace("$(JOB_COMPLETION_INDEX)", "0") for w in container["command"]]
    )
    assert arguments.num_processes == spec["completions"] == spec["parallelism"]
    host = arguments.coordinator.partition(":")[0]
    assert host == f"{name}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
