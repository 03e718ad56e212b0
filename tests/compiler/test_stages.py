"""What each stage takes."""

import pytest

from repvgg_onnx.compiler import stages
from repvgg_onnx.compiler.stages import Stopwatch, timed


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""
    now = [0.0]
    monkeypatch.setattr(stages, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_of_a_stage_inside_another_one_only_the_inner_counts(clock):
    with Stopwatch().running() as stopwatch:
        clock(100)
        with timed("check"):
            clock(1)
            with timed("fold"):
                clock(10)
            clock(2)
        with timed("write"):
            clock(5)

    assert stopwatch.seconds == {"check": 3, "fold": 10, "write": 5}


def test_a_stage_that_fails_is_over(clock):
    @timed("fold")
    def fail():
        clock(1)
        raise ValueError("stop")

    with Stopwatch().running() as stopwatch:
        with pytest.raises(ValueError, match="stop"):
            fail()
        clock(7)
        with timed("check"):
            clock(2)

    assert stopwatch.seconds == {"fold": 1, "check": 2}


def test_every_call_of_a_function_is_a_stage(clock):
    @timed("measure")
    def work(seconds):
        clock(seconds)
        return seconds

    with Stopwatch().running() as stopwatch:
        assert [work(1), work(2)] == [1, 2]

    assert work(4) == 4
    assert stopwatch.seconds == {"measure": 3}


def test_two_stopwatches_do_not_disturb_each_other(clock):
    with Stopwatch().running() as outer, timed("check"):
        clock(1)
        with Stopwatch().running() as inner, timed("fold"):
            clock(10)

    assert (inner.seconds, outer.seconds) == ({"fold": 10}, {"check": 11})
