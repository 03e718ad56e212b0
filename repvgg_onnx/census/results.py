"""What one run of a model takes, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One node, when it runs once.

    Attributes:
        name: the node's name, or its first output where it has none.
        op_type: the operator, with its domain unless that is ONNX's own.
        output_shape: shape of the first output; None where it is not known.
        parameters: elements of floating-point weights that no earlier layer read.
        macs: multiply-adds, as ``Profile.macs`` counts them.
        winograd_multiplications: as ``Profile.winograd_multiplications`` counts them.
        activation_bytes_read: bytes of the tensors that it reads, weights left out, each tensor once.
        activation_bytes_written: bytes of the tensors that it makes.
        weight_bytes: bytes of the weights and other constants that it reads.
        live_bytes: bytes of all activations that exist while it runs, its own inputs and outputs among them.
        known: whether what it takes is known; where it is not, all of that is 0 but the parameters and weights.
    """

    name: str
    op_type: str
    output_shape: tuple[int, ...] | None
    parameters: int
    macs: int
    winograd_multiplications: int
    activation_bytes_read: int
    activation_bytes_written: int
    weight_bytes: int
    live_bytes: int
    known: bool = True


@dataclass(frozen=True)
class Profile:
    """What one run of a model takes, as its nodes stand in the file: no fusion by a runtime is foreseen.

    Attributes:
        parameters: elements of floating-point tensors that the model stores, the paper's "Params".
        peak_activation_bytes: largest sum of bytes of activations that exist at one time. The nodes run in the order of
            the file. A tensor exists from the node that makes it to the last one that reads it, an input of the model
            from the start, an output to the end, and the inputs and outputs of a node exist together. Weights and the
            scratch memory of a runtime are left out.
        layers: the nodes in order, those inside a node (If, Loop, Scan) after it. A node that reads constants only is
            none: runtimes compute it before the first run, and what it makes is a weight of those that read it.
        inputs: shape of each input that the figures hold for.
        assumed: the inputs among them that have a dynamic axis of which nobody gave the size.
        subgraphs: number of graphs inside nodes; each counts once, however often it runs.
    """

    parameters: int
    peak_activation_bytes: int
    layers: tuple[Layer, ...]
    inputs: Mapping[str, tuple[int, ...]]
    assumed: tuple[str, ...] = ()
    subgraphs: int = 0

    @property
    def macs(self) -> int:
        """Multiply-adds, the paper's "Theo FLOPs".

        Counted are Conv, ConvTranspose, DeformConv, Gemm, MatMul and the forms of these on integers, Einsum, RNN, GRU,
        LSTM and Attention, positions in the padding as well. What is not a product with a kernel or matrix
        (element-wise operators, biases, normalization, pooling, reductions, softmax, resizing) counts as nothing.
        """
        return sum(layer.macs for layer in self.layers)

    @property
    def winograd_multiplications(self) -> int:
        """Multiplications with the Winograd algorithm F(2x2, 3x3), the paper's "Wino MULs".

        A 3x3 convolution of stride 1 and dilation 1, dense or in groups, needs 16 where 36 would be: 4/9 of its
        multiply-adds. Everything else needs its multiply-adds.

        Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, section 4.1; the RepVGG paper,
        section 3.1.
        """
        return sum(layer.winograd_multiplications for layer in self.layers)

    @property
    def activation_bytes_read(self) -> int:
        """Bytes of activations that the nodes read, each tensor once a node; a view such as Reshape reads nothing."""
        return sum(layer.activation_bytes_read for layer in self.layers)

    @property
    def activation_bytes_written(self) -> int:
        """Bytes of activations that the nodes write; a view such as Reshape writes nothing."""
        return sum(layer.activation_bytes_written for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and other constants that the nodes read, shared ones once for every reader."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def moved_bytes(self) -> int:
        """Memory access cost: bytes of activations and weights that are read and written."""
        return self.activation_bytes_read + self.activation_bytes_written + self.weight_bytes

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in multiply-adds per byte moved; 0 where nothing moves."""
        return self.macs / self.moved_bytes if self.moved_bytes else 0.0

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the nodes that the sums leave out: a shape is not known, or ONNX does not define the operator."""
        return tuple(layer.name for layer in self.layers if not layer.known)
