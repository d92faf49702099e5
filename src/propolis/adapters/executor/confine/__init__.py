"""The kernel mechanisms that confine a guest, each by raw system calls; the guest calls them on itself."""
