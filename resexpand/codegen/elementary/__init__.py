"""Elementary functions of double precision as plain Python, written for vector units.

No function branches, reads a table, raises or calls a library: every case is computed and one is
selected, so that a loop over an inlined function is compiled to packed instructions, and the same
text serves any target. `resexpand.codegen.functions` states domain and measured error of each;
`resexpand.codegen.targets` compiles them.
"""
