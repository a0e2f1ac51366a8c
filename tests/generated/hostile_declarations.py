"""Hostile declarations and answers of data sets beside table and images, each with what MAVIS must make of it."""

from typing import Any

import numpy as np
import torch

from .hostile_tables import Change, Unshown, answer, either, fail, failing_property, member, refused, same


def attributes(**groups: Any) -> Change:
    """Other attributes."""
    return member("attributes", groups)


MEMBERS = {
    "mean in 0 to 255": refused(member("mean", [124.0, 116.0, 104.0])),
    "mean negative": refused(member("mean", [-0.5, 0.5, 0.5])),
    "mean NaN": refused(member("mean", [float("nan")] * 3)),
    "mean of four": refused(member("mean", [0.5] * 4)),
    "mean as a column": refused(member("mean", torch.full((3, 1, 1), 0.5))),
    "mean as a number": refused(member("mean", 0.5)),
    "mean as a text": refused(member("mean", "grey")),
    "mean complex": refused(member("mean", torch.full((3,), 0.5 + 1j))),
    "mean None": refused(member("mean", None)),
    "mean fails": refused(failing_property("mean")),
    "mean as a list": same(member("mean", [0.5, 0.5, 0.5])),
    "mean as an array": same(member("mean", np.full(3, 0.5))),
    "mean with a gradient": same(member("mean", torch.full((3,), 0.5, requires_grad=True))),
    "attributes as a list": refused(member("attributes", ["side"])),
    "attributes None": refused(member("attributes", None)),
    "attributes fail": refused(failing_property("attributes")),
    "attribute with a star": refused(member("attributes", {"side": ("a", "b"), "a*b": ("x",)})),
    "attribute without a name": refused(member("attributes", {"side": ("a", "b"), " ": ("x",)})),
    "attribute as a number": refused(member("attributes", {"side": ("a", "b"), 1: ("x",)})),
    "attribute without a column": refused(attributes(side=("a", "b"), hat=("x",))),
    "groups as a text": refused(attributes(side="ab")),
    "groups None": refused(attributes(side=None)),
    "groups as a number": refused(attributes(side=2)),
    "groups unprintable": refused(attributes(side=(Unshown(),))),
    "groups as a list": same(attributes(side=["a", "b"])),
    "groups repeated": either(attributes(side=("a", "b", "a"))),
    "one group declared": either(attributes(side=("a",))),
    "no attributes": either(member("attributes", {})),
    "classes as a text": refused(member("classes", "ab")),
    "classes as numbers": refused(member("classes", (0, 1))),
    "classes None": refused(member("classes", None)),
    "classes repeated": refused(member("classes", ("dark", "dark"))),
    "class blank": refused(member("classes", ("dark", " "))),
    "class as half a letter": refused(member("classes", ("dark", "\udc80"))),
    "no class": refused(member("classes", ())),
    "one class": refused(member("classes", ("dark",))),
    "classes fail": refused(failing_property("classes")),
    "classes as a list": same(member("classes", ["dark", "bright"])),
    "a class more": either(member("classes", ("dark", "bright", "dim"))),
    "classes in lines": either(member("classes", ("dark\n", "bright\n"))),
    "name in lines": either(member("name", "a\nb")),
    "name empty": either(member("name", "")),
    "name None": either(member("name", None)),
    "name unprintable": refused(member("name", Unshown())),
    "name fails": refused(failing_property("name")),
    "provenance fails": refused(failing_property("provenance")),
    "notes None": either(member("notes", None)),
    "notes as a number": either(member("notes", 3)),
    "notes fail": refused(failing_property("notes")),
    "unreadable None": refused(answer("unreadable", lambda ids: None)),
    "unreadable as a list": refused(answer("unreadable", lambda ids: [])),
    "unreadable fails": refused(member("unreadable", fail(ZeroDivisionError()))),
    "unreadable others": same(answer("unreadable", lambda ids: {"of another data set": "cut", 3: None})),
    "revision as a number": refused(answer("revision", lambda ids: 1)),
    "revision empty": refused(answer("revision", lambda ids: "")),
    "revision half a letter": refused(answer("revision", lambda ids: "\udc80")),
    "revision fails": refused(member("revision", fail(NotImplementedError()))),
    "hashes all equal": refused(answer("content_hashes", lambda ids: ["same"] * len(ids))),
    "hashes too few": refused(answer("content_hashes", lambda ids: ["a"])),
    "hashes None": refused(answer("content_hashes", lambda ids: None)),
    "cues too few": refused(answer("cues", lambda ids: [0])),
    "cues as texts": refused(answer("cues", lambda ids: ["a"] * len(ids))),
    "cues None": same(answer("cues", lambda ids: None)),
    "cues a number": refused(answer("cues", lambda ids: 1)),
    "method is no method": refused(member("revision", "abc")),
}
