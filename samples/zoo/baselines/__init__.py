"""What the RepVGG paper compares with: plain definitions of other architectures, and its networks for segmentation.

A module holds torch classes and factories; the registry imports it only when one of its networks is built.
"""
