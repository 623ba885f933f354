"""How numbers travel: JSON, protocol buffers, bytes; and what each protocol calls their types."""
