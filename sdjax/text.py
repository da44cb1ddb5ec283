"""Review normalisation and the byte codec, shared by training and featurizing."""

import html
import re
from dataclasses import asdict, dataclass, fields

from sdjax.errors import InputError

VOCABULARY_SIZE = 256

_PREFIX = "\n "
_SUFFIX = " "
_NEWLINE = re.compile(r"\r\n|\r|\n")
# A tag starts with a letter or a slash, so that "I <3 it" and "4 < 5" survive.
_TAGS = re.compile(r"(?:</?[a-zA-Z][^<>]*>\s*)+")


@dataclass(frozen=True)
class Normalisation:
    """How a review's text is cleaned before it becomes bytes.

    Recorded in the corpus manifest and in every checkpoint, so that featurizing
    treats a text as training did.

    Args:
        strip_tags: replace HTML tags such as `<br />` by one space.
    """

    strip_tags: bool = False

    def normalise(self, text: str) -> str:
        """Unescape HTML, put everything on one line, strip the ends.

        Reference: Radford et al. 2017, section 3.
        """
        if "&" in text:
            text = html.unescape(text)
        if self.strip_tags:
            text = _TAGS.sub(" ", text)
        if "\n" in text or "\r" in text:  # a search is cheaper than a substitution
            text = _NEWLINE.sub(" ", text)
        return text.strip()

    def encode(self, text: str) -> bytes:
        """Turn a text into the bytes that the model reads: newline, space, text, space.

        Args:
            text: as the user gave it; normalised here.

        Returns:
            UTF-8 bytes. Half a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD.
        """
        text = f"{_PREFIX}{self.normalise(text)}{_SUFFIX}"
        try:
            return text.encode()
        except UnicodeEncodeError:
            # The detour joins pairs that were given as two escapes.
            pairs = text.encode("utf-16-le", "surrogatepass")
            return pairs.decode("utf-16-le", "replace").encode()

    def as_json(self) -> dict:
        """Give the options as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, options: dict) -> "Normalisation":
        """Read the options that `as_json` wrote.

        Raises:
            InputError: an option that this version does not know, or not a boolean.
        """
        known = {field.name for field in fields(cls)}
        for name, value in options.items():
            if name not in known:
                raise InputError(
                    f"unknown text normalisation '{name}' (known: {sorted(known)}); "
                    "it was written by another version of sdjax"
                )
            if not isinstance(value, bool):
                raise InputError(
                    f"text normalisation '{name}' is {value!r}; use true or false"
                )
        return cls(**options)


def unframe(data: bytes) -> str:
    """Give back the text of one encoded review, without the framing bytes."""
    return bytes(data).decode().removeprefix(_PREFIX).removesuffix(_SUFFIX)
