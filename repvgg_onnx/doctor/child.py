"""What a process that tries something runs, and what it says in the end."""

import json
import pkgutil


def main(trial: str, arguments: str) -> None:
    """Run a trial and print what came of it as one line of JSON: ``state``, ``sentence`` and ``names``.

    Args:
        trial: a function as ``module:name``; it may return a list of names.
        arguments: what it takes, as JSON.
    """
    state, sentence, names = "works", "", None
    try:
        names = pkgutil.resolve_name(trial)(*json.loads(arguments))
    except Exception as error:
        state, sentence = _judged(error)
    print(json.dumps({"state": state, "sentence": sentence, "names": names or []}), flush=True)


def _judged(error: Exception) -> tuple[str, str]:
    """A state and what went wrong, on one line.

    A package that is not installed is what a chain of exceptions ends in, whatever was made of it on the way.
    """
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    if isinstance(root, ModuleNotFoundError):
        return "missing", str(root)
    return "fails", " ".join(str(error).split()) or type(error).__name__
