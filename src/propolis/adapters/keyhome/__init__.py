"""Key homes: where identity keys live."""
