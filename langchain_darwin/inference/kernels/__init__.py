"""What makes one decode step fast on one kind of device."""
