"""TextFeaturizer as scikit-learn knows transformers, and what it refuses."""

import pickle
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from fixtures_run import ROOT
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags

import sdjax
from sdjax import TextFeaturizer
from sdjax.checkpoints.load import Loaded
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.model.language_model import init_params

TEXTS = ["", "a", "Good &amp; cheap.", "caf\u00e9 \U0001f600", "so <b>good</b>"]


@cache
def params() -> dict:
    return init_params(tiny.model(), jax.random.key(0))


def featurizer(strip_tags=False, **options) -> TextFeaturizer:
    """Of random parameters, in memory only."""
    meta = tiny.meta(3, normalisation=Normalisation(strip_tags))
    loaded = Loaded(tiny.model(), params(), meta, Path("run/checkpoints/3"))
    return TextFeaturizer.from_loaded(loaded, **options)


@pytest.fixture
def saved(tiny_run) -> TextFeaturizer:
    return TextFeaturizer(tiny_run.workdir)


def test_importing_the_package_does_not_import_jax():
    code = "import sys, sdjax; print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'TextFeaturiser'"):
        _ = sdjax.TextFeaturiser


def test_from_pretrained_to_features(tiny_run):
    made = TextFeaturizer.from_pretrained(tiny_run.workdir).transform(TEXTS)
    assert made.shape == (len(TEXTS), tiny.HIDDEN) and made.dtype == np.float32


@pytest.mark.parametrize(
    "given",
    [
        tuple,
        np.array,
        partial(np.array, dtype=object),
        partial(np.array, dtype=np.dtypes.StringDType()),
        iter,
    ],
)
def test_any_sequence_of_strings(given):
    made = featurizer().transform(given(TEXTS))
    np.testing.assert_array_equal(made, featurizer().transform(TEXTS))


def test_a_pandas_series():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(TEXTS, index=range(10, 15))
    made = featurizer().transform(series)
    np.testing.assert_array_equal(made, featurizer().transform(TEXTS))
    with pytest.raises(InputError, match="text 1 is (nan|None)"):
        featurizer().transform(pandas.Series(["a", np.nan]))
    with pytest.raises(InputError, match=r"shape \(5, 1\); give one column"):
        featurizer().transform(series.to_frame())


@pytest.mark.parametrize(
    "texts, message",
    [
        ("one text", "list of strings, not 'one text' .str."),
        (b"one", "list of strings, not b'one'"),
        (None, "not None"),
        (3.5, "not 3.5"),
        ({"a": 1}, "not {'a': 1} .dict"),
        ({"a"}, "not {'a'} .set"),
        (["a", None], "text 1 is None .NoneType.*1 of 2"),
        (["a", "b", float("nan"), 7], "text 2 is nan .float.*2 of 4"),
        ([b"a"], "text 0 is b'a' .bytes"),
        ([["a"]], "text 0 is .*list"),
        (np.array([["a"], ["b"]]), r"shape \(2, 1\); give one column"),
        (np.array("a"), r"shape \(\)"),
        (np.array([1.0, 2.0]), "text 0 is np.float64.1.0. .*2 of 2"),
        ([0] * 10**6, "text 0 is 0 .int.*1,000,000 of 1,000,000"),
    ],
)
def test_what_is_no_sequence_of_strings(texts, message):
    for refuse in (featurizer().transform, featurizer().fit):
        with pytest.raises(InputError, match=message):
            refuse(texts)


def test_no_texts():
    assert featurizer().transform([]).shape == (0, tiny.HIDDEN)


def test_an_empty_text_is_its_frame_and_half_a_surrogate_pair_is_replaced():
    one = featurizer()
    assert one.trace("").shape == (3, tiny.HIDDEN)
    assert np.isfinite(one.transform(["", " \n ", "x"])).all()
    np.testing.assert_array_equal(one.transform([""]), one.transform([" \n "]))
    np.testing.assert_array_equal(
        one.transform(["bad \ud800 half"]), one.transform(["bad \ufffd half"])
    )
    np.testing.assert_array_equal(
        one.transform(["\ud83d\ude00"]), one.transform(["\U0001f600"])
    )


def test_texts_are_normalised_as_in_training():
    tagged, plain = featurizer(strip_tags=True), featurizer()
    given = tagged.transform(["so <b>good</b>"])
    assert not np.array_equal(given, plain.transform(["so <b>good</b>"]))
    np.testing.assert_array_equal(
        plain.transform(["a &lt; b\nc"]), plain.transform(["  a < b c "])
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"checkpoint": "no/such/run"}, "no checkpoint in no/such/run"),
        ({"checkpoint": None}, "checkpoint None is not a path"),
        ({"state": "gates"}, "state 'gates' does not exist: use .*hidden"),
        ({"state": None}, "state None"),
        ({"pooling": "first"}, "pooling 'first' does not exist: use .*mean"),
        ({"pooling": ["last", "sum"]}, "pooling .*sum"),
        ({"pooling": ["last", "last"]}, "pooling .*different"),
        ({"pooling": []}, r"pooling \[\]"),
        ({"pooling": None}, "pooling None"),
        ({"batch_size": 0}, "batch_size 0 must be"),
        ({"batch_size": 2.5}, "batch_size 2.5 must be"),
        ({"batch_size": True}, "batch_size True must be"),
        ({"precision": "fp8"}, "precision 'fp8' does not exist: use .*fp16"),
    ],
)
def test_wrong_parameters_are_refused_when_they_are_used(saved, options, message):
    wrong = clone(saved).set_params(**options)
    for use in (wrong.fit, wrong.transform):
        with pytest.raises(InputError, match=message):
            use(["a"])


def test_a_trace_keeps_the_units_that_are_asked_for_in_their_order():
    trace = featurizer().trace(TEXTS[3])
    chosen = featurizer().trace(TEXTS[3], np.array([5, 0, 5]))
    np.testing.assert_array_equal(chosen, trace[:, [5, 0, 5]])
    assert featurizer().trace(TEXTS[3], []).shape == (len(trace), 0)


@pytest.mark.parametrize("unit", [-1, tiny.HIDDEN, 1.5, "0", None])
def test_a_unit_that_does_not_exist(unit):
    with pytest.raises(InputError, match=f"unit {unit} .* model's 0..7"):
        featurizer().trace("a", [0, unit])


@pytest.mark.parametrize("text", [None, 3, b"a", ["a"]])
def test_a_trace_of_what_is_no_text(text):
    with pytest.raises(InputError, match="trace takes one string, not"):
        featurizer().trace(text)


def test_feature_names():
    names = featurizer(state="hidden", pooling=("max", "last")).get_feature_names_out()
    assert names.dtype == object and len(names) == 2 * tiny.HIDDEN
    assert [names[0], names[7], names[8]] == [
        "hidden_max_0",
        "hidden_max_7",
        "hidden_last_0",
    ]


def test_the_origin_of_features(tiny_run):
    first, second = (
        TextFeaturizer(tiny_run.workdir / "checkpoints" / step, **options)
        for step, options in (("4", {}), ("8", {"pooling": ["last", "mean"]}))
    )
    one, two = first.metadata(), second.metadata()
    assert (one["step"], two["step"]) == (4, 8)
    assert (one["pooling"], two["pooling"]) == ("last", ["last", "mean"])
    assert len(one["params_sha256"]) == 64
    assert one["params_sha256"] != two["params_sha256"]
    assert one["params_sha256"] == clone(first).metadata()["params_sha256"]


# scikit-learn runs almost none of its checks on transformers of texts: those that fit
# do so on a table of numbers, and `check_estimator` leaves them out. These are the ones
# that fit nothing. What the others check (fit, pickle, feature names, empty and wrong
# input, order and subsets of the samples) is tested here and in test_encoder on texts.
CHECKS = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_mixin_order,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_scikit_learn_checks(check, saved):
    check("TextFeaturizer", saved)


def test_scikit_learn_skips_the_others():
    with pytest.warns(SkipTestWarning, match="Can't test estimator"):
        results = estimator_checks.check_estimator(TextFeaturizer("run"), on_skip=None)
    assert all(result["status"] in ("passed", "skipped") for result in results)


def test_tags(saved):
    tags = get_tags(saved)
    assert tags.input_tags.string and not tags.input_tags.two_d_array
    assert not tags.requires_fit and not tags.target_tags.required


def test_fit_returns_itself_and_changes_no_parameter(saved):
    before = saved.get_params()
    assert saved.fit(TEXTS) is saved and saved.fit(TEXTS, y=[0] * 5) is saved
    assert saved.get_params() == before
    np.testing.assert_array_equal(
        saved.fit_transform(TEXTS), clone(saved).transform(TEXTS)
    )


def test_a_parameter_that_is_set_later_counts(saved):
    last = saved.transform(TEXTS)
    saved.set_params(pooling=["mean", "last"], progress=True)
    both = saved.transform(TEXTS)
    assert both.shape[1] == 2 * tiny.HIDDEN == len(saved.get_feature_names_out())
    np.testing.assert_allclose(both[:, tiny.HIDDEN :], last, rtol=1e-5, atol=1e-6)


def test_pickled_it_is_its_parameters(saved):
    expected = saved.transform(TEXTS)
    data = pickle.dumps(saved)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.get_params() == saved.get_params()
    np.testing.assert_array_equal(again.transform(TEXTS), expected)


def test_progress_is_shown_when_asked_for(capfd):
    featurizer().transform(TEXTS)
    assert capfd.readouterr().err == ""
    featurizer(progress=True).transform(TEXTS)
    assert "featurize" in capfd.readouterr().err


def test_in_a_grid_search_over_a_pipeline(saved):
    texts = [f"{word} {i}" for i in range(10) for word in ("good", "awful")]
    pipeline = make_pipeline(saved, LogisticRegression())
    search = GridSearchCV(
        pipeline, {"textfeaturizer__pooling": ["last", ["mean", "max"]]}, cv=2
    )
    search.fit(np.array(texts), [1, 0] * 10)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(texts[:3]).shape == (3,)


def test_texts_that_can_be_read_once_are_read_once(saved):
    expected = saved.transform(TEXTS)
    found = saved.fit_transform(text for text in TEXTS)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="read only once: give a list"):
        saved.fit(iter(TEXTS))
