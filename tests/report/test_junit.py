import junitparser

from repvgg_onnx.report.junit import junit_report
from tests.report.values import foldable, fused, not_begun, region, run_of, unusable


def read(*outcomes):
    return junitparser.JUnitXml.fromstring(junit_report(run_of(*outcomes)).encode())


def test_a_suite_for_each_model_and_a_case_for_each_check():
    document = read(fused(), unusable(), not_begun())

    assert [(suite.name, len(list(suite))) for suite in document] == [
        ("models/net.onnx", 4),
        ("models/bad.onnx", 1),
        ("models/last.onnx", 1),
    ]
    assert (document.tests, document.failures, document.errors, document.skipped) == (6, 0, 1, 1)


def test_a_failure_has_its_sentence_and_every_node():
    (suite,) = read(foldable())
    (case,) = suite
    (failure,) = case.result

    assert isinstance(failure, junitparser.Failure)
    assert failure.message.startswith("3 regions to fold: sum_0/fused")
    assert failure.type == "foldable-region"
    assert failure.text.splitlines()[1:] == ["sum_0/fused", "sum_1/fused", "sum_2/fused"]


def test_an_unusable_model_is_an_error_and_one_not_begun_is_skipped():
    cases = [case for suite in read(unusable(), not_begun()) for case in suite]

    assert [type(case.result[0]) for case in cases] == [junitparser.Error, junitparser.Skipped]
    assert cases[0].result[0].message == "no ONNX model"


def test_names_that_xml_has_no_word_for_are_written_out():
    hostile = 'a\x00b</testcase><script>&"'

    ((case,),) = read(foldable(regions=(region(name=hostile),)))

    assert case.result[0].text.splitlines()[1] == 'a\\x00b</testcase><script>&"'
