"""Pictures made with a trained network: optimised ones, dreams, inversions, textures and styles."""
