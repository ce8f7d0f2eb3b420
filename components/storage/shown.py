"""Values as messages show them: in one line, cut where they are long."""

from __future__ import annotations

import re
import reprlib

LONGEST = 120  # characters; what follows tells nobody more
_LONG_NUMBER = 10**40  # Python refuses to write out numbers of some thousand digits


class _Repr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        if abs(x) >= _LONG_NUMBER:
            return f"a number of about {round(x.bit_length() * 0.30103)} digits"
        return repr(x)

    repr_long = repr_int


_repr = _Repr()
_repr.maxstring = _repr.maxother = LONGEST
_repr.maxlist = _repr.maxdict = _repr.maxtuple = _repr.maxset = 10
_repr.maxlevel = 4


def printable(text: str) -> str:
    """Halves of characters, as of a file's name that is no UTF-8, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def cut(text: str, longest: int = LONGEST) -> str:
    """A text in one line, such that any file can hold it; of a long one the beginning."""
    line = " ".join(printable(text[: 10 * longest]).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def shown(value: object, longest: int = LONGEST) -> str:
    """`repr` of a value however long or deep, without the password of an address."""
    return cut(re.sub(r"//[^/@\s]*@", "//…@", _repr.repr(value)), longest)
