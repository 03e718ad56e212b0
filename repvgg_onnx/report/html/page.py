"""The page itself: its values put into its template."""

from typing import Any

from repvgg_onnx.extras import import_extra
from repvgg_onnx.report.cases import headline
from repvgg_onnx.report.html.views import parts
from repvgg_onnx.report.run import Run


def html_report(run: Run) -> str:
    """The report as one HTML file; everything that is not ours is escaped.

    Raises:
        ExtraMissingError: jinja2 or matplotlib is missing.
    """
    found = parts(run)
    tones = {part.tone for part in found}
    tone = "bad" if "bad" in tones else "good" if "good" in tones else "plain"
    return str(
        _template().render(headline=headline(run), tone=tone, parts=found, command=run.command, version=run.version)
    )


def _template() -> Any:
    jinja2 = import_extra("jinja2", extra="report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("repvgg_onnx.report.html", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
