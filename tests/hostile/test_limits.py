"""Models that are larger than they look, or no models: refused with one line, by the API and by the command line."""

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx import ModelError, fuse, load_model
from repvgg_onnx.graph import limits
from tests.hostile.models import TEXT, assert_refused, little_memory, scaled
from tests.models import build


def declared(dims, data_type=TensorProto.FLOAT, **fields) -> onnx.TensorProto:
    """A tensor that says it has this shape, whatever it holds."""
    return TensorProto(name="t", dims=dims, data_type=data_type, **fields)


def initializer(tensor):
    model = scaled()
    model.graph.initializer.append(tensor)
    return model


def constant(tensor):
    model = scaled()
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    return model


def in_a_body(tensor):
    model = scaled()
    body = helper.make_graph([], "body", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["c"], ["r"], then_branch=body, else_branch=body))
    return model


def in_a_function(tensor):
    model = scaled()
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(helper.make_function("local", "f", [], ["c"], [node], [helper.make_opsetid("", 17)]))
    return model


WRONG = {
    "huge": declared([2**30, 2**10], raw_data=b"1234"),
    "beyond-64-bits": declared([2**62, 2**62], raw_data=b"1234"),
    "negative": declared([-1], raw_data=b"1234"),
    "two-negatives": declared([-1, -1], raw_data=b"1234"),
    "one-byte-short": declared([1], raw_data=b"123"),
    "one-byte-long": declared([1], raw_data=b"12345"),
    "empty": declared([3]),
    "scalar-of-nothing": declared([]),
    "too-few-floats": declared([3], float_data=[1, 2]),
    "too-many-floats": declared([1], float_data=[1, 2]),
    "other-field": declared([2], int64_data=[1, 2]),
    "two-fields": declared([2], float_data=[1, 2], int32_data=[1, 2]),
    "raw-and-field": declared([1], float_data=[1], raw_data=b"1234"),
    "segment": declared([1], raw_data=b"1234", segment=TensorProto.Segment(begin=0, end=1)),
    "no-type": declared([1], TensorProto.UNDEFINED, raw_data=b"1234"),
    "no-such-type": declared([1], 99, raw_data=b"1234"),
    "raw-strings": declared([1], TensorProto.STRING, raw_data=b"1234"),
    "half-of-a-pair": declared([1], TensorProto.COMPLEX64, float_data=[1]),
    "too-many-nibbles": declared([3], TensorProto.INT4, raw_data=b"123"),
}


@pytest.mark.parametrize("place", [initializer, constant, in_a_body, in_a_function])
@pytest.mark.parametrize("tensor", WRONG.values(), ids=WRONG)
def test_a_tensor_that_does_not_hold_what_it_says_is_refused_before_memory_is_taken(place, tensor):
    model = place(tensor)
    with little_memory():
        for source in (model.SerializeToString(), model):
            with pytest.raises(ModelError, match="tensor 't'"):
                fuse(source)


@pytest.mark.parametrize(
    "tensor",
    [
        declared([0, 5]),
        declared([2, 0], raw_data=b""),
        declared([3], TensorProto.INT4, raw_data=b"12"),
        declared([3], TensorProto.INT4, int32_data=[1, 2]),
        declared([2], TensorProto.COMPLEX64, float_data=[1, 2, 3, 4]),
        declared([2], TensorProto.FLOAT16, int32_data=[1, 2]),
        declared([2], TensorProto.STRING, string_data=[b"a", b"b"]),
        declared([1, 1], TensorProto.BOOL, raw_data=b"\1"),
    ],
    ids=["empty", "raw-empty", "nibbles", "nibble-field", "pairs", "halves", "strings", "bool"],
)
def test_what_holds_what_it_says_is_read(tensor):
    assert len(fuse(initializer(tensor)).regions) == 1


def sparse(values, indices, dims, *, index_shape=None) -> onnx.ModelProto:
    """A model that multiplies by a sparse initializer."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {TEXT}')
    model.graph.initializer.extend(scaled().graph.initializer[:1])
    held = numpy_helper.from_array(np.float32(values), "s")
    places = numpy_helper.from_array(np.int64(indices).reshape(index_shape or (-1,)))
    made = onnx.SparseTensorProto(values=held, indices=places, dims=dims)
    model.graph.sparse_initializer.append(made)
    return model


@pytest.mark.parametrize(
    "model",
    [
        sparse([1, 2], [0, 4], [4, 1, 1]),
        sparse([1, 2], [-1, 3], [4, 1, 1]),
        sparse([1, 2], [0, 1, 2], [4, 1, 1]),
        sparse([1, 2], [0, 0, 0, 4, 0, 0], [4, 1, 1], index_shape=(2, 3)),
        sparse([1, 2], [0, 0, 1, 0], [4, 1, 1], index_shape=(2, 2)),
        sparse([1, 2], [0, 1], [-4, 1, 1]),
        sparse([1, 2], [0, 1], [2**40, 2**40, 1]),
        sparse([[1, 2]], [0, 1], [4, 1, 1]),
    ],
    ids=["index", "negative", "count", "index-per-axis", "axes", "size", "product", "rank"],
)
def test_a_sparse_tensor_whose_parts_do_not_fit_is_refused(model):
    with pytest.raises(ModelError, match="sparse tensor 's' has indices that do not fit"):
        load_model(model)


def test_a_sparse_tensor_that_is_huge_when_it_is_written_out_is_left_alone():
    model = sparse([1, 2], [0, 3], [4, 2**20, 2**20])
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with little_memory():
        assert not fuse(model).regions


WEIGHTS = {"w": (4, 4, 1, 1), "s": (1,)}


def chain_of_bodies(depth: int) -> bytes:
    """The file of a model with If nodes in each other, written from the inside out, as deep as one likes."""
    model = build("net (bool c, float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  y = Mul(a, s) }", **WEIGHTS)
    shape = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4, 5, 7])
    plain = helper.make_graph([helper.make_node("Neg", ["x"], ["z"])], "body", [], [shape]).SerializeToString()
    graph = plain
    for level in range(depth):
        branches = b"".join(
            field(5, field(1, name) + field(6, body) + b"\xa0\x01\x05")
            for name, body in ((b"then_branch", graph), (b"else_branch", plain))
        )
        node = field(1, b"c") + field(2, b"z%d" % level) + field(4, b"If") + branches
        value = helper.make_tensor_value_info(f"z{level}", TensorProto.FLOAT, [1, 4, 5, 7]).SerializeToString()
        graph = field(1, node) + field(2, b"body") + field(12, value)
    return model.SerializeToString() + field(7, field(1, node))


def field(number: int, content: bytes) -> bytes:
    """A field of a message, with its length. Source: Protocol Buffers, Encoding."""
    length, written = len(content), b""
    while length > 127:
        written, length = written + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + written + bytes([length]) + content


@pytest.mark.parametrize("depth", [limits.DEEPEST, limits.DEEPEST + 1, 33, 100, 1000])
def test_graphs_inside_graphs_end_in_a_model_or_in_one_line(tmp_path, run, depth):
    path = tmp_path / "model.onnx"
    path.write_bytes(chain_of_bodies(depth))
    if depth <= limits.DEEPEST:
        assert len(fuse(path).regions) == 1
    else:
        assert_refused(
            run("fuse", path), path, "is not an ONNX model" if depth > 30 else "graphs inside graphs", [path]
        )


def calling(*bodies: list[tuple[str, int]], calls: str | None = None) -> onnx.ModelProto:
    """A model with functions ``f0``, ``f1``, …; each body says which functions it calls, and how often."""
    model = scaled()
    model.opset_import.add(domain="local", version=1)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for number, body in enumerate(bodies):
        names = [name for name, count in body for _ in range(count)] or ["Neg"]
        nodes = []
        for index, name in enumerate(names):
            source = "x" if index == 0 else f"t{index}"
            target = "y" if index == len(names) - 1 else f"t{index + 1}"
            nodes.append(helper.make_node(name, [source], [target], domain="" if name == "Neg" else "local"))
        model.functions.append(helper.make_function("local", f"f{number}", ["x"], ["y"], nodes, imports))
    if calls:
        model.graph.node.insert(0, helper.make_node(calls, ["x"], ["called"], domain="local"))
    return model


def test_functions_that_unfold_to_a_billion_nodes_are_refused_at_once():
    doubling = [[], *([(f"f{number}", 2)] for number in range(40))]
    for calls in ("f40", None):
        with pytest.raises(ModelError, match=r"unfold to more than 100,000 nodes"):
            fuse(calling(*doubling, calls=calls))


def test_functions_that_call_functions_have_an_end():
    deep = [[], *([(f"f{number}", 1)] for number in range(limits.LONGEST_CALLS + 1))]
    with pytest.raises(ModelError, match="call each other more than 64 deep"):
        fuse(calling(*deep))
    assert len(fuse(calling(*deep[: limits.LONGEST_CALLS], calls=f"f{limits.LONGEST_CALLS - 1}")).regions) == 1


@pytest.mark.parametrize("bodies", [[[("f0", 1)]], [[("f1", 1)], [("f0", 1)]]], ids=["itself", "each other"])
@pytest.mark.parametrize("calls", ["f0", None])
def test_functions_in_a_circle_are_refused(bodies, calls):
    with pytest.raises(ModelError, match="in a circle"):
        fuse(calling(*bodies, calls=calls))


def test_graphs_inside_functions_count_too():
    model = calling([], [("f0", 1)], calls="f1")
    for function in model.functions:
        value = helper.make_empty_tensor_value_info("z")
        body = helper.make_graph([function.node[0]], "body", [], [value])
        for _ in range(13):
            node = helper.make_node("If", ["x"], ["z"], then_branch=body)
            body = helper.make_graph([node], "body", [], [value])
        function.node.append(node)
    with pytest.raises(ModelError, match="graphs inside graphs more than 24 deep"):
        fuse(model)
    del model.functions[0].node[-1]
    limits.check_limits(model)


def two_functions(model):
    model.functions.extend([helper.make_function("local", "f", ["x"], ["x"], [], [])] * 2)


def reference(model):
    attribute = onnx.AttributeProto(name="pads", type=onnx.AttributeProto.INTS, ref_attr_name="pads")
    model.graph.node[0].attribute.append(attribute)


def two_initializers(model):
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])


def two_initializers_of_two_kinds(model):
    made = helper.make_sparse_tensor(
        numpy_helper.from_array(np.float32([1]), "w"), numpy_helper.from_array(np.int64([0])), [4]
    )
    model.graph.sparse_initializer.append(made)


def two_outputs(model):
    model.graph.node[1].output[0] = "a"


def two_inputs(model):
    model.graph.input.add().CopyFrom(model.graph.input[0])


def output_like_an_initializer(model):
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "s"


def output_like_an_input(model):
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "x"


def circle(model):
    model.graph.node[0].input[0] = "y"


def own_tail(model):
    model.graph.node[0].input[0] = "a"


def undefined_input(model):
    model.graph.node[1].input[1] = "nowhere"


def undefined_output(model):
    model.graph.output[0].name = "nowhere"


def no_opset(model):
    del model.graph.node[:]
    del model.opset_import[:]


def unknown_domain(model):
    model.graph.node[1].domain = "com.example"


def other_attribute_type(model):
    model.graph.node[0].attribute.append(helper.make_attribute("group", 1.0))


def two_attributes(model):
    model.graph.node[0].attribute.extend([helper.make_attribute("group", 1)] * 2)


def missing_inputs(model):
    del model.graph.node[0].input[1:]


def negative_version(model):
    model.ir_version = -16


def functions_before_their_time(model):
    model.ir_version = 7
    model.functions.append(helper.make_function("local", "f", ["x"], ["x"], [], []))


BROKEN = [
    (negative_version, "IR version -16"),
    (functions_before_their_time, "has IR version 7 and functions"),
    (two_functions, "defines a function twice"),
    (reference, "refers to an attribute of a function"),
    (two_initializers, "two initializers called 'w'"),
    (two_initializers_of_two_kinds, "two initializers called 'w'"),
    (two_outputs, "single static assignment"),
    (two_inputs, "single static assignment"),
    (output_like_an_initializer, "single static assignment"),
    (output_like_an_input, "single static assignment"),
    (circle, "topologically sorted"),
    (own_tail, "topologically sorted"),
    (undefined_input, "topologically sorted"),
    (undefined_output, "nowhere"),
    (no_opset, "opset"),
    (unknown_domain, "com.example"),
    (other_attribute_type, "group"),
    (two_attributes, "group"),
    (missing_inputs, "input size 1"),
]


@pytest.mark.parametrize(("damage", "sentence"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_graph_that_is_no_graph_is_refused_in_one_line(tmp_path, run, damage, sentence):
    model = scaled()
    damage(model)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    untouched = copy.deepcopy(model)

    with pytest.raises(ModelError) as caught:
        fuse(model)

    assert sentence in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert model == untouched
    assert_refused(run("fuse", path), path, sentence, [path])


@pytest.mark.parametrize("old", [b"\n\x01a", b"\x12\x01a", b'"\x04Conv'], ids=["input", "output", "operator"])
def test_names_that_are_no_text_are_refused(old):
    data = scaled().SerializeToString()
    assert old in data
    with pytest.raises(ModelError, match="not UTF-8"):
        fuse(data.replace(old, old[:-1] + b"\xff"))


TYPES = [np.float64, np.float16, np.int32, np.bool_]


@pytest.mark.parametrize("name", ["w", "s"])
@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
def test_weights_of_another_type_than_the_input_are_never_folded(tmp_path, run, name, dtype):
    model = scaled()
    index = [tensor.name for tensor in model.graph.initializer].index(name)
    values = numpy_helper.to_array(model.graph.initializer[index]).astype(dtype)
    model.graph.initializer[index].CopyFrom(numpy_helper.from_array(values, name))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())

    fusion = fuse(model)

    assert fusion.model is model
    assert [refusal.code for refusal in fusion.refusals] in (["type"], ["type"] * 2)
    ran = run("fuse", path, "--no-verify", "--no-bench")
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "model.fused.onnx").read_bytes() == path.read_bytes()


def test_other_types_where_the_operator_allows_them_fold():
    model = scaled(
        "net (float16[1,4,5,7] x) => (float16[1,4,5,7] y) { a = Conv(x, w)  y = BatchNormalization(a, g, b, m, v) }",
        w=np.ones((4, 4, 1, 1), np.float16),
        g=np.float32([1, 2, 3, 4]),
        b=np.zeros(4, np.float32),
        m=(4,),
        v=np.ones(4, np.float32),
    )
    assert len(fuse(model).regions) == 1
