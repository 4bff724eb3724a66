"""Runs: a plan of chunks, its store, and how chunks are carried out by threads or machines.

plan        which networks, cut into which chunks, and what makes two runs the same
fields      what a plan in a store may hold
recipe      how to build the sampler: sent to workers, and read back from a store
sums        partial sums by name, and merging them in the order of the draws
ledger      the store: finished chunks in an SQLite file (`file_format`, `lock` below it)
crew        threads, processes or a cluster: tasks in a bounded window
carry_out   all of these together
stored      a store without the call that made it: look, resume, merge
results     from sums to estimates
progress    what is shown meanwhile
"""
