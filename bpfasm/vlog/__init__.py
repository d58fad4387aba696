"""The verifier's log, read: text in, values out. Any kernel from 5.10 on; no kernel needed."""
