"""Python objects of users: what they hold, and the identity of their values and code.

- `graph`: the objects that an object holds: attributes, members of containers, closures.
- `network_state`: what torch's registry does not know of a network; `network_copy`: a copy with all of it.
- `identity`: a hash of an object's values and code that is the same in every process.
- `sources`: the source files that a user's module consists of.

Open `graph` first.
"""
