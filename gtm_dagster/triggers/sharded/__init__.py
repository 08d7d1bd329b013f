"""Rules run by several processes: events by person in the partitions of a topic, one engine a partition.

`PersonResolver` and `Shard` are pure (they need msgspec alone); what reads and writes topics is around them. Belongs here:
the messages between the stages, and the runner over topics. Does not belong here: what a rule
decides (step, admit), in which order (rule_engine).
"""
