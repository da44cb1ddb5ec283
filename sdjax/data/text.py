"""Texts as symbols: how they are cleaned, and the codecs; for training and reading."""

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace

from sdjax.data import protein
from sdjax.errors import InputError, UnreadableText

VOCABULARY_SIZES = {"bytes": 256, "protein": protein.VOCABULARY_SIZE}
CODECS = tuple(VOCABULARY_SIZES)
CLEANINGS = ("review", "openai", "none")
_FRAMED = ("review", "openai")

_PREFIX = "\n "
_SUFFIX = " "
# A tag starts with a letter or a slash, so that "I <3 it" and "4 < 5" survive. What is
# matched is never given back (++): a run of millions of tags costs no memory.
_TAGS = re.compile(r"(?:</?[a-zA-Z][^<>]*+>\s*+)++")
# Where a long text can be cut without cutting a tag or a run of them, or an entity.
_OUTSIDE_TAGS = re.compile(r"[^>\s](?=<)")
_OUTSIDE_ENTITIES = re.compile(r".(?=&)", re.DOTALL)
_PIECE = 2**20  # characters; a substitution keeps a list of all that it found


@dataclass(frozen=True)
class Normalisation:
    """How a text is cleaned and which symbols it becomes.

    Recorded in the corpus manifest and in every checkpoint, so that featurizing
    treats a text as training did.

    Args:
        strip_tags: replace HTML tags such as `<br />` by one space.
        cleaning: "review" unescapes HTML, puts everything on one line and frames it;
            "openai" does the same as OpenAI's encoder does it, which leaves carriage
            returns as they are; "none" takes the bytes as they are, without a frame.
        codec: "bytes" (UTF-8), or "protein": one symbol for each amino acid, after a
            start. White space around a sequence does not count.
    """

    strip_tags: bool = False
    cleaning: str = "review"
    codec: str = "bytes"

    def __post_init__(self):
        if self.codec not in CODECS:
            raise InputError(f"codec {self.codec!r} does not exist: use {list(CODECS)}")
        if self.cleaning not in CLEANINGS:
            raise InputError(
                f"no text is cleaned by {self.cleaning!r}: use {list(CLEANINGS)}"
            )
        if self.codec != "bytes" and self.cleaning != CLEANINGS[0]:
            raise InputError(
                f"cleaning {self.cleaning!r} is for bytes, not for {self.codec}"
            )
        if self.strip_tags and (self.codec, self.cleaning) != ("bytes", CLEANINGS[0]):
            given = self.codec if self.codec != "bytes" else f"cleaning {self.cleaning}"
            raise InputError(f"tags are stripped from reviews, not from {given}")

    @property
    def vocabulary_size(self) -> int:
        """How many symbols there are."""
        return VOCABULARY_SIZES[self.codec]

    def cleaned_by(self, cleaning: str | None) -> "Normalisation":
        """Return the same with another `cleaning`; None changes nothing."""
        if cleaning is None or cleaning == self.cleaning:
            return self
        return replace(self, cleaning=cleaning, strip_tags=False)

    def normalise(self, text: str) -> str:
        """Unescape HTML, put everything on one line, strip the ends.

        Reference: Radford et al. 2017, section 3; `preprocess` in utils.py of their
        code (github.com/openai/generating-reviews-discovering-sentiment).
        """
        if "&" in text:
            text = _in_pieces(text, html.unescape, _OUTSIDE_ENTITIES)
        if self.strip_tags:
            text = _in_pieces(text, lambda t: _TAGS.sub(" ", t), _OUTSIDE_TAGS)
        if self.cleaning == "openai":
            text = text.replace("\n", " ")
        elif "\n" in text or "\r" in text:  # a search is cheaper than a substitution
            text = text.replace("\r\n", " ").replace("\r", " ").replace("\n", " ")
        return text.strip()

    def encode(self, text: str) -> bytes:
        """Turn a text into the symbols that the model reads, one byte each.

        A review, normalised, becomes newline, space, text, space; a protein its start
        and its letters.

        Args:
            text: as the user gave it.

        Returns:
            Of the codec "bytes" UTF-8; half a surrogate pair, which UTF-8 cannot hold,
            becomes U+FFFD.

        Raises:
            UnreadableText: a letter that stands for no amino acid; nothing at all where
                bytes are taken as they are.
        """
        if self.codec == "protein":
            return protein.encode(text.strip())
        if self.cleaning in _FRAMED:
            text = f"{_PREFIX}{self.normalise(text)}{_SUFFIX}"
        elif not text:
            raise UnreadableText("empty text", "an empty text has nothing to read")
        try:
            return text.encode()
        except UnicodeEncodeError:
            # The detour joins pairs that were given as two escapes.
            pairs = text.encode("utf-16-le", "surrogatepass")
            return pairs.decode("utf-16-le", "replace").encode()

    def encode_all(self, texts: Iterable[str]) -> list[bytes]:
        """Encode several texts; an error names the one it is about, from 0."""
        encoded = []
        for place, text in enumerate(texts):
            try:
                encoded.append(self.encode(text))
            except UnreadableText as error:
                raise InputError(f"text {place}: {error}") from error
        return encoded

    def encode_whole(self, text: str) -> bytes | None:
        """Turn a text into what stands in a corpus: `encode`, and a protein's stop.

        Returns:
            None where there is nothing in the text.

        Raises:
            UnreadableText: as `encode`.
        """
        data = self.encode(text)
        if self.codec == "protein":
            return data + bytes([protein.STOP]) if len(data) > 1 else None
        # A frame alone; what has none is not empty.
        return None if len(data) == 3 and self.cleaning in _FRAMED else data

    def encode_prefix(self, text: str) -> bytes:
        """Turn the beginning of a text that goes on into symbols.

        White space at the end of a review's is kept as one blank.
        """
        data = self.encode(text)
        framed = self.codec == "bytes" and self.cleaning in _FRAMED
        return data[:-1] if framed and not text[-1:].isspace() else data

    @property
    def end(self) -> int | None:
        """The symbol that ends a text when a model writes; None where none does."""
        if self.codec == "protein":
            return protein.STOP
        return ord("\n") if self.cleaning in _FRAMED else None

    def shown(self, data: bytes) -> str:
        """Return the text that a model reads, frame included.

        Its UTF-8 has as many bytes as there are symbols, one after the other.
        """
        if self.codec == "protein":
            return protein.shown(data)
        return bytes(data).decode()

    def decode(self, data: bytes) -> str:
        """Give back a text from its symbols, without the frame."""
        if self.codec == "protein":
            return protein.decode(data)
        text = bytes(data).decode()
        if self.cleaning == "none":
            return text
        return text.removeprefix(_PREFIX).removesuffix(_SUFFIX)

    def as_json(self) -> dict:
        """Return the options as JSON; newer ones at their default are omitted."""
        options, default = asdict(self), asdict(Normalisation())
        new = ("cleaning", "codec")
        return {k: v for k, v in options.items() if k not in new or v != default[k]}

    @classmethod
    def from_json(cls, options: dict) -> "Normalisation":
        """Read the options that `as_json` wrote.

        Raises:
            InputError: an option that this version does not know, or a wrong value.
        """
        known = {field.name: field.type for field in fields(cls)}
        for name, value in options.items():
            if name not in known:
                raise InputError(
                    f"unknown text normalisation '{name}' (known: {sorted(known)}); "
                    "it was written by another version of sdjax"
                )
            if not isinstance(value, known[name]):
                wanted = "true or false" if known[name] is bool else "a name"
                raise InputError(
                    f"text normalisation '{name}' is {value!r}; use {wanted}"
                )
        return cls(**options)


def _in_pieces(text: str, change: Callable[[str], str], cut: re.Pattern) -> str:
    """Change a text piece by piece, as if it were changed at once.

    Args:
        change: what is to be done.
        cut: matches the character after which a text can be cut.
    """
    if len(text) <= _PIECE:
        return change(text)
    pieces, begin = [], 0
    while len(text) - begin > _PIECE and (found := cut.search(text, begin + _PIECE)):
        pieces.append(change(text[begin : found.end()]))
        begin = found.end()
    return "".join([*pieces, change(text[begin:])])
