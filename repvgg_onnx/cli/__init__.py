"""The command line: commands parse, call, print and give an exit code.

Start-up imports click and the standard library only. What a command does is in the module of its
name, which it imports when it is called.
"""

from repvgg_onnx.cli.commands import cli
from repvgg_onnx.cli.supervisor import supervised

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command line on the arguments of the process and exit."""
    supervised(lambda: cli.main(prog_name="repvgg-onnx"))
