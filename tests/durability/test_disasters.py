"""What can go wrong with an output: the old file is whole, nothing else is left, and one line says what it was."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest

from repvgg_onnx.graph import save
from tests.durability.conftest import OLD
from tests.durability.models import LITTLE, training_model
from tests.folders import contents, names

QUICK = ("--no-verify", "--no-bench", "--quiet")
NOBODY = 65534
COMMAND = (sys.executable, "-m", "repvgg_onnx")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

AS_NOBODY = f"""
import contextlib, os, sys
from repvgg_onnx.cli import cli
with contextlib.suppress(SystemExit):  # everything is imported, as nobody may not be able to
    cli.main(["fuse", sys.argv[2], "-o", os.devnull, "--no-verify", "--no-bench", "--quiet"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
cli.main(sys.argv[1:])
"""


def process(*arguments, code=None):
    start = ["-c", code] if code else ["-m", "repvgg_onnx"]
    return subprocess.run([sys.executable, *start, *map(str, arguments)], capture_output=True, timeout=120, check=False)


@contextmanager
def largest_file(size):
    """No file of this process may grow beyond that, as on a disk with so much room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["one file", "pair"])
def form(request, monkeypatch):
    """Whether the output has a side file."""
    if request.param == "pair":
        monkeypatch.setattr(save, "LARGEST_FILE", LITTLE)
    return request.param


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("size", [0, 500, 50_000])
def test_no_room_for_the_output(run, source, target, size):
    with largest_file(size):
        ran = run("fuse", source, "-o", target, *QUICK)
    assert (ran.code, ran.out, ran.err) == (3, "", f"error: {target}: cannot be written: File too large\n")
    assert contents(target.parent) == {"out.onnx": OLD}


@pytest.mark.usefixtures("form")
def test_no_room_for_the_model_in_place(run, source):
    before = contents(source.parent)
    with largest_file(50_000):
        ran = run("fuse", source, "--in-place", *QUICK)
    assert (ran.code, ran.err) == (3, f"error: {source}: cannot be written: File too large\n")
    assert contents(source.parent) == before


def test_no_room_for_the_report(run, source, target):
    report = target.with_name("report.json")
    assert run("inspect", source, f"--json={report}").code == 0
    before = contents(target.parent)
    with largest_file(100):
        ran = run("inspect", source, f"--json={report}")
    assert (ran.code, ran.err) == (3, f"error: {report}: cannot be written: File too large\n")
    assert contents(target.parent) == before


@pytest.mark.skipif(not IS_ROOT, reason="only root can mount a small disk")
@pytest.mark.usefixtures("form")
def test_a_full_disk(run, source, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (disk / "out.onnx").write_bytes(OLD)
        ran = run("fuse", source, "-o", disk / "out.onnx", *QUICK)
        assert (ran.code, ran.err) == (3, f"error: {disk / 'out.onnx'}: cannot be written: No space left on device\n")
        assert contents(disk) == {"out.onnx": OLD}
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def shared():
    """A folder that every user of the machine gets to."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
        os.chmod(name, 0o755)


def test_a_folder_without_permission(source, shared):
    shutil.copy(source, shared / "net.onnx")
    (shared / "out.onnx").write_bytes(OLD)
    os.chmod(shared, 0o555)
    before = contents(shared)

    for name, arguments in {
        "out.onnx": ["-o", shared / "out.onnx"],
        "new.onnx": ["-o", shared / "new.onnx"],
        "net.onnx": ["--in-place"],
    }.items():
        ran = process("fuse", shared / "net.onnx", *arguments, *QUICK, code=AS_NOBODY)
        assert ran.stderr.decode() == f"error: {shared / name}: cannot be written: Permission denied\n"
        assert (ran.returncode, ran.stdout) == (3, b"")
    assert contents(shared) == before


def test_a_file_that_may_not_be_written_in_a_folder_that_may_is_replaced(run, source, target):
    target.chmod(0o444)
    assert run("fuse", source, "-o", target, *QUICK).code == 0
    assert target.stat().st_mode & 0o777 == 0o444
    assert onnx.load(target).graph.node[0].op_type == "Conv"


@pytest.mark.skipif(not IS_ROOT, reason="only root can mount a disk that is read-only")
def test_a_read_only_disk(run, source, target):
    folder = target.parent
    if subprocess.run(["mount", "-o", "bind", folder, folder], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        ran = run("fuse", source, "-o", target, *QUICK)
        assert (ran.code, ran.err) == (3, f"error: {target}: cannot be written: Read-only file system\n")
    finally:
        subprocess.run(["umount", folder], check=True)
    assert contents(folder) == {"out.onnx": OLD}


def test_a_link_is_followed_and_stays(run, source, target, tmp_path):
    link = tmp_path / "link.onnx"
    link.symlink_to(target)
    assert run("fuse", source, "-o", link, *QUICK).code == 0
    assert link.is_symlink()
    assert onnx.load(link).graph.node[0].op_type == "Conv"
    assert names(tmp_path) == ["from", "link.onnx", "to"]
    assert names(target.parent) == ["out.onnx"]


def test_a_pair_behind_a_link_stands_in_the_folder_of_the_link_or_nowhere(run, source, target, tmp_path, monkeypatch):
    monkeypatch.setattr(save, "LARGEST_FILE", LITTLE)
    (tmp_path / "link.onnx").symlink_to(target)
    ran = run("fuse", source, "-o", tmp_path / "link.onnx", *QUICK)
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "cannot be written: its tensors need an external data file" in ran.err
    assert contents(target.parent) == {"out.onnx": OLD}

    (target.parent / "link.onnx").symlink_to(target)
    assert run("fuse", source, "-o", target.parent / "link.onnx", *QUICK).code == 0
    assert (target.parent / "link.onnx").is_symlink()
    assert onnx.load(target.parent / "link.onnx").graph.node[0].op_type == "Conv"


def test_a_link_to_nothing_gets_its_file(run, source, target, tmp_path):
    target.unlink()
    link = tmp_path / "link.onnx"
    link.symlink_to(target)
    assert run("fuse", source, "-o", link, *QUICK).code == 0
    assert link.is_symlink()
    assert names(target.parent) == ["out.onnx"]


def test_a_link_into_nowhere_is_one_line(run, source, tmp_path):
    link = tmp_path / "link.onnx"
    link.symlink_to(tmp_path / "none" / "out.onnx")
    ran = run("fuse", source, "-o", link, *QUICK)
    assert (ran.code, ran.err) == (3, f"error: {link}: cannot be written: No such file or directory\n")


def test_a_link_to_itself_is_one_line(run, source, tmp_path):
    link = tmp_path / "link.onnx"
    link.symlink_to(link)
    ran = run("fuse", source, "-o", link, *QUICK)
    assert (ran.code, ran.err) == (3, f"error: {link}: cannot be written: Too many levels of symbolic links\n")
    assert link.is_symlink()


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["report", "json"])
def test_the_model_and_a_report_do_not_share_stdout(source, arguments):
    ran = process("fuse", source, "-o", "/dev/stdout", "--no-verify", "--no-bench", *arguments)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert (
        ran.stderr == b"error: /dev/stdout is where the report goes too; add --quiet (see 'repvgg-onnx fuse --help')\n"
    )


def test_an_export_does_not_share_stdout_either():
    ran = process("export", "repvgg-a0", "-o", "/dev/stdout")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"add --quiet" in ran.stderr


def test_the_model_goes_to_stdout_where_nothing_else_does(source, run, target):
    run("fuse", source, "-o", target, *QUICK)
    ran = process("fuse", source, "-o", "/dev/stdout", *QUICK)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == target.read_bytes()
    assert names(source.parent) == ["net.onnx"]


def test_the_null_device_stays_what_it_is(run, source):
    before = os.stat(os.devnull)
    ran = run("fuse", source, "-o", os.devnull, "--no-verify", "--no-bench")
    after = os.stat(os.devnull)
    assert (ran.code, ran.err) == (0, "")
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_a_full_device_is_one_line(run, source):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    ran = run("fuse", source, "-o", "/dev/full", *QUICK)
    assert (ran.code, ran.err) == (3, "error: /dev/full: cannot be written: No space left on device\n")


def test_what_a_killed_run_left_goes_even_where_nothing_is_to_be_written(run, target):
    onnx.save(training_model(), target)
    assert run("fuse", target, "--in-place", *QUICK).code == 0
    before = contents(target.parent)
    (target.parent / f".out.onnx.killed{'.repvgg-onnx.tmp'}").mkdir()
    (target.parent / f"out.onnx.{'0' * 16}.data").write_bytes(OLD)
    assert run("fuse", target, "--in-place", *QUICK).code == 0
    assert contents(target.parent) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_report_that_nobody_can_keep_is_one_line(source):
    with open("/dev/full", "wb") as full:
        ran = subprocess.run([*COMMAND, "inspect", str(source)], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (3, b"error: the output cannot be written: No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell that closes stdout")
def test_a_closed_stdout_is_no_error(source):
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "inspect", str(source)], stderr=subprocess.PIPE, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
