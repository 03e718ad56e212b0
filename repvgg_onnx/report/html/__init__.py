"""A run as one HTML file that needs nothing else: no network, no font, no script but its own."""

from repvgg_onnx.report.html.page import html_report

__all__ = ["html_report"]
