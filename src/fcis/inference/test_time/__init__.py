"""Test-time tools: several scales, the mirror image, several networks (Paper: 4.3, table 4)."""
