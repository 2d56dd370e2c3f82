"""The systems that the paper compares FCIS with, of the same stages (Paper: 4.1)."""
