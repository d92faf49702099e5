"""The frozen nouns and the error tree of the house; imports nothing of ours."""
