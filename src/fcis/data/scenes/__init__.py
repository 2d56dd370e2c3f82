"""Drawn images with exact masks: shapes that overlap, and nuclei."""
