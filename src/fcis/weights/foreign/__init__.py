"""Weights of the release, of ChainerCV and of ImageNet classifiers, without their programs."""
