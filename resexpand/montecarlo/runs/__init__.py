"""Runs: a plan of chunks, its store, and how chunks are carried out by threads or machines.

plan         which networks, cut into which chunks, and what makes two runs the same
fields       what a plan in a store may hold
settings     the description of a sampler as the settings of a plan, and back
sums         partial sums by name, and merging them in the order of the draws
chunk_store  finished chunks in an SQLite file (`file_format`, `lock` below it)
task         what a worker does
worker_pool  threads, processes or a cluster: tasks in a bounded window
execute      all of these together
stored       a store without the call that made it: look, resume, merge
results      from sums to estimates
progress     what is shown meanwhile
"""
