"""What a file says of a model is checked before any memory or time is spent on it."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
from foreign import random_params
from older import without_digests

from sdjax.checkpoints import published
from sdjax.checkpoints.load import load_model, model_config
from sdjax.checkpoints.settings import model_of
from sdjax.checkpoints.stored import META, checkpoint_steps, read_shapes
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.integrity import sealed
from sdjax.training.config import defaults
from sdjax.training.config.model import with_model

SHAPES = {
    "embedding.embedding": (256, tiny.EMBEDDING),
    "output.kernel": (tiny.HIDDEN, 256),
    "recurrent.wx": (tiny.EMBEDDING, 4 * tiny.HIDDEN),
}
WRONG = [
    ({"num_layers": 100_000_000}, "num_layers is 100000000, expected an integer"),
    ({"num_layers": 2}, "num_layers is 2, but there are arrays of 1"),
    ({"num_layers": 1.0}, "num_layers is 1.0, expected an integer"),
    ({"num_layers": True}, "num_layers is True"),
    ({"hidden_size": 10**12}, "hidden_size is 1000000000000"),
    ({"hidden_size": -8}, "hidden_size is -8"),
    ({"hidden_size": 9}, "hidden_size is 9, but the array output.kernel"),
    ({"embedding_size": "wide"}, "embedding_size is 'wide'"),
    ({"vocabulary_size": 10**9}, "vocabulary_size is 1000000000"),
    ({"vocabulary_size": 255}, "but the array embedding.embedding"),
    ({"use_weight_norm": "false"}, "use_weight_norm is 'false', expected true or"),
    ({"use_weight_norm": 0}, "use_weight_norm is 0"),
    ({"memory_span": float("nan")}, "memory_span is nan"),
    ({"cell": "gru"}, "cell is 'gru', expected one of mlstm, lstm"),
    ({"cell": ["mlstm"]}, "cell is"),
    ({"precision": 32}, "precision is 32"),
    ({"layout": "diagonal"}, "layout is 'diagonal'"),
    ({"parent": None}, "parent is not a setting of a model"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=str)
def test_a_wrong_setting_is_refused_by_its_name(change, words):
    settings = model_config(tiny.model()) | change
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        model_of(settings, SHAPES)


def test_a_setting_that_is_needed_and_missing_is_named():
    settings = model_config(tiny.model())
    del settings["cell"]
    with pytest.raises(InputError, match="cell"):
        model_of(settings, SHAPES)


def test_arrays_that_decide_the_size_have_to_be_there():
    with pytest.raises(InputError, match="output.kernel, a matrix, is missing"):
        model_of(model_config(tiny.model()), {"embedding.embedding": (256, 4)})


@pytest.fixture
def folder(tmp_path):
    model = tiny.model()
    path = tmp_path / "model"
    published.write(model, random_params(model), Normalisation(), path, tiny.meta())
    without_digests(path / published.CONFIG)
    return path


def change_config(folder: Path, change) -> None:
    path = folder / published.CONFIG
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: c["model"].update(num_layers=10**8), "num_layers"),
        (lambda c: c["model"].update(use_weight_norm="false"), "use_weight_norm"),
        (lambda c: c["about"].update(characters="many"), "about.characters"),
        (lambda c: c["about"].update(valid_bpc=[1]), "about.valid_bpc"),
        (lambda c: c["about"].update(source="nowhere"), "about.source"),
        (lambda c: c["about"].update(source={"notes": "x"}), "about.source.notes"),
    ],
)
def test_a_published_configuration_is_refused_in_one_line(folder, change, word):
    change_config(folder, change)
    with pytest.raises(InputError, match=f"config.json: .*{word}") as refused:
        load_model(folder)
    assert "\n" not in str(refused.value)


def test_json_that_is_nested_too_deeply_is_damage(folder):
    (folder / published.CONFIG).write_text("[" * 200_000)
    with pytest.raises(InputError, match="nested too deeply"):
        load_model(folder)


def test_a_checkpoint_is_held_to_its_arrays_too(tiny_run, tmp_path):

    step = checkpoint_steps(tiny_run.workdir)[-1]
    copy = tmp_path / step.name
    shutil.copytree(step, copy)
    assert read_shapes(copy, "params")["output.kernel"] == (tiny.HIDDEN, 256)
    path = copy / "meta" / META
    for name, value in {"num_layers": 10**8, "hidden_size": 4096}.items():
        meta = json.loads((step / "meta" / META).read_text())
        meta["model"][name] = value
        meta.pop("xxh3_128")
        path.write_text(json.dumps(sealed(meta)))
        with pytest.raises(InputError, match=f"checkpoint {copy}: {name} is {value}"):
            load_model(copy)


def test_a_config_of_a_run_has_the_same_bounds():
    config = defaults.get_config()
    config.model.num_layers = 10**8
    with pytest.raises(InputError, match="config.model.num_layers is 100000000"):
        with_model(config, "bytes")
