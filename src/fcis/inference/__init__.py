"""A network at work: any image in, instances out; tiles, several scales, files of results."""
