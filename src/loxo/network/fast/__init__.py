"""Faster CPU operators for the networks, attached from outside: `inference.apply(model)`, `training.apply(model)`.

`apply` exchanges the class of a module for a subclass with another `forward`. Parameters, their names, `isinstance`,
`copy.deepcopy` and pickling stay as they are. The subclasses use their operators on a CPU only, and the plain `forward`
everywhere else. The results are those of the plain network, to float rounding.
"""
