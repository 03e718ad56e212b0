"""Files that take their place whole or not at all, however many processes write and whenever one of them dies.

Everything is written to a private folder beside the target first. A process that is killed leaves that folder behind,
and the next one that writes the same target removes it.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.storage.locks import is_abandoned, locked
from repvgg_onnx.graph.storage.sides import remove_unused_sides
from repvgg_onnx.graph.watch import leaving

SUFFIX = ".repvgg-onnx.tmp"
"""What the names of private folders end in."""
STEM = 50  # characters of the target's name in that of its private folder, which must not become too long


@dataclass(frozen=True)
class Staging:
    """A private folder, and the place that its files are meant for.

    Attributes:
        folder: where to write.
        target: the file to replace, symbolic links followed; or a device or pipe, which is written to.
        alone: whether no external data file would be found beside what the user named: a device, a pipe, or a link into
            another folder.
    """

    folder: Path
    target: Path
    alone: bool

    @property
    def file(self) -> Path:
        """What is to take the target's place, under the target's name."""
        return self.folder / self.target.name

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A new file in the private folder, which is on the disk when the block ends.

        Raises:
            ModelError: it cannot be written.
        """
        with explained(), (self.folder / name).open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())

    def rename(self, name: str, final: str) -> None:
        """Gives a file of the private folder the name that it is to have beside the target.

        Raises:
            ModelError: it cannot be renamed.
        """
        with explained():
            os.replace(self.folder / name, self.folder / final)

    def commit(self) -> None:
        """The files stand in their places: external data files first, so that no model ever lacks its own.

        An external data file replaces one of the same name only if both hold the same, for which its name has to care.

        Raises:
            ModelError: they cannot be put there; the target is as it was.
        """
        with explained():
            if _is_stream(self.target):
                _send(self.file, self.target)
                return
            with locked(self.target.parent):
                self._replace()

    def _replace(self) -> None:
        beside = self.target.parent
        try:
            _copy_mode(self.target, self.file)
            for side in sorted(set(os.listdir(self.folder)) - {self.file.name}):
                _copy_mode(self.target, self.folder / side)  # who may not read a model may not read its weights
                os.replace(self.folder / side, beside / side)
                _sync_folder(beside)
            os.replace(self.file, self.target)
            _sync_folder(beside)
        finally:
            remove_unused_sides(self.target)


@contextmanager
def staging(path: str | os.PathLike[str]) -> Iterator[Staging]:
    """A private folder for what is to stand at ``path``, gone after the block; only a commit changes ``path``.

    Raises:
        ModelError: nothing can be written there.
    """
    with ExitStack() as stack:
        with explained():
            target = _resolved(path)
            stream = _is_stream(target)
            parent = Path(tempfile.gettempdir()) if stream else target.parent
            folder = stack.enter_context(private_folder(parent, target.name))
            alone = stream or not Path(path).parent.samefile(parent)
        yield Staging(folder, target, alone)


def tidy(path: str | os.PathLike[str]) -> None:
    """What a process that died while it wrote to ``path`` left there is gone, as far as it can be removed."""
    target = Path(os.path.realpath(path))
    with suppress(OSError), locked(target.parent):
        _remove_abandoned(target.parent, _prefix(target.name))
        remove_unused_sides(target)


@contextmanager
def private_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder that nobody takes for abandoned while the block runs; those that are, of that name, are removed.

    Args:
        parent: where to make it.
        name: of what it is made for.

    Raises:
        OSError: it cannot be made.
    """
    with ExitStack() as stack:
        with locked(parent):
            _remove_abandoned(parent, _prefix(name))
            folder = Path(tempfile.mkdtemp(SUFFIX, _prefix(name), parent))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(leaving(folder))
            stack.enter_context(locked(folder))
        yield folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the block among the temporary files, which whoever watches removes if this process is killed."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, leaving(Path(name)):
        yield Path(name)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    with suppress(PermissionError), os.scandir(parent) as entries:
        for entry in entries:
            ours = entry.name.startswith(prefix) and entry.name.endswith(SUFFIX)
            if ours and entry.is_dir(follow_symlinks=False) and is_abandoned(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _prefix(name: str) -> str:
    """What the names of private folders for a target of that name begin with."""
    return f".{name[:STEM]}."


def _resolved(path: str | os.PathLike[str]) -> Path:
    """What a link leads to, in the end, or a device or pipe under the name that was given.

    Raises:
        OSError: it is a folder, or a link that leads to itself.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return Path(os.path.realpath(path)) if stat.S_ISREG(mode) else Path(path)


def _is_stream(target: Path) -> bool:
    return target.exists() and not target.is_file()


def _send(source: Path, target: Path) -> None:
    """Writes a file into a device or a pipe."""
    with source.open("rb") as content, target.open("wb") as stream:
        shutil.copyfileobj(content, stream)


def _copy_mode(target: Path, file: Path) -> None:
    """Gives the new file the old one's permissions, if there is an old one."""
    with suppress(FileNotFoundError):
        file.chmod(stat.S_IMODE(target.stat().st_mode))


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def explained() -> Iterator[None]:
    """Errors of the operating system while something is written are errors of the package, in one sentence.

    Raises:
        ModelError: there was one.
    """
    try:
        yield
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror or error}") from error
