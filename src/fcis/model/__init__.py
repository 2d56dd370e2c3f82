"""The network, one stage a file."""
