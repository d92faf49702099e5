"""The machines: events in, actions out, time handed in. Each family stands alone."""
