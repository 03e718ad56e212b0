"""Work that hangs where Python cannot interrupt it, or crashes, is ended from outside, without litter."""

import fcntl
import os
import shlex
import signal
import subprocess

import pytest

from repvgg_onnx.cli import supervisor
from repvgg_onnx.cli.boundary import INTERRUPTED, BadInputError
from tests.processes import interruptible, python, wait_for

# Nothing that a signal handler of Python could stop, and nothing that lets another thread run, as in onnx.
SPIN = """
import collections, itertools, pathlib, sys

def spin(*_, **__):
    collections.deque(itertools.repeat(0), maxlen=0)
"""
# ctypes.PyDLL keeps Python's lock while it calls, as onnx does while it infers shapes; and no signal ends the wait for
# a mutex that one holds oneself.
HANG = """
import ctypes, os, pathlib, sys

def hang(*_, **__):
    if "HANGS" in os.environ:
        pathlib.Path(os.environ["HANGS"]).touch()
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
"""
WORK = f"""{HANG}{SPIN}
from repvgg_onnx.cli.supervisor import supervised
from repvgg_onnx.graph import watch

def work():
    folder = pathlib.Path(sys.argv[1])
    with watch.leaving(folder), watch.uninterruptible():
        folder.mkdir()
        hang()

supervised(work, limit_s=float(sys.argv[2]), grace_s=float(sys.argv[3]))
"""
COMMAND = f"""{HANG}{SPIN}
import onnx
import repvgg_onnx.workflows.prove as proof
from repvgg_onnx.cli import cli, supervisor

{{where}} = {{what}}
supervisor.supervised(lambda: cli.main(sys.argv[1:]), limit_s={{limit_s}})
"""
SPINNING = WORK.replace("        hang()", "        spin()")


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
    program = COMMAND.format(where="onnx.shape_inference.infer_shapes", what="spin", limit_s=0.1)
    started = interruptible(python(program, "fuse", block, "-o", target))
    out, err = started.communicate(timeout=60)

    assert (started.returncode, out) == (BadInputError.exit_code, b"")
    assert err == b"error: onnx took more than 0.1 s of CPU time to check a graph or infer its shapes\n"
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [block, target]


def test_what_a_hanging_check_had_staged_is_removed(block, tmp_path, tmp_path_factory):
    program = COMMAND.format(where="proof.judge", what="hang", limit_s=60)
    hangs = tmp_path_factory.mktemp("marks") / "hangs"
    started = interruptible(python(program, "fuse", block), env={**os.environ, "HANGS": str(hangs)})
    wait_for(hangs.exists)
    assert len(list(tmp_path.iterdir())) == 2
    started.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.communicate(timeout=0.5)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)

    assert started.returncode == INTERRUPTED
    assert list(tmp_path.iterdir()) == [block]


def test_the_limit_ends_it_and_leaves_nothing(folder):
    started = at_work(folder, limit_s=0.1, program=SPINNING)
    out, err = started.communicate(timeout=60)

    assert (started.returncode, out) == (BadInputError.exit_code, b"")
    assert err.startswith(b"error: onnx took more than 0.1 s of CPU time")
    assert not folder.exists()


def test_time_in_which_nothing_is_computed_does_not_count():
    """A busy machine and Ctrl-Z do not use up the limit."""
    program = """
import time
from repvgg_onnx.cli.supervisor import supervised
from repvgg_onnx.graph.watch import uninterruptible

def work():
    with uninterruptible():
        time.sleep(0.5)
    print("done")

supervised(work, limit_s=0.2)
"""
    ran = subprocess.run(python(program), capture_output=True, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"done\n", b"")


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
        started.communicate(timeout=0.5)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)

    assert started.returncode == INTERRUPTED


def test_ctrl_c_is_ignored_where_it_was_ignored_at_the_start(folder):
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{WORK}"
    started = at_work(folder, limit_s=0.5, grace_s=0.0, program=ignoring.replace("        hang()", "        spin()"))
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)

    assert started.returncode == BadInputError.exit_code  # the limit ended it


@pytest.mark.skipif(not hasattr(fcntl, "F_SETSIG"), reason="the kernel has to do it")
def test_the_work_ends_with_the_process_that_watches_it(folder):
    """Even where onnx holds Python's lock."""
    ended_with_its_parent(at_work(folder))


def test_it_ends_so_without_help_of_the_kernel_wherever_python_runs(folder):
    alone = f"import fcntl; fcntl.__dict__.pop('F_SETSIG', None)\n{WORK.replace('PyDLL', 'CDLL')}"
    ended_with_its_parent(at_work(folder, program=alone))


def ended_with_its_parent(started):
    started.kill()
    started.communicate(timeout=10)  # the pipes are closed by the last process that holds them

    assert started.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_processes_is_passed_on(folder, number):
    started = at_work(folder)
    started.send_signal(number)
    started.communicate(timeout=60)

    assert started.returncode == -number
    assert not folder.exists()


def test_the_end_of_a_terminal_is_ignored_where_it_was_ignored_at_the_start(folder):
    """As with nohup."""
    ignoring = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{SPINNING}"
    started = at_work(folder, limit_s=0.5, program=ignoring)
    started.send_signal(signal.SIGHUP)
    started.communicate(timeout=60)

    assert started.returncode == BadInputError.exit_code  # the limit ended it


def test_the_first_process_of_a_container_exits_with_what_it_does_not_die_of(monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *_: None)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert supervisor._Watch(0, -1, 1.0, 1.0)._died_of(signal.SIGTERM) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("later_s", "patience_s"), [(0.1, 4.9), (0.5, 0.0)])
def test_a_ctrl_c_that_arrives_twice_is_one(monkeypatch, later_s, patience_s):
    """A terminal sends it to a whole pipeline, and some programs pass it on to those that they started."""
    now = [1000.0]
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: now[0])
    watching = supervisor._Watch(0, -1, 1.0, grace_s=5.0)
    watching._pass_on(signal.SIGINT, None)
    now[0] += later_s
    watching._pass_on(signal.SIGINT, None)

    assert watching._patience() == pytest.approx(patience_s)


def test_ctrl_c_before_anything_has_begun_is_no_traceback():
    program = """
import os, signal, time
from repvgg_onnx.cli.supervisor import supervised

fork = os.fork
os.fork = lambda: (os.kill(os.getpid(), signal.SIGINT), fork())[1]
supervised(lambda: time.sleep(60))
"""
    started = interruptible(python(program))

    assert started.communicate(timeout=60) == (b"", b"")
    assert started.returncode == INTERRUPTED


def test_temporary_models_are_removed_too(tmp_path):
    program = f"""{HANG}
from repvgg_onnx.checks.latency.isolation import on_disk
from repvgg_onnx.cli.supervisor import supervised

def work():
    with on_disk(b"a model"):
        hang()

supervised(work)
"""
    started = interruptible(python(program), env={**os.environ, "TMPDIR": str(tmp_path)})
    wait_for(lambda: any(tmp_path.glob("*/model.onnx")))
    started.terminate()
    started.communicate(timeout=60)

    assert list(tmp_path.glob("tmp*")) == []


def test_a_crash_in_native_code_is_exit_3_in_one_line():
    code = "import os; from repvgg_onnx.cli.supervisor import supervised; supervised(lambda: os.kill(os.getpid(), 11))"
    started = interruptible(python(code))
    out, err = started.communicate(timeout=60)

    assert (started.returncode, out) == (BadInputError.exit_code, b"")
    assert err == b"error: the worker process was ended by SIGSEGV\n"


def test_a_process_that_somebody_else_killed_may_have_been_out_of_memory():
    code = "import os; from repvgg_onnx.cli.supervisor import supervised; supervised(lambda: os.kill(os.getpid(), 9))"
    ran = subprocess.run(python(code), capture_output=True, check=False)

    assert ran.returncode == BadInputError.exit_code
    assert ran.stderr == b"error: the worker process was ended by SIGKILL, possibly out of memory\n"


@pytest.mark.parametrize("code", [0, 1, 141])
def test_the_exit_code_is_that_of_the_work(code):
    program = f"import sys; from repvgg_onnx.cli.supervisor import supervised; supervised(lambda: sys.exit({code}))"
    assert subprocess.run(python(program), check=False).returncode == code


def test_without_fork_the_work_is_done_here(monkeypatch):
    monkeypatch.delattr(os, "fork")
    done = []
    supervisor.supervised(lambda: done.append(os.getpid()))

    assert done == [os.getpid()]


def test_where_no_process_can_be_had_the_work_is_done_here(monkeypatch):
    def limited():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", limited)
    done = []
    supervisor.supervised(lambda: done.append(os.getpid()))

    assert done == [os.getpid()]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_the_exit_code_arrives_where_ended_children_are_ignored():
    program = """
import signal, sys
from repvgg_onnx.cli.supervisor import supervised

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
supervised(lambda: sys.exit(7))
"""
    ran = subprocess.run(python(program), capture_output=True, check=False)

    assert (ran.returncode, ran.stderr) == (7, b"")


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    """What native code prints would go into it; and the error of a closed stderr is not printed among the data."""
    program = """
import os, sys
from repvgg_onnx.cli.supervisor import supervised

def work():
    with open(sys.argv[1], "w") as stream:
        print(stream.fileno(), file=stream)
    os.kill(os.getpid(), 11)

supervised(work)
"""
    command = shlex.join(python(program, tmp_path / "number"))
    for closed in ("2>&-", "0<&- 1>&- 2>&-"):
        ran = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, check=False)

        assert (ran.returncode, ran.stdout, ran.stderr) == (BadInputError.exit_code, b"", b"")
        assert int((tmp_path / "number").read_text()) > 2
