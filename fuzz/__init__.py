"""Mutations of every parser's food: whatever a stranger sends is taken or refused by a typed error, nothing else escapes.

`python -m fuzz` (make fuzz) prints a table and writes build/fuzz.json; FUZZ_N mutations per parser, FUZZ_SEED for other dice.
The n-th mutation of a parser is a function of seed, name and n: what fails is saved and can be made again alone.
"""
