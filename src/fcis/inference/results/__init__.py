"""What is left of an image on disk: lines of JSON, overlays, masks, score maps."""
