"""Reading at scale, measured on one machine: throughput of one worker and two, nodes that die, memory, and a model of
what more lines on more cores would take. `python -m bench scale` writes scale.json and scale.md."""
