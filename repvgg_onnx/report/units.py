"""Numbers and names as a person reads them: with units, and in characters that every terminal can show."""

from collections.abc import Sequence

_COUNT_UNITS = ((10**9, "B"), (10**6, "M"))
_SIZE_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_TIME_UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "us"))
_NAMES_SHOWN = 3
_NAME_LENGTH = 40


def count(number: int) -> str:
    """A count, from a million on in millions: ``8.31 M``.

    Example:
        >>> count(8_309_384), count(65_432)
        ('8.31 M', '65,432')
    """
    return _scaled(number, _COUNT_UNITS) or f"{number:,}"


def size(size_bytes: int) -> str:
    """A size in decimal units: ``33.3 MB``.

    Example:
        >>> size(33_271_412), size(512)
        ('33.27 MB', '512 bytes')
    """
    return _scaled(size_bytes, _SIZE_UNITS) or f"{size_bytes} bytes"


def duration(nanoseconds: float) -> str:
    """A time: ``12.31 ms``.

    Example:
        >>> duration(12_312_345), duration(950)
        ('12.31 ms', '950 ns')
    """
    return _scaled(nanoseconds, _TIME_UNITS) or f"{nanoseconds:.0f} ns"


def time_unit(nanoseconds: float) -> tuple[int, str]:
    """Nanoseconds of the unit in which ``duration`` writes a time, and its name.

    Example:
        >>> time_unit(12_312_345), time_unit(950)
        ((1000000, 'ms'), (1, 'ns'))
    """
    return next((unit for unit in _TIME_UNITS if nanoseconds >= unit[0]), (1, "ns"))


def share(part: int, whole: int) -> str:
    """A part of a whole in percent.

    Example:
        >>> share(445, 450), share(450, 450)
        ('98.89 %', '100.00 %')
    """
    return f"{100 * part / whole:.2f} %"


def plural(number: int, noun: str) -> str:
    """A counted noun.

    Example:
        >>> plural(1, "region"), plural(22, "region")
        ('1 region', '22 regions')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def names(all_names: Sequence[str]) -> str:
    """The first few names, shortened where they are long, and how many more there are.

    Example:
        >>> names(["add_1", "add_2", "add_3", "add_4"])
        'add_1, add_2, add_3 and 1 more'
    """
    shown = ", ".join(_shortened(printable(name)) for name in all_names[:_NAMES_SHOWN])
    left = len(all_names) - _NAMES_SHOWN
    return f"{shown} and {left:,} more" if left > 0 else shown


def printable(text: str) -> str:
    r"""Text on one line with control characters written out, so that a model cannot steer a terminal.

    Example:
        >>> printable("relu\x1b[2J\n")
        'relu\\x1b[2J\\n'
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _scaled(number: float, units: Sequence[tuple[int, str]]) -> str:
    """The number in the largest unit that it reaches, or an empty string."""
    return next((f"{number / factor:.2f} {unit}" for factor, unit in units if number >= factor), "")


def _shortened(name: str) -> str:
    """A name of bounded length; the end, which tells names apart, stays."""
    return name if len(name) <= _NAME_LENGTH else "..." + name[3 - _NAME_LENGTH :]
