"""Models for servers: Triton's model repository, and what TensorRT asks of a model."""
