"""What each kind of `sdjax bench` measures, by its flags.

Each returns the rows of its table and what they were measured on.
"""

import importlib.util
import os

from sdjax.errors import InputError
from sdjax.terminal import show, show_lines


def _torch_is_here() -> bool:
    if importlib.util.find_spec("torch"):
        return True
    show("PyTorch is not installed: its rows are left out (pip install torch)")
    return False


def _device() -> str:
    import jax

    return f"{jax.devices()[0].device_kind}, jax {jax.__version__}"


def train(arguments):
    from benchmarks import roofline, train
    from sdjax.model.precision import policy

    policy(arguments.precision)
    if arguments.figure and arguments.figure.suffix != ".png":
        raise InputError(f"--figure {arguments.figure}: give a name that ends in .png")
    shapes = [train.Shape(h, b, arguments.window) for h, b in arguments.shapes]
    baselines = not arguments.ours_only
    rows = train.measure(
        shapes,
        arguments.precision,
        arguments.rounds,
        with_baselines=baselines,
        with_torch=baselines and _torch_is_here(),
        layout=arguments.layout,
    )
    if arguments.figure:
        bandwidth = train.memory_bandwidth()
        roofline.draw(rows, bandwidth, _device(), arguments.figure)
    return rows, _device()


def program(arguments):
    # A GPU of this machine, if there is one, is not asked.
    os.environ["JAX_PLATFORMS"] = "cpu"
    from benchmarks import gpu_program
    from sdjax.model.precision import policy

    policy(arguments.precision)
    gpu_program.check_installed()
    request = gpu_program.Request(
        chip=arguments.chip,
        precision=arguments.precision,
        hidden_size=arguments.shape[0],
        batch_size=arguments.shape[1],
        window_size=arguments.window,
        cell=arguments.cell,
        num_layers=arguments.layers,
        devices=arguments.devices,
        layout=arguments.layout,
        average=arguments.average,
    )
    rows, plan = gpu_program.examine(request)
    show_lines(gpu_program.in_words(request, plan))
    about = {"request": request._asdict(), "plan": plan._asdict()}
    return rows, gpu_program.where(request), about


def featurize(arguments):
    from benchmarks import featurize

    rows = featurize.measure(
        _texts(arguments, 2000),
        arguments.hidden,
        arguments.batch_size,
        arguments.precision,
        arguments.rounds,
        with_torch=_torch_is_here(),
    )
    return rows, _device()


def service(arguments):
    from benchmarks import service

    rows = service.measure(
        _texts(arguments, arguments.texts)[: arguments.texts],
        arguments.hidden,
        arguments.clients,
        arguments.precision,
        arguments.rounds,
    )
    return rows, _device()


def _texts(arguments, count: int) -> list[str]:
    """The texts of --input, or so many from a generator."""
    from sdjax.data import sources
    from sdjax.data.read_report import ReadReport
    from sdjax.prepare import synthetic

    if arguments.input is None:
        return [example.text for example in synthetic.reviews(count, 0)]
    examples = sources.read_examples(
        str(arguments.input), report=ReadReport(), text_key=arguments.text_key
    )
    return [example.text for example in examples]


def classify(arguments):
    from benchmarks import classify
    from sdjax.prepare import synthetic

    rows = classify.measure(
        [example.text for example in synthetic.reviews(arguments.texts, 0)],
        arguments.hidden,
        arguments.batch_size,
        arguments.precision,
        arguments.rounds,
    )
    return rows, _device()


def data(arguments):
    from benchmarks import data
    from sdjax.data.corpus import Corpus

    if arguments.devices < 1 or arguments.batch_size % arguments.devices:
        raise InputError(
            f"--batch-size {arguments.batch_size} cannot be split over --devices"
            f" {arguments.devices}"
        )
    rows = data.measure(
        Corpus.open(arguments.corpus),
        arguments.batch_size,
        arguments.window,
        arguments.devices,
        arguments.seconds,
    )
    return rows, "one process of this host"


def loop(arguments):
    from benchmarks import end_to_end
    from benchmarks.train import Shape

    rows = end_to_end.measure(
        arguments.corpus,
        Shape(*arguments.shape, arguments.window),
        arguments.precision,
        arguments.steps,
        arguments.rounds,
    )
    return rows, _device()


def prepare(arguments):
    from benchmarks import prepare

    if arguments.folder and not arguments.folder.is_dir():
        raise InputError(f"--folder {arguments.folder}: no such folder; make it first")
    rows = prepare.measure(arguments.reviews, arguments.repeats, arguments.folder)
    return rows, _cores()


def generate(arguments):
    from benchmarks import generate

    rows = generate.measure(
        arguments.hidden, arguments.samples, arguments.length, arguments.rounds
    )
    return rows, _device()


def sweep(arguments):
    from benchmarks import probe

    rows = probe.measure(
        arguments.texts, arguments.units, arguments.workers, arguments.repeats
    )
    return rows, _cores()


def _cores() -> str:
    from sdjax.prepare.workers import cores

    return f"{cores()} cores of this host"
