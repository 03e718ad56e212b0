"""Every refusal code with what it means and what a user can do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """The long form of a refusal code.

    Attributes:
        meaning: why such a node ends a region, or such a region is not folded.
        advice: what a user can do, if anything.
    """

    meaning: str
    advice: str

    @property
    def actionable(self) -> bool:
        """Whether there is anything that a user can do."""
        return not self.advice.startswith("Nothing ")


_NONE = "Nothing has to be done: the node stays as it is, and what is around it is folded as far as possible."
_REPORT = "If the model is right and common, please report it."

CODES: dict[str, Code] = {
    "already-folded": Code(
        "The node is what is left of a fold, or would be: MatMul has no bias of its own, so that an offset behind it "
        "stays an Add, and before a padded convolution of unknown size an offset stays an Add as well.",
        _NONE,
    ),
    "auto-pad-dynamic": Code(
        "The pads follow from auto_pad or output_shape and from an input size that is not fixed in the model, so they "
        "differ from run to run. Gains, offsets and matrices of the channels fold all the same; other kernels do not.",
        "Export with fixed spatial sizes, or with explicit pads.",
    ),
    "bad-attribute": Code(
        "An attribute or a constant input does not fit the operator's other inputs.",
        _REPORT,
    ),
    "bad-geometry": Code(
        "Kernel, strides, pads, dilations and groups do not fit together.",
        _REPORT,
    ),
    "bad-variance": Code(
        "A BatchNormalization has a variance that, with epsilon added, is zero or negative, so its gain is not a "
        "number.",
        "Look at the checkpoint: a running variance is never negative.",
    ),
    "border-bias": Code(
        "A convolution pads with zeros what another map has added a bias to. At the border the graph sees the "
        "zeros, and one folded kernel would see the bias instead.",
        "Export with fixed spatial sizes: the border then becomes a constant that is added, where that is cheaper. "
        "Padding before the first map would make it exact at any size.",
    ),
    "border-taps": Code(
        "A padded convolution follows one whose kernel is larger than one position. At the border the graph sees "
        "zeros, and one folded kernel would see results of the first convolution outside the image.",
        "Nothing can be done after training. Padding once, before the first convolution, would make it exact.",
    ),
    "captured": Code(
        "A tensor inside the region is read by the body of an If, Loop or Scan node, so it has to be computed anyway.",
        _NONE,
    ),
    "cast": Code(
        "A Cast changes the type in the middle of a region, which rounds the values there.",
        _NONE,
    ),
    "channels-differ": Code(
        "The branches, or a map and the one after it, have different numbers of channels.",
        _NONE,
    ),
    "channels-grow": Code(
        "A constant has more channels than the value, so that the result is larger.",
        _NONE,
    ),
    "check-failed": Code(
        "The region was folded and its node run on the values that really arrive there, and the result differed by "
        "more than rounding explains. The region was left as it was.",
        "Weights of very different sizes can do this; if they are not, please report it.",
    ),
    "division-by-zero": Code(
        "A Div divides by a constant with zeros in it.",
        "Look at the checkpoint.",
    ),
    "file-grows": Code(
        "The weights of the region are computed from a few bytes, such as a constant that is expanded to a shape. As "
        "one node the region would store them, and the file would grow out of proportion.",
        "Nothing has to be done; to have them stored all the same, fold constants first, for instance with onnxsim.",
    ),
    "graph-output": Code(
        "A tensor inside the region is an output of the graph, so it has to be computed anyway.",
        "Remove the output from the export if nobody needs it.",
    ),
    "internal": Code(
        "Something failed that should not have, while this region was looked at, planned or folded. It stays as it "
        "is, and everything else is folded as usual.",
        "Please report it, with the traceback that --debug shows and, if possible, the model.",
    ),
    "kept-by-decision": Code(
        "The region would cost less as one node, and was left as it was: a measurement showed that it is not faster "
        "so, or the decisions that were given say so.",
        "Measure again with --autotune where the model is to run.",
    ),
    "layout": Code(
        "An operator reads its channels on another axis than the rest of the region.",
        _NONE,
    ),
    "no-kernel": Code(
        "A BatchNormalization, a gain or an offset stands between operators that have no kernel to take it in, such as "
        "two activations.",
        _NONE,
    ),
    "not-affine": Code(
        "The operator multiplies, divides, cuts or joins in a way that is not affine.",
        _NONE,
    ),
    "not-cheaper": Code(
        "The region is one affine convolution, but that convolution would cost more multiply-adds and bytes than "
        "its nodes do now. A depthwise convolution followed by a pointwise one is the best-known case.",
        _NONE,
    ),
    "not-constant": Code(
        "Weights or other parameters are inputs of the model or are computed from them.",
        "Export with the parameters as initializers or as expressions of constants.",
    ),
    "not-evaluated": Code(
        "Weights or other parameters are computed from constants, by an operator that is not evaluated beforehand, or "
        "with more memory than the limit leaves.",
        "Give --max-constant-mb a larger number, or fold constants first, with onnxslim or onnxsim.",
    ),
    "not-finite": Code(
        "The folded weights hold infinities or NaNs, because the model's weights do, so that the two would not agree.",
        "Look at the checkpoint.",
    ),
    "not-per-channel": Code(
        "A constant differs from position to position, so it is not one number a channel.",
        _NONE,
    ),
    "old-batch-norm": Code(
        "BatchNormalization had other attributes and another meaning before opset 7.",
        "Convert the model to opset 7 or later with onnx.version_converter.",
    ),
    "old-broadcast": Code(
        "Before opset 7 element-wise operators broadcast along an axis that an attribute names.",
        "Convert the model to opset 7 or later with onnx.version_converter.",
    ),
    "overflow": Code(
        "A folded weight is larger than the model's type can hold; float16 ends at 65504.",
        "Fuse the float32 model, and convert it afterwards with ranges in mind.",
    ),
    "overridable": Code(
        "The weights are graph inputs with default values, so a caller may feed others. Old exporters write models "
        "so; before IR version 4 nobody can feed them, and they are constants.",
        "Give --freeze-initializers if no caller feeds weights, or export again.",
    ),
    "pad-axis": Code(
        "A Pad enlarges the batch or the channels, which no convolution does.",
        _NONE,
    ),
    "pad-mode": Code(
        "A Pad repeats or reflects the image, or wraps it around; convolutions pad with zeros.",
        _NONE,
    ),
    "pad-value": Code(
        "A Pad fills with another value than zero; convolutions pad with zeros.",
        _NONE,
    ),
    "pool-window": Code(
        "An AveragePool divides by the number of positions that lie inside the image, which is smaller at the border.",
        "Set count_include_pad=True when training, if the border may be treated so.",
    ),
    "quantized": Code(
        "The graph is quantized: its values are rounded to integers, and a fold would change the roundings.",
        "Where the floating-point model exists, fuse that and quantize the result. A model that was trained with fake "
        "quantization has none: fold its branches before the fake quantization is put in, and train on.",
    ),
    "rank-grows": Code(
        "A constant has more axes than the value, so that the result has more as well.",
        _NONE,
    ),
    "reshaped": Code(
        "A Reshape, Flatten or Squeeze merges or splits the channels, or what follows it is neither a gain nor an "
        "offset per channel.",
        _NONE,
    ),
    "shared": Code(
        "A tensor inside the region is read by other nodes too, so the nodes before it have to stay, and folding "
        "the region would compute them twice.",
        _NONE,
    ),
    "sizes-differ": Code(
        "The branches pad differently and give outputs of different sizes.",
        _NONE,
    ),
    "sizes-unknown": Code(
        "The branches pad differently at the end. Their sum is exact only where their outputs have the same size, "
        "which depends on an input size that is dynamic.",
        "Export with fixed spatial sizes.",
    ),
    "strides-differ": Code(
        "The branches have different strides, so they read different positions.",
        _NONE,
    ),
    "too-large": Code(
        "The folded weights, or a term that differs from position to position, would take far more memory than the "
        "model itself, or channels or a window are absurdly many or large.",
        "Give --max-constant-mb a larger number, if the model is right and there is memory for it.",
    ),
    "training-mode": Code(
        "A BatchNormalization or Dropout runs in training mode: it normalizes with the statistics of the batch, "
        "or drops.",
        "Export again from model.eval(), with training=TrainingMode.EVAL or PRESERVE, or give --assume-inference.",
    ),
    "transposed": Code(
        "A transposed convolution is summed with a plain one, or composed with one that is not pointwise.",
        _NONE,
    ),
    "two-roots": Code(
        "An operator joins values that come from different tensors, as the addition at the end of a residual block "
        "does when an activation stands inside the block, or from parts of one tensor that are not followed back.",
        _NONE,
    ),
    "type": Code(
        "The operator works on integers, or on another type than the rest of the region.",
        _NONE,
    ),
    "unknown-attribute": Code(
        "The operator has an attribute that this version does not know.",
        _REPORT,
    ),
}
