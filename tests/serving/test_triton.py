import subprocess
import sys

import onnx
import pytest

from repvgg_onnx.errors import CheckError, ExtraMissingError, ModelError
from repvgg_onnx.serving import messages
from repvgg_onnx.serving.messages import config_text, model_config_messages, parse_config
from repvgg_onnx.serving.triton import TritonOptions, build_config

from .models import conv, parsed


def built(model, **options):
    """The configuration after a round through its text, as Triton reads it."""
    config = build_config(model, TritonOptions("net", **options))
    again = parse_config(config_text(config))
    assert again == config
    return again


def described(tensor):
    return tensor.name, messages.model_config_messages().DataType.Name(tensor.data_type), list(tensor.dims)


def test_dims_are_those_of_the_model():
    config = built(conv(width="W"))

    assert (config.name, config.backend, config.max_batch_size) == ("net", "onnxruntime", 0)
    assert [described(each) for each in config.input] == [("image", "TYPE_FP32", [-1, 4, 5, -1])]
    assert [described(each) for each in config.output] == [("out", "TYPE_FP32", [-1, 6, 5, -1])]


def test_the_batch_axis_is_left_out_where_triton_makes_the_batch():
    config = built(conv(), max_batch_size=8)

    assert config.max_batch_size == 8
    assert list(config.input[0].dims) == [4, 5, 7]
    assert list(config.output[0].dims) == [6, 5, 7]


def test_what_is_not_asked_for_is_not_there():
    fields = {field.name for field, _ in built(conv()).ListFields()}

    assert fields == {"name", "backend", "input", "output"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bool", "TYPE_BOOL"),
        ("uint8", "TYPE_UINT8"),
        ("int64", "TYPE_INT64"),
        ("float16", "TYPE_FP16"),
        ("bfloat16", "TYPE_BF16"),
        ("double", "TYPE_FP64"),
        ("string", "TYPE_STRING"),
    ],
)
def test_types_have_tritons_names(kind, expected):
    config = built(parsed(f"g ({kind}[2, 3] x) => ({kind}[2, 3] y) {{ y = Identity (x) }}"))

    assert [described(each)[1] for each in (*config.input, *config.output)] == [expected, expected]


def test_a_type_that_triton_lacks_is_refused():
    model = parsed("g (complex64[2] x) => (complex64[2] y) { y = Identity (x) }")

    with pytest.raises(ModelError, match="input 'x' is of type COMPLEX64"):
        build_config(model, TritonOptions("net"))


def test_a_sequence_is_refused():
    with pytest.raises(ModelError, match="output 'y' is not a tensor"):
        build_config(parsed("g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct (x) }"), TritonOptions("net"))


def test_an_output_without_a_shape_is_refused():
    model = conv()
    model.graph.output[0].type.tensor_type.ClearField("shape")

    with pytest.raises(ModelError, match=r"output 'out' has no shape.*onnx\.shape_inference"):
        build_config(model, TritonOptions("net"))


def test_a_scalar_has_one_element_for_triton():
    config = built(parsed("g (float x) => (float y) { y = Relu (x) }"))

    assert list(config.input[0].dims) == [1]
    assert not config.input[0].HasField("reshape")  # the backend's own form of a scalar


def test_an_input_that_is_nothing_but_a_batch_is_reshaped():
    config = built(parsed("g (float[N] x) => (float[N] y) { y = Relu (x) }"), max_batch_size=4)

    assert list(config.input[0].dims) == [1]
    assert config.input[0].HasField("reshape")
    assert list(config.input[0].reshape.shape) == []


def test_inputs_with_a_default_are_not_the_callers():
    model = conv()
    model.graph.input.append(onnx.helper.make_tensor_value_info("kernel", onnx.TensorProto.FLOAT, (6, 4, 5, 5)))

    assert [each.name for each in built(model).input] == ["image"]


def test_a_fixed_batch_cannot_be_batched_and_the_error_says_how_to_export():
    with pytest.raises(CheckError, match=r"input 'image' fixes axis 0 at 2.*dynamic_axes.*--max-batch-size at 0"):
        build_config(conv(batch="2"), TritonOptions("net", max_batch_size=8))


def test_a_fixed_batch_of_an_output_cannot_be_batched_either():
    model = parsed("g (float[N, 3] x) => (float[1, 3] y) { y = ReduceMax <axes = [0]> (x) }")

    with pytest.raises(CheckError, match="output 'y' fixes axis 0 at 1"):
        build_config(model, TritonOptions("net", max_batch_size=8))


def test_a_scalar_cannot_be_batched():
    model = parsed("g (float[N] x, float s) => (float[N] y) { y = Mul (x, s) }")

    with pytest.raises(CheckError, match="input 's' is a scalar"):
        build_config(model, TritonOptions("net", max_batch_size=8))


def test_dynamic_batching_needs_a_batch():
    with pytest.raises(CheckError, match="--max-batch-size"):
        build_config(conv(), TritonOptions("net", dynamic_batching=True))

    assert built(conv(), max_batch_size=8, dynamic_batching=True).HasField("dynamic_batching")


@pytest.mark.parametrize(("precision", "word"), [("fp16", "FP16"), ("fp32", "FP32")])
def test_tensorrt_is_an_accelerator_of_the_gpu(precision, word):
    config = built(conv(), tensorrt=precision, instances=3)

    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    (group,) = config.instance_group
    assert (accelerator.name, dict(accelerator.parameters)) == ("tensorrt", {"precision_mode": word})
    assert (group.count, group.kind) == (3, group.KIND_GPU)


def test_instances_run_where_triton_finds_best():
    (group,) = built(conv(), instances=2).instance_group

    assert (group.count, group.kind) == (2, group.KIND_AUTO)


def test_a_warmup_runs_the_smallest_and_the_largest_batch():
    config = built(conv(), max_batch_size=8, warmup=True)

    assert [sample.batch_size for sample in config.model_warmup] == [1, 8]
    assert [list(sample.inputs["image"].dims) for sample in config.model_warmup] == [[4, 5, 7], [4, 5, 7]]
    assert all(sample.inputs["image"].random_data for sample in config.model_warmup)


def test_a_warmup_without_batches_has_the_whole_shape():
    (sample,) = built(conv(batch="2"), warmup=True).model_warmup

    assert (sample.batch_size, list(sample.inputs["image"].dims)) == (1, [2, 4, 5, 7])


def test_a_warmup_feeds_zeros_for_what_may_be_indices():
    (sample,) = built(parsed("g (int64[2] x) => (int64[2] y) { y = Abs (x) }"), warmup=True).model_warmup

    assert sample.inputs["x"].zero_data
    assert sample.inputs["x"].WhichOneof("input_data_type") == "zero_data"


def test_a_warmup_needs_the_sizes_of_dynamic_axes():
    with pytest.raises(CheckError, match=r"input 'image' has dynamic axes.*--shape image=1,4,5,224"):
        build_config(conv(width="W"), TritonOptions("net", max_batch_size=8, warmup=True))

    config = built(conv(width="W"), max_batch_size=8, warmup=True, shapes={"image": (2, 4, 5, 9)})
    assert list(config.model_warmup[0].inputs["image"].dims) == [4, 5, 9]
    assert list(config.input[0].dims) == [4, 5, -1]


def test_a_shape_that_does_not_fit_is_an_error():
    with pytest.raises(CheckError, match="does not fit input 'image'"):
        build_config(conv(), TritonOptions("net", warmup=True, shapes={"image": (1, 3, 5, 7)}))


def test_grpc_is_not_imported():
    code = (
        "import sys; from repvgg_onnx.serving.messages import model_config_messages as load; "
        "load(); print('grpc' in sys.modules or 'tritonclient.grpc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_missing_tritonclient_is_one_sentence_with_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, model_config_messages().__spec__.name)
    monkeypatch.setitem(sys.modules, "tritonclient", None)

    with pytest.raises(ExtraMissingError, match=r"tritonclient is needed.*repvgg-onnx\[triton\]"):
        model_config_messages()


def test_a_text_that_is_no_configuration_is_refused():
    with pytest.raises(ModelError, match="not a Triton model configuration"):
        parse_config("max_batch: 3")
