"""What all four packages may import: settings, staging, digests, columns, answers. No framework."""
