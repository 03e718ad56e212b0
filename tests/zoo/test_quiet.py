"""Silence: prints, warnings and log records stay inside, exceptions and later talk do not."""

import logging
import sys
import warnings

import pytest

from repvgg_onnx.zoo.quiet import quiet


def chatter() -> None:
    print("out")
    print("err", file=sys.stderr)
    logging.getLogger("library").warning("logged")
    warnings.warn("warned", UserWarning, stacklevel=1)


def test_nothing_is_said(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        chatter()
    assert capsys.readouterr() == ("", "")
    assert not caplog.records


def test_speech_returns_after_an_exception(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="inside"), quiet():
        raise ValueError("inside")
    with pytest.warns(UserWarning, match="warned"):
        chatter()
    assert capsys.readouterr() == ("out\n", "err\n")
    assert [record.message for record in caplog.records] == ["logged"]


def test_errors_are_still_logged(caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        logging.getLogger("library").error("grave")
    assert [record.message for record in caplog.records] == ["grave"]
