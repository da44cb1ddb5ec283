"""NVIDIA's files: the same numbers as its own equations, there and back."""

import jax
import numpy as np
import pytest
import tiny
from foreign import every_step, nvidia_arrays, random_params, run_nvidia
from torch_files import arguments, save_stream, save_zip, state_dict

from sdjax.checkpoints.convert import nvidia, torchfile
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.model.cell import RecurrentState

BYTES = np.random.default_rng(1).integers(0, 256, (12, 3), dtype=np.uint8)


def assert_same_as(imported, state, tolerance, pad=0):
    """Logits, hidden and cell of all layers at every step, from some state."""
    model, rng = imported.model, np.random.default_rng(2)
    cells, hiddens = rng.normal(0, 0.5, (2, model.num_layers, 3, model.hidden_size))
    logits, hidden, cell = run_nvidia(state, BYTES.astype(int) + pad, cells, hiddens)
    assert np.std(logits) > 0.2  # not all the same
    parts = (np.concatenate(list(part), axis=1) for part in (hiddens, cells))
    start = RecurrentState(*(part.astype(np.float32) for part in parts))
    got, *traced = every_step(imported, BYTES, start)
    np.testing.assert_allclose(got, logits[..., pad:], **tolerance)
    for states, expected in zip(traced, (hidden, cell), strict=True):
        side_by_side = np.concatenate(list(expected.transpose(1, 0, 2, 3)), axis=2)
        np.testing.assert_allclose(states, side_by_side, **tolerance)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_norm": False},
        {"cell": "lstm"},
        {"layers": 3},
        {"cell": "lstm", "weight_norm": False, "layers": 2},
        {"dtype": "float16"},
        {"vocabulary": 257},
        {"vocabulary": 257, "dtype": "float16", "layers": 2},
    ],
    ids=str,
)
def test_every_step_is_that_of_its_own_equations(tmp_path, tolerances, settings):
    state = nvidia_arrays(**settings)
    save = save_stream if settings.get("dtype") else save_zip
    save(tmp_path / "model.pt", state_dict(state))
    imported = nvidia.read(tmp_path / "model.pt")
    pad = settings.get("vocabulary", 256) - 256
    assert_same_as(imported, state, tolerances["oracle"], pad)
    assert imported.model.vocabulary_size == 256
    assert imported.source["notes"] == ([nvidia._PADDING] if pad else [])


@pytest.mark.parametrize("cell", ["mlstm", "lstm"])
@pytest.mark.parametrize("weight_norm", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_out_and_in_again_is_the_same_bit_for_bit(tmp_path, cell, weight_norm, layers):
    model = tiny.model(cell=cell, use_weight_norm=weight_norm, num_layers=layers)
    params = random_params(model)
    bias = params["recurrent"]["b"].copy()
    bias[0] = -0.0
    params["recurrent"]["b"] = bias
    nvidia.write(model, params, Normalisation(), tmp_path / "model.pt")
    again = nvidia.read(tmp_path / "model.pt")
    assert again.model == model
    tiny.assert_trees_equal(again.params, params)
    assert np.signbit(again.params["recurrent"]["b"][0])


def test_in_and_out_again_is_the_same_model(tmp_path, tolerances):
    """Two biases come back as one, all else bit for bit."""
    state = nvidia_arrays()
    save_zip(tmp_path / "in.pt", state_dict(state))
    nvidia.write(*nvidia.read(tmp_path / "in.pt")[:3], tmp_path / "out.pt")
    again = torchfile.read(tmp_path / "out.pt")
    rnn = state["encoder"]["rnn"]
    assert again["encoder"]["rnn"].keys() == rnn.keys()
    for name, array in again["encoder"]["rnn"].items():
        if ".b_" not in name:
            np.testing.assert_array_equal(array, rnn[name])
    assert_same_as(nvidia.read(tmp_path / "out.pt"), again, tolerances["oracle"])


def classifier_of(weight, bias, **more) -> dict:
    arrays = {"weight": np.float32(weight), "bias": np.float32(bias)}
    return state_dict(arrays) | more


def read_classifier(path, classifier, layers=1, **settings):
    body = state_dict(nvidia_arrays(layers=layers))
    content = {"sd": {"lm_encoder": body, "classifier": classifier}}
    save_zip(path, content | ({"args": arguments(**settings)} if settings else {}))
    return nvidia.read(path)


WEIGHT = np.linspace(-1, 1, 8)[None]


def test_a_binary_classifier_becomes_one_of_ours(tmp_path):
    given = classifier_of(WEIGHT, [0.25], neurons=None, thresholds=np.array([0.4]))
    found = read_classifier(tmp_path / "model.pt", given).classifier
    assert (found.task, found.classes) == ("binary", ("negative", "positive"))
    np.testing.assert_array_equal(found.coef, np.float32(WEIGHT))
    np.testing.assert_array_equal(found.intercept, [0.25])
    np.testing.assert_array_equal(found.thresholds, [0.4])
    assert found.metadata == {"state": "cell", "pooling": "last"}
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    expected = 1 / (1 + np.exp(-(features @ WEIGHT.T + 0.25)))
    np.testing.assert_allclose(found.predict_proba(features), expected, rtol=1e-6)


def test_an_older_file_has_the_language_model_under_encoder(tmp_path):
    body = nvidia_arrays(weight_norm=False)["encoder"]  # and no decoder
    content = {"encoder": state_dict(body), "classifier": classifier_of(WEIGHT, [0.0])}
    save_stream(tmp_path / "model.pt", content)
    imported = nvidia.read(tmp_path / "model.pt")
    assert imported.classifier.task == "binary"
    assert not imported.params["output"]["kernel"].any()
    assert "no decoder" in imported.source["notes"][0]


def test_neurons_are_the_only_features_read(tmp_path):
    expected = np.zeros((1, 8), np.float32)
    expected[:, [5, 2]] = WEIGHT[:, [5, 2]]
    for weight in (WEIGHT, WEIGHT[:, [5, 2]]):
        given = classifier_of(weight, [0.0], neurons=np.array([5, 2]))
        found = read_classifier(tmp_path / "model.pt", given).classifier
        np.testing.assert_array_equal(found.coef, expected)
    wrong = classifier_of(WEIGHT, [0.0], neurons=np.array([5, 8]))
    with pytest.raises(InputError, match="neurons are not all among the 8"):
        read_classifier(tmp_path / "model.pt", wrong)


@pytest.mark.parametrize("softmax", [True, False])
def test_several_classes_over_pooled_features(tmp_path, softmax):
    weight = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)
    arrays = {"weight": weight, "bias": np.arange(3, dtype=np.float32)}
    layer = {
        f"{n}.{k}": a for n in ("model.1", "final_layer") for k, a in arrays.items()
    }
    layer |= {"nonlinearity.weight": np.float32([0.25])}
    given = {"sd": state_dict(layer), "thresholds": np.array([0.3, 0.5, 0.7])}
    imported = read_classifier(
        tmp_path / "model.pt",
        given,
        classes=["joy", "anger", "fear"],
        use_softmax=softmax,
        concat_max=True,
        concat_min=False,
        concat_mean=True,
        heads_per_class=1,
        get_hidden=True,
    )
    found = imported.classifier
    assert found.task == ("multiclass" if softmax else "multilabel")
    assert found.link == ("softmax" if softmax else "sigmoid")
    assert found.classes == ("joy", "anger", "fear")
    assert found.metadata == {"state": "hidden", "pooling": ["last", "max", "mean"]}
    np.testing.assert_array_equal(found.coef, weight)
    expected = [0.5] * 3 if softmax else [0.3, 0.5, 0.7]
    np.testing.assert_array_equal(found.thresholds, expected)


def test_a_classifier_on_all_layers(tmp_path):
    given = classifier_of(np.ones((1, 16)), [0.0])
    path = tmp_path / "model.pt"
    found = read_classifier(path, given, layers=2, all_layers=True).classifier
    assert found.metadata["layers"] == "all"
    assert found.coef.shape == (1, 16)


def test_a_classifier_that_is_none_of_ours_is_left_out_and_named(tmp_path):
    layers = {
        "model.1.weight": np.ones((4, 8), "f4"),
        "model.4.weight": np.ones((1, 4), "f4"),
    }
    deep = {"sd": state_dict(layers)}
    heads = classifier_of(np.ones((2, 8)), [0.0, 0.0])
    for given, settings, word in (
        (deep, {"use_softmax": False}, "has hidden layers"),
        (heads, {"heads_per_class": 2}, "several heads"),
    ):
        imported = read_classifier(tmp_path / "model.pt", given, **settings)
        assert imported.classifier is None
        assert word in imported.source["notes"][0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (classifier_of(WEIGHT[:, 1:], [0.0]), ("shape (1, 7)", "expected (any, 8)")),
        (classifier_of(WEIGHT, [0.0, 1.0]), ("bias: shape (2,)", "expected (1,)")),
        (classifier_of(WEIGHT * np.nan, [0.0]), ("not finite",)),
        (classifier_of(WEIGHT, [0.0], thresholds=[1.5]), ("thresholds: [1.5]",)),
        (state_dict({"bias": np.zeros(1, "f4")}), ("weight: is missing",)),
        ([1, 2], ("classifier is list",)),
    ],
)
def test_a_wrong_classifier_is_refused(tmp_path, given, words):
    with pytest.raises(InputError) as refused:
        read_classifier(tmp_path / "model.pt", given)
    for word in ("model.pt", *words):
        assert word in str(refused.value)


def rnn(change):
    def changed(state):
        change(state["encoder"]["rnn"])
        return state

    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: [1, 2], ("holds list", "state_dict was expected")),
        (lambda s: {"param_groups": [], "state": {}}, ("state of an optimizer",)),
        (lambda s: {"optimizer_state_dict": {}}, ("state of an optimizer",)),
        (lambda s: {"layers.0.fc1.weight": s["decoder"]["bias"]}, ("layers.0.fc1",)),
        (lambda s: {"encoder": {"rnn": {}}}, ("encoder.encoder.weight", "nothing")),
        (rnn(lambda r: r.pop("rnns.0.w_hh_g")), ("rnns.0.w_hh_g is missing",)),
        (rnn(lambda r: r.pop("rnns.0.b_hh")), ("encoder.rnn.rnns.0.b_hh is missing",)),
        (
            rnn(lambda r: r.update({"rnns.0.w_ho": np.ones((8, 8), "f4")})),
            ("encoder.rnn.rnns.0.w_ho is not a part",),
        ),
        (
            rnn(lambda r: r.update({"rnns.0.w_hh_v": np.ones((24, 8), "f4")})),
            ("rnns.0.w_hh_v: shape (24, 8)", "expected (32, 8)"),
        ),
        (
            rnn(lambda r: r.update({"rnns.0.w_hh_g": np.full((32, 1), np.nan, "f4")})),
            ("rnns.0.w_hh_g: 32 of 32 values are not finite",),
        ),
        (
            rnn(lambda r: r.update({"rnns.0.b_ih": np.ones(32, "i8")})),
            ("rnns.0.b_ih: dtype int64", "expected float32 or float16"),
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path, change, words):
    state = change(nvidia_arrays())
    is_list = isinstance(state, list)
    save_zip(tmp_path / "model.pt", state if is_list else state_dict_of(state))
    with pytest.raises(InputError) as refused:
        nvidia.read(tmp_path / "model.pt")
    for word in ("model.pt", *words):
        assert word in str(refused.value)


def state_dict_of(state):
    """As `state_dict`, with lists kept."""
    lists = {k: v for k, v in state.items() if isinstance(v, list)}
    return state_dict({k: v for k, v in state.items() if k not in lists}) | lists


def test_another_vocabulary_is_refused(tmp_path):
    save_zip(tmp_path / "model.pt", state_dict(nvidia_arrays(vocabulary=300)))
    with pytest.raises(InputError, match="has 300 rows, expected 256 or 257"):
        nvidia.read(tmp_path / "model.pt")
    model = tiny.model(vocabulary_size=26)
    params = random_params(model)
    with pytest.raises(InputError, match="vocabulary_size is 26"):
        nvidia.write(model, params, Normalisation(), tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


def test_its_own_code_gives_the_same_in_pytorch(tmp_path, tolerances):
    """What is written, run by the formulas of its cell in PyTorch float64."""
    torch = pytest.importorskip("torch")
    model = tiny.model()
    params = random_params(model)
    nvidia.write(model, params, Normalisation(), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    as_numpy = jax.tree.map(lambda tensor: tensor.numpy(), dict(state))
    imported = nvidia.read(tmp_path / "model.pt")
    assert_same_as(imported, plain(as_numpy), tolerances["oracle"])


def plain(state):
    """Ordered dictionaries as dictionaries."""
    nested = isinstance(state, dict)
    return {k: plain(v) for k, v in state.items()} if nested else state
