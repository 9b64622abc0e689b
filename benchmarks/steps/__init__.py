"""Single training steps: networks, processes, memory, lowering."""
