"""The formats of reports, each made when it is asked for, so that none needs the packages of another."""

from repvgg_onnx.report.run import Run


def render(kind: str, run: Run) -> str:
    """The report of a run.

    Args:
        kind: ``json``, ``junit``, ``md``, ``html``, ``sarif`` or ``github``.
        run: what to report.

    Raises:
        ExtraMissingError: what the report is made with is not installed.
    """
    match kind:
        case "json":
            return run.document
        case "junit":
            from repvgg_onnx.report.junit import junit_report

            return junit_report(run)
        case "md":
            from repvgg_onnx.report.markdown import markdown_report

            return markdown_report(run)
        case "html":
            from repvgg_onnx.report.html import html_report

            return html_report(run)
        case "sarif":
            from repvgg_onnx.report.sarif import sarif_report

            return sarif_report(run)
        case "github":
            from repvgg_onnx.report.github import annotations

            return annotations(run)
    raise ValueError(kind)
