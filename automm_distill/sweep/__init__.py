"""Many runs: a grid of settings times seeds, what of it is done before, and the rest side by side by Ray.

``command`` is the command line, ``grid`` says which trials there are, ``checks`` which of them are pending,
``progress`` runs those and shows how far they are, ``ray_runner`` knows Ray, ``processes`` starts a command, and
``warm_worker`` is what runs are forked off. ``search`` runs fewer than all, and stops by ``halving`` those that lag
behind.
"""
