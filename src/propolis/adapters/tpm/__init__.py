"""TPMs: the lines to them (device, socket, Windows, recorded) and the client that speaks over any line."""
