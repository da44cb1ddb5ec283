"""Protein sequences: their symbols, and a small model of them from start to end."""

import json
import sys

import jax
import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused

from sdjax import cli
from sdjax.checkpoints.convert.to_checkpoint import write_checkpoint
from sdjax.checkpoints.load import load_model
from sdjax.checkpoints.weights import Imported
from sdjax.data import protein
from sdjax.data.corpus import Corpus
from sdjax.data.text import Normalisation
from sdjax.errors import InputError, UnreadableText
from sdjax.features import file as feature_file
from sdjax.features.featurizer import TextFeaturizer
from sdjax.inference.sampling import Sampling, generate
from sdjax.model.classifier import Classifier
from sdjax.model.language_model import init_params
from sdjax.training import loop

CODEC = Normalisation(codec="protein")
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def test_symbols_are_unireps():
    assert list(CODEC.encode("MRHKDESTNQCUGPAVIFYWLO")) == [24, *range(1, 23)]
    assert list(CODEC.encode(" -XZBJ\n")) == [24, 0, 23, 23, 23, 23]
    assert list(CODEC.encode_whole("ML")) == [24, 1, 21, 25]
    assert CODEC.encode_whole(" ") is None
    assert CODEC.vocabulary_size == 26


def test_decoding():
    assert CODEC.decode(CODEC.encode_whole("MSKGEELF-B")) == "MSKGEELF-X"
    assert CODEC.shown(CODEC.encode("MS")) == " MS"


@pytest.mark.parametrize("wrong", ["M1K", "MSk", "MS K", "M\u00c4", "MS*"])
def test_a_letter_of_no_amino_acid_is_named_with_its_place(wrong):
    place = next(i for i, c in enumerate(wrong) if c not in LETTERS)
    expected = f"letter {wrong[place]!r} at place {place + 1} stands for"
    with pytest.raises(UnreadableText) as raised:
        CODEC.encode(wrong)
    assert str(raised.value).startswith(expected)
    with pytest.raises(InputError, match=r"text 1: letter"):
        CODEC.encode_all(["MSK", wrong])


def sequences(count: int) -> list[str]:
    random = np.random.default_rng(0)
    sizes = random.integers(5, 30, count)
    return ["M" + "".join(random.choice(list(LETTERS), size)) for size in sizes]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A corpus of proteins and a model trained on it."""
    folder = tmp_path_factory.mktemp("protein")
    lines = [*sequences(300), "MSK1", "", "MKL-B"]
    (folder / "proteins.txt").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        command = ["sdjax", "prepare", str(folder / "proteins.txt")]
        options = ["--codec", "protein", "--shards", "2/1/1", "--out"]
        patch.setattr(sys, "argv", [*command, *options, str(folder / "corpus")])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
    config = tiny.config(folder / "corpus")
    loop.train(config, folder / "run")
    return config, folder / "run"


def test_the_corpus_holds_symbols(run):
    corpus = Corpus.open(run[0].corpus)
    assert corpus.normalisation == CODEC
    read = [e.text for split in corpus.shards for e in corpus.examples(split)]
    assert sorted(read) == sorted([*sequences(300), "MKL-X"])
    data = corpus.read("train", 0)
    assert data[0] == protein.START and data[-1] == protein.STOP and data.max() == 25
    skipped = corpus.manifest["report"]["skipped"]
    assert skipped["letter of no amino acid"] == 1


def test_corpus_show_names_letters(run, command):
    done = command.sdjax("corpus", "show", run[0].corpus)
    line = done.out.split("most common symbols\n")[1].splitlines()[0]
    names = set(line.split()[1::2])
    assert names <= {*LETTERS, "start", "stop"} and "start" in names


def test_the_model_has_as_many_symbols_as_the_codec(run):
    loaded = load_model(run[1])
    assert loaded.model.vocabulary_size == 26
    assert loaded.params["output"]["kernel"].shape == (tiny.HIDDEN, 26)
    assert loaded.meta.normalisation == CODEC


def test_features_read_a_start_and_the_letters(run):
    featurizer = TextFeaturizer.from_pretrained(run[1], state="hidden")
    loaded = load_model(run[1])
    tokens = np.array([[24], [1], [7], [4]], np.uint8)
    state, reset = loaded.model.zero_state(1), np.ones(1, bool)
    out = loaded.model.apply({"params": loaded.params}, tokens, state, reset)
    found = featurizer.transform(["MSK"])
    np.testing.assert_allclose(found, out["state"].hidden, rtol=1e-5, atol=1e-6)
    assert featurizer.trace("MSK").shape == (4, tiny.HIDDEN)
    with pytest.raises(InputError, match="text 1: letter '1' at place 3"):
        featurizer.transform(["MSK", "MS1"])


def test_rows_that_are_no_proteins_are_counted_and_left_out(run, command, tmp_path):
    lines = ["MSK", "hello", "MKV", "M4", "MLL"]
    (tmp_path / "some.txt").write_text("\n".join(lines) + "\n")
    output = tmp_path / "features.npz"
    arguments = ("--checkpoint", run[1], "--input", tmp_path / "some.txt")
    done = command.featurize(*arguments, "--output", output, "--max-bad-fraction", 0.5)
    assert done.status == 0, done.err
    assert "2 letter of no amino acid (first: row 1: letter 'h'" in done.err
    made = feature_file.load(output)
    assert list(made.texts) == ["MSK", "MKV", "MLL"]
    assert made.metadata["skipped"] == {"letter of no amino acid": 2}
    assert_refused(
        command.featurize(*arguments, "--output", tmp_path / "b.npz"),
        *("40.0% of the rows", "letter of no amino acid"),
    )


def test_a_classifier_of_proteins_counts_what_it_cannot_read(run, command, tmp_path):
    made = TextFeaturizer(run[1]).metadata()
    weights = {"coef": np.ones((1, tiny.HIDDEN)), "intercept": np.zeros(1)}
    classifier = Classifier(
        task="binary",
        classes=("a", "b"),
        thresholds=np.full(1, 0.5),
        metadata=made,
        **weights,
    )
    classifier.save(tmp_path / "classifier")
    lines = ["MSK", "hello", "MKV"]
    (tmp_path / "some.txt").write_text("\n".join(lines) + "\n")
    arguments = ("classify", tmp_path / "classifier")
    done = command.sdjax(*arguments, "--input", tmp_path / "some.txt")
    assert done.status == 0, done.err
    assert (
        "MKV" in done.out
        and "1 letter of no amino acid (first: row 1: letter 'h'" in done.err
    )
    typed = command.sdjax(*arguments, "MSK", "hello")
    assert_refused(typed, "text 1: letter 'h' at place 1")


def test_samples_are_letters_and_end_at_the_stop(run, command, tmp_path):
    loaded = load_model(run[1])
    sampling = Sampling(length=60)
    (texts,) = generate(
        loaded.model, loaded.params, CODEC, samples=20, prefix="MS", sampling=sampling
    )
    assert all(set(text) <= set(protein.LETTERS) - {"-"} for text in texts)
    assert any(0 < len(text) < 60 for text in texts)
    whole = Sampling(length=60, whole_length=True)
    (longer,) = generate(
        loaded.model, loaded.params, CODEC, samples=20, prefix="MS", sampling=whole
    )
    assert all(len(text) == 60 for text in longer) and any("\n" in t for t in longer)
    out = tmp_path / "samples.jsonl"
    done = command.sdjax("generate", run[1], "--prefix", "MSK", "--out", out)
    assert done.status == 0, done.err
    assert json.loads(out.read_text())["text"].startswith("MSK")
    assert_refused(
        command.sdjax("generate", run[1], "--prefix", "hello"),
        "letter 'h' at place 1 stands for no amino acid",
    )


def test_a_corpus_of_another_codec_is_refused(run, command, tiny_run, tmp_path):
    config, workdir = run
    assert_refused(
        command.sdjax("evaluate", workdir, "--corpus", tiny_run.corpus),
        *("of the codec bytes", "reads protein"),
    )
    done = command.sdjax("evaluate", workdir, "--corpus", config.corpus)
    assert done.status == 0, done.err
    further = tiny.config(config.corpus, initial_checkpoint=str(tiny_run.workdir))
    assert_refused(
        command.train(further, tmp_path / "run"),
        *("initial_checkpoint", "codec is 'bytes' there and 'protein' here"),
    )


def test_bytes_as_they_are_from_prepare_to_samples(command, tmp_path):
    texts = [f"  row {i} &amp; more\u00e9 " for i in range(80)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "raw.jsonl").write_text(lines)
    done = command.sdjax(
        *("prepare", tmp_path / "raw.jsonl", "--normalise", "none"),
        *("--shards", "2/1/1", "--out", tmp_path / "corpus"),
    )
    assert done.status == 0, done.err
    corpus = Corpus.open(tmp_path / "corpus")
    read = [e.text for split in corpus.shards for e in corpus.examples(split)]
    assert sorted(read) == sorted(texts)
    params = init_params(tiny.model(), jax.random.key(0))
    parts = tiny.model(), params, corpus.normalisation, None, {}
    write_checkpoint(Imported(*parts), tmp_path / "run")
    featurizer = TextFeaturizer.from_pretrained(tmp_path / "run")
    assert featurizer.metadata()["normalisation"]["cleaning"] == "none"
    assert len(featurizer.trace(texts[0])) == len(texts[0].encode())
    cleaned = TextFeaturizer(tmp_path / "run", normalise="review")
    assert len(cleaned.trace(texts[0])) == len("\n row 0 & moree\u00e9 ")
    generated = command.sdjax("generate", tmp_path / "run", "--length", 8)
    assert_refused(generated, "an empty text has nothing to read")
    arguments = ("generate", tmp_path / "run", "--prefix", " r", "--length", 8)
    assert command.sdjax(*arguments).status == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"vocabulary_size": 200}}, "the codec bytes of"),
        ({"model": {"vocabulary_size": -1}}, "vocabulary_size is -1"),
        ({"model": {"num_layers": 0}}, "num_layers is 0"),
    ],
    ids=str,
)
def test_settings_that_no_run_can_use(changes, words, command, tiny_run, tmp_path):
    config = tiny.config(tiny_run.corpus)
    config.update(changes)
    assert_refused(command.train(config, tmp_path / "run"), words)


def test_a_model_may_have_more_symbols_than_its_codec():
    model = tiny.model(vocabulary_size=257)
    params = init_params(model, jax.random.key(0))
    params["output"]["bias"] = params["output"]["bias"].at[256].set(50.0)
    sampling = Sampling(length=12, whole_length=True)
    (texts,) = generate(model, params, Normalisation(), samples=4, sampling=sampling)
    assert all(len(text.encode()) == 12 for text in texts)
