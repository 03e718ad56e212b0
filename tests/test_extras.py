import json

import pytest

from repvgg_onnx.errors import ExtraMissingError
from repvgg_onnx.extras import import_extra


def test_an_installed_package_is_imported():
    assert import_extra("json", extra="any") is json


def test_a_missing_package_names_the_extra():
    with pytest.raises(ExtraMissingError, match=r"^no_such_package is needed .*: pip install 'repvgg-onnx\[report\]'$"):
        import_extra("no_such_package", extra="report")
