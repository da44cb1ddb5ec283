"""The README and the pages of docs/: their blocks, and the commands in them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
# Pages that say how something was measured: hours, and files of others.
MEASUREMENTS = ("results.md", "performance.md", "studies.md")


class Command(NamedTuple):
    """A line of a ```bash block, and the page that it stands on."""

    page: str
    words: tuple[str, ...]

    @property
    def ours(self) -> tuple[str, ...]:
        """The words after `sdjax`, which train.py, featurize.py and Slurm get too."""
        program, *rest = self.words
        if program == "sbatch" and rest[0] == "examples/cluster/train.slurm":
            return ("train", "--distributed", *rest[1:])
        if program == "sbatch" and rest[0] == "examples/cluster/spark.slurm":
            return (*rest[1:], "--engine", "spark")
        if program == "python" and rest[0] in ("train.py", "featurize.py"):
            return (rest[0].removesuffix(".py"), *rest[1:])
        return tuple(rest) if program == "sdjax" else ()


def blocks(page: Path, language: str) -> list[str]:
    """The texts of a page's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def commands(page: Path) -> list[Command]:
    """Every command of a page's bash blocks; a loop stands for its first round."""
    found = []
    for block in blocks(page, "bash"):
        variables = {}
        for line in block.replace("\\\n", " ").splitlines():
            if loop := re.match(r"\s*for (\w+) in (\S+) .*; do$", line):
                variables[loop[1]] = loop[2]
                continue
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    del words[0]  # of the environment
                if words and words != ["done"]:
                    found.append(Command(page.name, tuple(words)))
    return found


def quick_start() -> list[tuple[str, ...]]:
    """The words of each command in the block that the README marks."""
    marked = r"<!-- quick start: .*-->\n```bash\n(.*?)```"
    (block,) = re.findall(marked, PAGES[0].read_text(), re.S)
    return [tuple(shlex.split(line)) for line in block.splitlines()]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}
