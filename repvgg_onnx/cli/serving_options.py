"""Options of ``triton``, and the one that ``fuse`` has for servers."""

import click

from repvgg_onnx.cli.options import AT_LEAST_ONE, together

target_option = click.option(
    "--target",
    type=click.Choice(["tensorrt"]),
    help="Say what TensorRT's parser would refuse, and how to build an engine.",
)
"""``--target``."""

triton_options = together(
    click.option("--name", required=True, help="Name that Triton serves the model under."),
    click.option("--version", type=AT_LEAST_ONE, default=1, show_default=True, help="Number of the model's version."),
    click.option(
        "--max-batch-size",
        type=click.IntRange(min=0, max=2**31 - 1),
        default=0,
        show_default=True,
        help="Most examples in one run; 0 leaves axis 0 to the caller.",
    ),
    click.option(
        "--tensorrt",
        type=click.Choice(["fp16", "fp32"]),
        help="Run through onnxruntime's TensorRT provider, in this precision.",
    ),
    click.option(
        "--instances", type=click.IntRange(min=1, max=2**31 - 1), help="Copies that run at once.  [default: Triton's]"
    ),
    click.option("--dynamic-batching", is_flag=True, help="Join requests that arrive at about the same time."),
    click.option("--warmup", is_flag=True, help="Run the model before it is announced as ready."),
    click.option("--force", is_flag=True, help="Replace a version or a configuration that is there."),
)
"""Everything that goes into the configuration but shapes."""
