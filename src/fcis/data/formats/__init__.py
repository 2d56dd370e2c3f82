"""Formats of annotated images: their readers, and writers of those that have no fixed classes."""
