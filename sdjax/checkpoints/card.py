"""The model card of a published model: what its checkpoint knows, for people."""

import html
from collections.abc import Mapping

import numpy as np

from sdjax.data.text import Normalisation
from sdjax.terminal import printable

_CELLS = {"mlstm": "multiplicative LSTM", "lstm": "LSTM"}


def card(
    config: Mapping,
    normalisation: Normalisation,
    arrays: Mapping[str, np.ndarray],
) -> str:
    """Return the card as Markdown.

    Args:
        config: what `config.json` holds.
        normalisation: what is done to a text before it is read.
        arrays: the parameters, by name.
    """
    model, about = config["model"], config["about"]
    cell = _CELLS.get(model["cell"], model["cell"])
    parameters = sum(array.size for array in arrays.values())
    layers = f"{model['num_layers']} layers of " if model["num_layers"] > 1 else ""
    name = f"{cell}, {layers}{model['hidden_size']:,} units"
    rows = [
        ("model", f"{name}, embedding of {model['embedding_size']}"),
        ("vocabulary", f"{model['vocabulary_size']} symbols"),
        ("weight norm", "yes" if model["use_weight_norm"] else "no, or folded"),
        ("parameters", f"{parameters:,}, float32"),
        ("text is read", _reading(normalisation)),
        *_training(about),
    ]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    licence = about.get("source", {}).get("licence", "").lower().replace(" ", "-")
    return _PAGE.format(
        title=name[0].upper() + name[1:],
        table=table,
        licence=f"license: {licence}\n" if licence else "",
    )


def _reading(normalisation: Normalisation) -> str:
    """Say what is done to a text before it is read."""
    if normalisation.codec == "protein":
        return "as a protein: a start, then one symbol for each amino acid"
    if normalisation.cleaning == "none":
        return "as its UTF-8 bytes"
    if normalisation.cleaning == "openai":
        return (
            "as a review, as OpenAI's encoder does: HTML entities decoded, line feeds"
            " to spaces, ends stripped; a newline and a space before it, a space after"
            " it; UTF-8"
        )
    tags = ", HTML tags removed" if normalisation.strip_tags else ""
    return (
        "as a review: HTML entities decoded, newlines to spaces, ends stripped"
        f"{tags}; a newline and a space before it, a space after it; UTF-8"
    )


def _training(about: Mapping) -> list[tuple[str, str]]:
    """Say what is known of the training, and where the weights come from."""
    rows = []
    if "corpus" in about:
        rows.append(("corpus", _cell(about["corpus"])))
    if "corpus_fingerprint" in about:
        rows.append(("corpus fingerprint", _cell(about["corpus_fingerprint"])))
    if "characters" in about:
        rows.append(("trained on", f"{about['characters']:,} characters"))
    if "updates" in about:
        rows.append(("updates", f"{about['updates']:,}"))
    if "valid_bpc" in about:
        rows.append(("bits per character (valid)", f"{about['valid_bpc']:.4f}"))
    if "finetuned" in about:
        rows.append(("fine-tuned", "yes; the lines above are of the model before"))
    if "source" in about:
        source = about["source"]
        rows.append(("weights from", f"files in the format {_cell(source['format'])}"))
        known = [key for key in ("address", "licence") if key in source]
        rows += [(key, _cell(source[key])) for key in known]
        rows += [("note", _cell(note)) for note in source.get("notes", [])]
    return rows


def _cell(text: object) -> str:
    """Return a text that comes from elsewhere as it may stand in a table's cell."""
    return (
        html.escape(printable(str(text))).replace("|", "&#124;").replace("`", "&#96;")
    )


_PAGE = """\
---
{licence}library_name: sdjax
pipeline_tag: feature-extraction
tags:
- language-model
- mlstm
---

# {title}

A language model that reads texts symbol by symbol; its state after a text is what the
text's features are.

| | |
|---|---|
{table}

## Use

```python
from sdjax import TextFeaturizer

# this folder, or the name of its repository on the hub (pip install 'sdjax[hub]')
featurizer = TextFeaturizer.from_pretrained("folder or owner/name")
features = featurizer.transform(["A wonderful film.", "Two hours of my life."])
```

Every command of sdjax that takes a checkpoint takes this folder too. `config.json` has
the settings above for programs, `model.safetensors` the parameters: matrices [in, out],
gates in the order input, forget, output, update.

Reference: Radford, Jozefowicz and Sutskever, "Learning to generate reviews and
discovering sentiment" (2017).
"""
