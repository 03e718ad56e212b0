"""Does this installation work? Every part is tried in a process of its own, so that none can take the others down.

Nothing here imports numpy, onnx, onnxruntime or torch: ``trials`` does, in those processes.
"""

from repvgg_onnx.workflows.doctor.examination import PARTS, Diagnosis, Finding, Part, State, examine

__all__ = ["PARTS", "Diagnosis", "Finding", "Part", "State", "examine"]
