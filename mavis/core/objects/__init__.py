"""Python objects of users: what they hold, and the identity of their values and code.

- `graph`: the objects that an object holds: attributes, members of containers, closures.
- `identity`: a hash of an object's values and code that is the same in every process.
- `sources`: the source files that a user's module consists of.

Open `graph` first.
"""
