"""Pictures learnt pixel by pixel."""
