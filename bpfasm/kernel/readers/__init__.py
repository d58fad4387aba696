"""Events from programs, and messages to them: ring buffers, perf buffers, user ring buffers."""
