"""Datasets: readers, the scene generator, augmentation, loading."""
