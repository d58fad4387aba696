"""The instruction set: operand kinds, the codec, and the one table that everything else is driven by.

- :mod:`bpfasm.isa.operands`: what may stand in a slot (``Reg``, ``Size``, ``AluOp``, ``JmpOp`` ...)
- :mod:`bpfasm.isa.insn`: ``Insn``, and bytes to ``Insn`` and back
- :mod:`bpfasm.isa.form`: what a row of the table holds
- :mod:`bpfasm.isa.table`: ``FORMS``, a row for each concrete form of instruction
- :mod:`bpfasm.isa.match`: which form an ``Insn`` is, or why it is none
- :mod:`bpfasm.isa.meaning`: the words that a row's meaning is written in
"""
