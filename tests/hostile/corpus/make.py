"""Writes the small models that are mutated: ``python -m tests.hostile.corpus.make``, the same bytes every time."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from tests.models import batch_norm, build, repvgg_block

HERE = Path(__file__).parent
SIDE_FILE = "external.bin"

BN4 = batch_norm(4)
STATISTICS = dict.fromkeys(BN4, (4,))


def mobileone() -> onnx.ModelProto:
    """Depthwise branches, a scalar zero as the first term, and a pointwise part."""
    text = """net (float[N,4,9,11] x) => (float[N,6,9,11] y) {
        a = Conv<group=4, pads=[1,1,1,1]>(x, w1)
        b = BatchNormalization(a, gamma1, beta1, mean1, var1)
        zero = Constant<value_float=0.0>()
        c = Add(zero, b)
        d = Conv<group=4>(x, w2, v2)
        e = Add(c, d)
        f = Relu(e)
        g = Conv(f, w3)
        h = BatchNormalization(g, gamma2, beta2, mean2, var2)
        i = Conv(f, w4, v4)
        y = Add(h, i)
    }"""
    first, second = (dict.fromkeys(batch_norm(count, suffix), (count,)) for count, suffix in ((4, "1"), (6, "2")))
    kernels = {"w1": (4, 1, 3, 3), "w2": (4, 1, 1, 1), "v2": (4,), "w3": (6, 4, 1, 1), "w4": (6, 4, 1, 1), "v4": (6,)}
    return build(text, **kernels, **first, **second)


def head() -> onnx.ModelProto:
    """Dense layers: Gemm, BatchNormalization on two axes, MatMul and Add, two heads averaged."""
    text = """net (float[2,4,3,5] x) => (float[2,6] y) {
        p = GlobalAveragePool(x)
        f = Flatten(p)
        g = Gemm<transB=1, alpha=0.5>(f, w1, v1)
        n = BatchNormalization(g, gamma, beta, mean, var)
        m = MatMul(f, w2)
        a = Add(m, v2)
        s = Sum(n, a)
        two = Constant<value_float=2.0>()
        y = Div(s, two)
    }"""
    statistics = dict.fromkeys(batch_norm(6), (6,))
    return build(text, w1=(6, 4), v1=(6,), w2=(4, 6), v2=(6,), **statistics)


def branches() -> onnx.ModelProto:
    """An If whose bodies fold, one of them with a tensor of the graph around."""
    text = """net (bool c, float[1,4,5,7] x) => (float[1,4,5,7] z) {
        k = Relu(x)
        y = If (c) <
            then_branch = yes () => (float[1,4,5,7] t) {
                a = Conv<pads=[1,1,1,1]>(k, w3)
                t = BatchNormalization(a, gamma, beta, mean, var)
            },
            else_branch = no () => (float[1,4,5,7] e) {
                b = Conv(x, w1)
                d = Mul(b, s)
                e = Add(d, b)
            }
        >
        z = Relu(y)
    }"""
    return build(text, w3=(4, 4, 3, 3), w1=(4, 4, 1, 1), s=(4, 1, 1), **STATISTICS)


def functions() -> onnx.ModelProto:
    """Two model-local functions, one calling the other, with an attribute of its own."""
    text = """<ir_version: 10, opset_import: ["" : 17, "local" : 1]>
    net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
        a = local.block(x, w, gamma, beta, mean, var)
        r = Relu(a)
        y = local.normalized(r, gamma, beta, mean, var)
    }
    <opset_import: ["" : 17], domain: "local">
    normalized (x, gamma, beta, mean, var) => (y) { y = BatchNormalization<epsilon=0.001>(x, gamma, beta, mean, var) }
    <opset_import: ["" : 17, "local" : 1], domain: "local">
    block (x, w, gamma, beta, mean, var) => (z) {
        c = Conv<pads=[1,1,1,1]>(x, w)
        n = local.normalized(c, gamma, beta, mean, var)
        z = Add(n, x)
    }"""
    return build(text, w=(4, 4, 3, 3), **STATISTICS)


def old() -> onnx.ModelProto:
    """IR version 3, where every initializer is an input; the kernels are Constant nodes."""
    text = """net (float[1,4,5,7] x, float[4,1,1] s) => (float[1,4,5,7] y) {
        w = Constant<value = float[4,4,1,1] {1,2,3,4, 5,6,7,8, 8,7,6,5, 4,3,2,1}>()
        u = Constant<value = float[4,1,1] {1,-2,3,-4}>()
        a = Conv(x, w)
        b = Mul(a, u)
        c = Sub(b, a)
        y = Mul(c, s)
    }"""
    return build(text, opset=8, ir_version=3, s=(4, 1, 1))


def expressions() -> onnx.ModelProto:
    """Weights that are computed: zero biases by Expand, shapes of shapes, a sum of kernels, a sparse constant."""
    text = """net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
        z = Constant<value_int=0>()
        c = CastLike(z, x)
        n = Shape(w)
        i = Constant<value_ints=[0]>()
        j = Constant<value_ints=[1]>()
        m = Slice(n, i, j)
        bias = Expand(c, m)
        k = Add(w, delta)
        a = Conv<pads=[1,1,1,1]>(x, k, bias)
        b = BatchNormalization(a, gamma, beta, mean, var)
        d = Mul(b, sparse)
        one = Constant<value_ints=[4,1,1]>()
        g = Reshape(flat, one)
        h = Transpose<perm=[0,2,1]>(g)
        f = Div(d, h)
        y = Neg(f)
    }"""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}')
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [3], [1.5, -2.5, 3.5])
    indices = helper.make_tensor("", TensorProto.INT64, [3], [0, 1, 3])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 1, 1]))
    kernels = {"w": (4, 4, 3, 3), "delta": (4, 4, 3, 3), "flat": (4,)}
    made = build("net (float x) => (float y) { y = Neg(x) }", **kernels, **STATISTICS)
    model.graph.initializer.extend(made.graph.initializer)
    onnx.checker.check_model(model)
    return model


def layouts() -> onnx.ModelProto:
    """Transpose, Pad, AveragePool, Concat, Split and Slice, and pads that TensorFlow writes."""
    text = """net (float[1,8,6,4] x) => (float[1,4,6,4] y) {
        t = Transpose<perm=[0,3,1,2]>(x)
        a = Conv<strides=[2,2], pads=[0,0,1,1]>(t, w3)
        b = Conv<strides=[2,2]>(t, w1)
        c = Add(a, b)
        p = Constant<value_ints=[0,0,1,1,0,0,1,1]>()
        d = Pad(c, p)
        e = Conv(d, v3)
        f = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(c)
        g = Conv(f, v1)
        h = Concat<axis=1>(e, g)
        k, l = Split<axis=1>(h)
        m = Add(k, l)
        u = Transpose<perm=[0,2,3,1]>(m)
        r = Resize<mode="nearest">(u, "", scales)
        y = Relu(r)
    }"""
    kernels = {"w3": (4, 4, 3, 3), "w1": (4, 4, 1, 1), "v3": (4, 4, 3, 3), "v1": (4, 4, 1, 1)}
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}')
    model.graph.output[0].type.tensor_type.ClearField("shape")
    made = build("net (float x) => (float y) { y = Neg(x) }", **kernels, scales=np.float32([1, 2, 2, 1]))
    model.graph.initializer.extend(made.graph.initializer)
    return model


def ranks() -> onnx.ModelProto:
    """Convolutions with one and three spatial axes, a transposed one, and half precision."""
    text = """net (float16[1,4,9] x, float16[1,2,3,4,5] v) => (float16[1,2,9] y, float16[1,2,3,4,5] u) {
        a = Conv<auto_pad="SAME_UPPER">(x, w3)
        b = Conv(x, w1)
        c = Add(a, b)
        t = ConvTranspose(c, wt)
        y = Mul(t, s)
        d = Conv<pads=[1,1,1,1,1,1], group=2>(v, k3)
        e = BatchNormalization(v, gamma, beta, mean, var)
        u = Add(d, e)
    }"""
    kernels = {"w3": (4, 4, 3), "w1": (4, 4, 1), "wt": (4, 2, 1), "s": (2, 1), "k3": (2, 1, 3, 3, 3)}
    return build(text, dtype=np.float16, **kernels, **dict.fromkeys(batch_norm(2), (2,)))


def quantized() -> onnx.ModelProto:
    """Quantized weights, a Loop, a Dropout, casts and a second output inside a region."""
    text = """net (float[1,4,5,7] x, int64 trips) => (float[1,4,5,7] y, float[1,4,5,7] b) {
        w = DequantizeLinear(q, scale)
        a = Conv(x, w)
        b = Mul(a, s)
        c, mask = Dropout(b, ratio)
        d = Cast<to=11>(c)
        e = Cast<to=1>(d)
        yes = Constant<value = bool {1}>()
        f = Loop(trips, yes, e) <
            body = step (int64 i, bool go, float[1,4,5,7] h) => (bool on, float[1,4,5,7] o) {
                on = Identity(go)
                k = Conv(h, w1)
                o = Mul(k, s)
            }
        >
        y = Add(f, b)
    }"""
    q = np.random.default_rng(0).integers(-100, 100, (4, 4, 1, 1)).astype(np.int8)
    weights = {"scale": np.array(0.02, np.float32), "s": (4, 1, 1), "w1": (4, 4, 1, 1)}
    return build(text, opset=19, q=q, ratio=np.array(0.5, np.float32), **weights)


def large() -> onnx.ModelProto:
    """A kernel that is large enough to be left in the file, if the limit for that is as low as in the trials."""
    text = """net (float[1,8,5,7] x) => (float[1,16,5,7] y) {
        a = Conv<pads=[1,1,1,1]>(x, w3)
        b = Conv(x, w1)
        y = Add(a, b)
    }"""
    return build(text, w3=(16, 8, 3, 3), w1=(16, 8, 1, 1))


def external() -> tuple[onnx.ModelProto, bytes]:
    """A block whose kernels lie in a side file, and that file."""
    model, content = repvgg_block(12, seed=1), b""
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            data = tensor.raw_data
            set_external_data(tensor, SIDE_FILE, offset=len(content), length=len(data))
            tensor.ClearField("raw_data")
            content += data + bytes(-len(data) % 64)
    return model, content


SINGLE = (mobileone, head, branches, functions, old, expressions, layouts, ranks, quantized, large)


def main() -> None:
    outside, content = external()
    models = {"repvgg": repvgg_block(), "external": outside} | {make.__name__: make() for make in SINGLE}
    for name, model in models.items():
        (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (HERE / SIDE_FILE).write_bytes(content)


if __name__ == "__main__":
    main()
