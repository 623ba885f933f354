"""What is done to a bundle: compressed, exported, evaluated, asked; verbs and users call it."""
