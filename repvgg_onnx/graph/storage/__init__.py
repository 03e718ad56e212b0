"""Bytes and files: where tensors lie, how they are mapped, streamed, and put in their place whole or not at all."""
