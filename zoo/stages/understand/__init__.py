"""Understanding classifiers, and pictures made with networks: what verbs and Python users call."""
