"""Puts mutants of cargo-mutants' list into the source, each behind a switch that is read at run time.

One build then holds them all: the environment variable BINPULSE_MUTANT names the one that is in force.
`switched()` returns the changed text of a file, with comments around each mutant, by which `blamed()` finds
the ones that an error of the compiler is about.
"""

import re

import tree_sitter
import tree_sitter_rust

MODULE = "mutant_switch"
PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
# Which mutant is in force; and, where BINPULSE_MUTANTS_REACHED names a file, which ones each thread meets.
# A test's thread has the test's name.
SOURCE = """//! Which mutant is in force.
#![allow(warnings, clippy::all, clippy::pedantic)]
use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::sync::{LazyLock, Mutex};

static CHOSEN: LazyLock<usize> =
    LazyLock::new(|| std::env::var("BINPULSE_MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(0));
static REACHED: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let path = std::env::var_os("BINPULSE_MUTANTS_REACHED")?;
    Some(Mutex::new(File::options().create(true).append(true).open(path).unwrap()))
});
thread_local! { static KNOWN: RefCell<Vec<bool>> = RefCell::new(Vec::new()); }

#[inline(never)]
pub(crate) fn on(id: usize) -> bool {
    if let Some(file) = &*REACHED {
        reached(id, file);
    }
    *CHOSEN == id
}

fn reached(id: usize, file: &Mutex<File>) {
    let known = KNOWN.try_with(|known| {
        let mut known = known.borrow_mut();
        if known.len() <= id {
            known.resize(id + 1, false);
        }
        std::mem::replace(&mut known[id], true)
    });
    if known != Ok(true) {
        let line = format!("{id}\\t{}\\n", std::thread::current().name().unwrap_or("?"));
        file.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).write_all(line.as_bytes()).unwrap();
    }
}
"""
# What is computed when the program is compiled cannot look at a switch.
CONSTANT = {"const_item", "static_item", "const_block", "array_type", "enum_variant", "const_parameter"}


class File:
    """One source file, and the places of it that change."""

    def __init__(self, text):
        self.text = text.encode()
        lines = self.text.split(b"\n")
        self.starts = [0]
        for line in lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.lines = lines
        self.tree = PARSER.parse(self.text)
        self.edits = {}  # (start, end, kind) -> [(id, mutant)]
        self.nodes = {}

    def offset(self, place):
        """The byte of a line and column; columns count characters, from 1."""
        line = self.lines[place["line"] - 1].decode()
        return self.starts[place["line"] - 1] + len(line[: place["column"] - 1].encode())

    def add(self, number, mutant):
        """Puts a mutant behind a switch; why not, if it can't be."""
        start, end = self.offset(mutant["span"]["start"]), self.offset(mutant["span"]["end"])
        token = self.tree.root_node.descendant_for_byte_range(start, start + 1)
        if "let_chain" in (token.type, token.parent and token.parent.type):
            return "does not compile"  # It has no `||`.
        found = self.place(start, end, mutant["genre"])
        # A function that returns `impl ...` returns one type.
        if not found or constant(found[1]) or (
            mutant["genre"] == "FnValue" and "impl " in mutant["function"]["return_type"]
        ):
            return "not behind a switch"
        kind, node = found
        first, last = region(kind, node)
        self.edits.setdefault((first, last, kind), []).append((number, mutant))
        self.nodes[(first, last, kind)] = node
        return None

    def place(self, start, end, genre):
        """The kind of change, and the node that it replaces."""
        node = self.tree.root_node.named_descendant_for_byte_range(start, max(start, end - 1))
        wanted = {
            "FnValue": ("body", {"block"}),
            "BinaryOperator": ("operator", {"binary_expression", "compound_assignment_expr"}),
            "UnaryOperator": ("sign", {"unary_expression"}),
            "MatchArm": ("arm", {"match_arm"}),
            "MatchArmGuard": ("guard", {"match_pattern"}),
            "StructField": ("field", {"field_initializer", "shorthand_field_initializer"}),
        }.get(genre)
        if wanted is None:
            return None
        kind, types = wanted
        while node:
            if node.type == "token_tree":
                return None
            if node.type in types and self.fits(kind, node, start):
                return kind, node
            node = node.parent
        return None

    def fits(self, kind, node, start):
        if kind == "body":
            return node.parent.type in ("function_item", "closure_expression") and node.start_byte <= start
        if kind == "operator":
            return any(child.start_byte == start and not child.is_named for child in node.children)
        if kind == "guard":
            return node.child_by_field_name("condition") is not None
        return node.start_byte <= start

    def switched(self):
        return self.render(0, len(self.text), sorted(self.edits, key=lambda at: (at[0], -at[1])))

    def render(self, start, end, edits):
        """The text of a range with its changes; an outer change contains the inner ones."""
        out, at = [], start
        while edits:
            first, last, kind = edits[0]
            inner = [edit for edit in edits[1:] if edit[0] >= first and edit[1] <= last and edit[0] < last]
            out.append(self.text[at:first].decode())
            out.append(self.change((first, last, kind), inner))
            at = last
            taken = {id(edit) for edit in inner}
            edits = [edit for edit in edits[1:] if id(edit) not in taken]
        out.append(self.text[at:end].decode())
        return "".join(out)

    def change(self, edit, inner):
        node, mutants = self.nodes[edit], self.edits[edit]
        first, last, kind = edit
        original = self.render(first, last, inner)
        if kind == "body":
            return "".join(marked(i, f"if {on(i)} {{ return {m['replacement']}; }} ") for i, m in mutants)
        if kind == "arm":
            number = mutants[0][0]
            guarded = f" && ({original})" if original else ""
            return marked(number, f"{'' if original else ' if '}!{on(number)}{guarded} ")
        branches = "".join(
            f"if {on(i)} {{ {marked(i, self.mutated(kind, node, m))} }} else " for i, m in mutants
        )
        if kind == "field":
            value = node.child_by_field_name("value")
            name = self.text[slice(*name_of(node))].decode()
            kept = self.render(value.start_byte, value.end_byte, inner) if value else original
            return wrapped(mutants, f"{name}: {branches} {{ {kept} }}")
        return wrapped(mutants, f"({branches}{{ ({original}) }})")

    def mutated(self, kind, node, mutant):
        def text(of):
            return self.text[of.start_byte : of.end_byte].decode()

        if kind == "operator":
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if node.type == "compound_assignment_expr":
                return f"{text(left)} {mutant['replacement']} {text(right)}"
            return f"(({text(left)}) {mutant['replacement']} ({text(right)}))"
        if kind == "sign":
            return f"({text(node.named_children[-1])})"
        if kind == "guard":
            return mutant["replacement"]
        literal = node.parent.parent
        base = next(child for child in node.parent.children if child.type == "base_field_initializer")
        name = self.text[slice(*name_of(node))].decode()
        kind_of = text(literal.child_by_field_name("name"))
        return f"let base: {kind_of} = {text(base.named_children[-1])}; base.{name}"


def region(kind, node):
    """The bytes that a change replaces; none where it only inserts."""
    if kind == "body":
        return node.start_byte + 1, node.start_byte + 1
    if kind == "arm":
        node = node.child_by_field_name("pattern")
        if not node.child_by_field_name("condition"):
            return node.end_byte, node.end_byte
    if kind in ("arm", "guard"):
        node = node.child_by_field_name("condition")
    return node.start_byte, node.end_byte


def name_of(field):
    name = field.child_by_field_name("field") or field.named_children[0]
    return name.start_byte, name.end_byte


def constant(node):
    while node:
        if node.type in CONSTANT:
            return True
        if node.type == "function_item":
            modifiers = [child for child in node.children if child.type == "function_modifiers"]
            return any("const" in child.text.decode().split() for child in modifiers)
        node = node.parent
    return False


def on(number):
    return f"crate::{MODULE}::on({number})"


def marked(number, text):
    return f"/*<m{number}>*/{text}/*</m{number}>*/"


def wrapped(mutants, text):
    ids = ".".join(str(number) for number, _ in mutants)
    return f"/*<w{ids}>*/{text}/*</w{ids}>*/"


def deleted_arms(text, start):
    """The mutants that delete an arm of the match at a byte of a changed file."""
    node = PARSER.parse(text.encode()).root_node.named_descendant_for_byte_range(start, start)
    while node and node.type != "match_expression":
        node = node.parent
    found = []
    for arm in node.child_by_field_name("body").named_children if node else []:
        if arm.type == "match_arm":
            pattern = arm.child_by_field_name("pattern").text.decode()
            found += re.findall(r"/\*<m([0-9]+)>\*/[ if]*!crate", pattern)
    return [int(number) for number in found]


def replaced_bodies(text, start):
    """The mutants that replace the body of the function around a byte of a changed file."""
    node = PARSER.parse(text.encode()).root_node.named_descendant_for_byte_range(start, start)
    while node and node.type != "function_item":
        node = node.parent
    body = node and node.child_by_field_name("body").text.decode()
    begin = body and re.match(r"\{(/\*<m[0-9]+>\*/if .*?/\*</m[0-9]+>\*/)+", body)
    return [int(number) for number in re.findall(r"<m([0-9]+)>", begin[0])] if begin else []


def blamed(text, start, end):
    """The mutants around a range of a changed file: those that do not compile, or that a switch breaks."""
    open_marks = []
    for mark in re.finditer(r"/\*<(/?)([mw])([0-9.]+)>\*/", text):
        if mark.start() >= end:
            break
        if not mark[1]:
            open_marks.append((mark[2], mark[3]))
        elif mark.end() <= start:
            open_marks.pop()
    for kind, ids in reversed(open_marks):
        numbers = [int(number) for number in ids.split(".")]
        return ("does not compile" if kind == "m" else "not behind a switch"), numbers
    return None, []
