"""Every error that jndcodec raises on purpose, each with the exit code of the command line.

All derive from `JndcodecError`, a `ValueError`. The message is one line that says what to do.
"""


class JndcodecError(ValueError):
    """Base of the family. `exit_code` is what the command line returns for it."""

    exit_code = 1


class InputError(JndcodecError):
    """A file or folder is missing, unreadable, or not a picture."""

    exit_code = 3


class ArgumentError(InputError):
    """The command line makes no sense."""

    exit_code = 2


class FormatError(JndcodecError):
    """The bytes are not a .jlc file, or are damaged or cut short."""

    exit_code = 4


class VersionError(JndcodecError):
    """A .jlc file of a newer version, or with a critical section that this version does not know."""

    exit_code = 5


class ModelError(JndcodecError):
    """The model or its weights file is missing, unknown or unusable."""

    exit_code = 6


class SymbolError(JndcodecError):
    """The file is whole, but its symbols came out different from those that were encoded."""

    exit_code = 7


class OutputError(JndcodecError):
    """The output exists, cannot be written, or the disk is full."""

    exit_code = 8


class TargetError(JndcodecError):
    """The asked size, rate or quality is outside what the model reaches for this picture."""

    exit_code = 9


class LimitError(JndcodecError):
    """The picture has more pixels than allowed."""

    exit_code = 10


class DependencyError(JndcodecError):
    """An optional package or program is missing; the message names the one to install."""

    exit_code = 11


class DataError(JndcodecError):
    """Training or evaluation data is missing, mismatched or in the wrong layout."""

    exit_code = 12
