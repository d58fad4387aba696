"""Links to what is traced: kprobes, uprobes, marks, tracepoints, samples, fentry and its kin, iterators."""
