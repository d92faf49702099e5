"""The same parties under virtual time, with links that lose and delay, kills, restarts, and a trace whose hash repeats."""
