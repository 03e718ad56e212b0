from repvgg_onnx.report.markdown import ROWS, markdown_report
from repvgg_onnx.report.run import Verification
from tests.report.values import (
    bisection,
    foldable,
    fused,
    parity,
    refusal,
    region,
    run_of,
    unusable,
    wrong_shape,
)

GOLDEN = """\
## ❌ 2 models: 1 foldable, 1 not usable

| model | regions | nodes | error | speedup | verdict |
|---|--:|--:|--:|--:|---|
| `models/net.onnx` | 3 | 105 -> 44 | - | - | foldable |
| `models/bad.onnx` | - | - | - | - | not usable |

### `models/net.onnx`

**3 regions can be folded**

| count | before | after | first |
|--:|---|---|---|
| 2 | 3x3 Conv + 1x1 Conv + identity | 3x3 Conv | `sum_0/fused` |
| 1 | 3x3 Conv + 1x1 Conv | 3x3 Conv | `sum_2/fused` |

To fold them:

```sh
repvgg-onnx fuse net.onnx --in-place
```

Not folded, and what to do:

| count | refusal | first node | what to do |
|--:|---|---|---|
| 1 | `overflow` | `add_1` | Fuse the float32 model, and convert it afterwards with ranges in mind. |

### `models/bad.onnx`

**no ONNX model**

<details><summary>Reproduce</summary>

```sh
repvgg-onnx check 'my models/*.onnx'
```

</details>

repvgg-onnx 9.8.7
"""


def test_the_summary_of_several_models():
    assert markdown_report(run_of(foldable(refusals=(refusal(0), refusal(1, "overflow"))), unusable())) == GOLDEN


def test_a_model_that_passes_has_its_figures():
    text = markdown_report(run_of(fused()))

    assert text.startswith(
        "## ✅ 3 regions folded, same outputs (error 2.4e-07, own noise 1.9e-07), 1.14x faster (95% CI 1.12-1.16)\n"
    )
    assert "Worst region: `sum_0/fused`, error 3e-07." in text
    assert "No element takes more than 2.0% of its a-priori bound" in text


def test_what_speaks_against_a_latency_stands_below_it():
    assert "\nNoisy: the load is high: wait\n" in markdown_report(run_of(fused(warnings=("the load is high: wait",))))
    assert "Noisy" not in markdown_report(run_of(fused()))


def test_two_models_that_differ():
    text = markdown_report(run_of(subject=Verification("a.onnx", "b.onnx", wrong_shape(), bisection())))

    assert text.startswith("## ❌ Different outputs, worst error inf\n")
    assert "| `y` | inf | 1.9e-07 | 1e-05 | output y: the shape is (1, 2) instead of (1, 3) |" in text
    assert "They begin to differ in `t_1`, computed by `node_1`." in text


def test_two_models_that_agree():
    text = markdown_report(run_of(subject=Verification("a", "b", parity())))

    assert "| output | error | own noise | tolerance | verdict |" in text
    assert "| `y` | 2.4e-07 | 1.9e-07 | 1e-05 | passed by tolerance |" in text


def test_names_are_text_and_nothing_else():
    hostile = "a|b`<script>\n# x"

    text = markdown_report(
        run_of(foldable(regions=(region(name=hostile, branches=("<b>", "@all", "[x](y)")),), refusals=()))
    )

    assert r"`` a\|b`<script>\n# x ``" in text
    assert "\\<b\\> + @\u200ball + \\[x\\](y)" in text


def test_long_tables_are_cut():
    text = markdown_report(run_of(*[unusable()] * (ROWS + 7)))

    assert text.count("| `models/bad.onnx` |") == ROWS
    assert "and 7 more" in text
