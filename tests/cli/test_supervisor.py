"""Work that hangs where Python cannot interrupt it, or crashes, is ended from outside, without litter."""

import os
import signal
import subprocess

import pytest

from repvgg_onnx.cli import supervisor
from repvgg_onnx.cli.boundary import INTERRUPTED, BadInputError
from tests.processes import interruptible, python, wait_for

# ctypes.PyDLL keeps Python's lock while it calls, as onnx does while it infers shapes; and no signal ends the wait for
# a mutex that one holds oneself.
HANG = """
import ctypes, pathlib, sys

def hang(*_, **__):
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
"""
WORK = f"""{HANG}
from repvgg_onnx.cli.supervisor import supervised
from repvgg_onnx.graph import watch

def work():
    folder = pathlib.Path(sys.argv[1])
    with watch.leaving(folder), watch.uninterruptible():
        folder.mkdir()
        hang()

supervised(work, limit_s=float(sys.argv[2]), grace_s=float(sys.argv[3]))
"""
COMMAND = f"""{HANG}
import onnx
import repvgg_onnx.proof as proof
from repvgg_onnx.cli import cli, supervisor

{{where}} = hang
supervisor.supervised(lambda: cli.main(sys.argv[1:]), limit_s={{limit_s}})
"""


@pytest.fixture
def folder(tmp_path):
    """What the work leaves behind if nobody removes it; it is there as soon as the work hangs."""
    return tmp_path / "private"


def at_work(folder, *, limit_s=60.0, grace_s=60.0, program=WORK):
    """Work that hangs."""
    started = interruptible(python(program, folder, limit_s, grace_s))
    wait_for(folder.exists)
    return started


def test_inference_without_end_is_exit_3_in_one_line(block, tmp_path):
    target = tmp_path / "old.onnx"
    target.write_bytes(b"old")
    program = COMMAND.format(where="onnx.shape_inference.infer_shapes", limit_s=0.1)
    started = interruptible(python(program, "fuse", block, "-o", target))
    out, err = started.communicate(timeout=60)

    assert (started.returncode, out) == (BadInputError.exit_code, b"")
    assert err.startswith(b"error: onnx did not finish checking a graph or inferring its shapes within 0.1 s")
    assert err.count(b"\n") == 1
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [block, target]


def test_what_a_hanging_check_had_staged_is_removed(block, tmp_path):
    program = COMMAND.format(where="proof.judge", limit_s=60)
    started = interruptible(python(program, "fuse", block))
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    started.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.communicate(timeout=0.2)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)

    assert started.returncode == INTERRUPTED
    assert list(tmp_path.iterdir()) == [block]


def test_the_limit_ends_it_and_leaves_nothing(folder):
    started = at_work(folder, limit_s=0.1)
    out, err = started.communicate(timeout=60)

    assert (started.returncode, out) == (BadInputError.exit_code, b"")
    assert err.startswith(b"error: onnx did not finish")
    assert not folder.exists()


def test_ctrl_c_ends_it_after_a_while_and_leaves_nothing(folder):
    started = at_work(folder, grace_s=0.1)
    started.send_signal(signal.SIGINT)

    assert started.communicate(timeout=60) == (b"", b"")
    assert started.returncode == INTERRUPTED
    assert not folder.exists()


def test_a_second_ctrl_c_ends_it_at_once(folder):
    started = at_work(folder)
    started.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.communicate(timeout=0.2)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)

    assert started.returncode == INTERRUPTED


def test_ctrl_c_is_ignored_where_it_was_ignored_at_the_start(folder):
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{WORK}"
    started = at_work(folder, limit_s=0.5, grace_s=0.0, program=ignoring)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)

    assert started.returncode == BadInputError.exit_code  # the limit ended it


def test_the_work_ends_with_the_process_that_watches_it(folder):
    started = at_work(folder, program=WORK.replace("PyDLL", "CDLL"))
    started.kill()
    started.communicate(timeout=60)  # the pipes are closed by the last process that holds them

    assert started.returncode == -signal.SIGKILL


def test_sigterm_is_passed_on(folder):
    started = at_work(folder)
    started.terminate()
    started.communicate(timeout=60)

    assert started.returncode == -signal.SIGTERM
    assert not folder.exists()


def test_a_crash_in_native_code_is_exit_3_in_one_line():
    code = "import os; from repvgg_onnx.cli.supervisor import supervised; supervised(lambda: os.kill(os.getpid(), 11))"
    started = interruptible(python(code))
    out, err = started.communicate(timeout=60)

    assert (started.returncode, out) == (BadInputError.exit_code, b"")
    assert err == b"error: the worker process was ended by SIGSEGV\n"


@pytest.mark.parametrize("code", [0, 1, 141])
def test_the_exit_code_is_that_of_the_work(code):
    program = f"import sys; from repvgg_onnx.cli.supervisor import supervised; supervised(lambda: sys.exit({code}))"
    assert subprocess.run(python(program), check=False).returncode == code


def test_without_fork_the_work_is_done_here(monkeypatch):
    monkeypatch.delattr(os, "fork")
    done = []
    supervisor.supervised(lambda: done.append(os.getpid()))

    assert done == [os.getpid()]
