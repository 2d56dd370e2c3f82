"""What users may type after `fcis`."""
