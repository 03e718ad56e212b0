from tests.cli.conftest import block, plain, run

__all__ = ["block", "plain", "run"]
