"""The craft of training: is the net sound, which rate suits it, which settings are best?"""
