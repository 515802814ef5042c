#!/usr/bin/env python3
"""Every include goes down the house (README.md): the table below says which folder may include which, and which
headers of a folder the others may see. The second one is the same for the rooms of daemon/."""
import pathlib
import re
import sys

MAY_INCLUDE = {
    "kernels": set(),
    "engine": {"kernels"},
    "sandbox": set(),
    "tools": {"sandbox"},
    "mcp": {"tools", "sandbox"},
    "daemon": {"engine", "tools", "mcp", "sandbox"},
}
PUBLIC = {
    "engine": {"engine.h", "between_layers.h", "tokenizer.h", "grammar.h", "chat.h", "exact_json.h", "inspect.h", "verify.h", "bench.h", "json_schema.h", "schema_references.h", "shrinker.h", "placement.h", "gpus.h"},
    "sandbox": {"sandbox.h", "beneath.h", "connect_any.h", "fd.h", "control_paths.h", "open_files.h", "secret_names.h", "sensitive_paths.h", "tree.h", "search_path.h", "user_home.h"},
    "tools": {"tool.h", "builtin.h", "atomic_file.h", "base64.h", "characters.h", "clip.h", "fd.h", "file_patch.h", "lenient_json.h", "text.h", "off_thread.h", "edit/editor_texts.h", "git/change_rates.h", "git/form.h", "git/worktree.h", "outline/syntax_check.h", "outline/text.h", "shell/commands.h", "shell/destructive_run.h", "shell/jobs.h", "snapshots/progress.h", "snapshots/snapshots.h", "snapshots/stop.h", "testing/run.h", "workspace/own_files.h", "workspace/rooted_fs.h", "workspace/rules.h", "workspace/scanner.h", "workspace/secrets.h", "workspace/source_file.h", "workspace/watcher.h", "workspace/workspace.h"},
    "mcp": {"mcp.h", "config.h", "declining.h", "server.h", "http_exchange.h", "sse.h", "server/batch.h", "server/rpc.h"},
}
# Files of daemon/ itself are words that any room may use, and use the protocol at the most; TOP wires everything, and is wired by nobody. The
# daemon knows no client; of its rooms the clients know a few headers, for what they do without a daemon.
ROOMS = {
    "protocol": set(),
    "shown": {"protocol"},
    "http": set(),
    "store": set(),
    "remote": set(),
    "hooks": {"protocol"},
    "skills": {"shown"},
    "permissions": {"protocol"},
    "residency": {"store"},
    "turn": {"protocol", "residency"},
    "resident": {"protocol", "residency", "turn"},
    "session": {"protocol", "store", "turn", "resident", "hooks", "permissions", "skills"},
    "completions": {"turn"},
    "dialects": {"http", "completions"},
    "mcp": {"protocol", "shown", "http", "session"},
    "server": {"protocol", "http", "mcp", "permissions", "session", "turn"},
    "client": {"protocol", "shown"},
    "bridges": {"protocol", "shown", "client", "skills", "residency/line_diff.h"},
    "cli": {"protocol", "shown", "client", "bridges", "skills", "hooks/hook_config.h", "turn/answer_schema.h", "turn/generation_config.h", "turn/prompt.h"},
}
TOP = {"main.cc", "daemon.cc", "daemon.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([a-z]+)/([^"]+)"', re.M)


def violations(root):
    for folder in MAY_INCLUDE:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".h", ".cc", ".cu", ".cuh"):
                continue
            for other, header in INCLUDE.findall(path.read_text(encoding="utf-8")):
                if other == folder == "daemon":
                    yield from between_rooms(path.relative_to(root), header)
                if other == folder or other not in MAY_INCLUDE:
                    continue
                if other not in MAY_INCLUDE[folder]:
                    yield f"{path.relative_to(root)}: {folder} may not include {other}/{header}"
                elif other in PUBLIC and header not in PUBLIC[other]:
                    yield f"{path.relative_to(root)}: {other}/{header} is private to {other}"


def between_rooms(path, header):
    room = path.parts[1] if len(path.parts) > 2 else ""
    other = header.split("/")[0] if "/" in header else ""
    if other == room and header not in TOP or not room and path.name in TOP:
        return
    known = ROOMS.get(room, set()) if room else {"protocol"}
    if header in TOP or room and room not in ROOMS or other and not known & {other, header}:
        yield f"{path}: {room or 'a file of daemon/ itself'} may not include daemon/{header}"


def main():
    root = pathlib.Path(sys.argv[1])
    seen = sum(1 for folder in MAY_INCLUDE for _ in (root / folder).rglob("*.h"))
    if seen == 0:
        sys.exit(f"layering: no headers below {root}; wrong directory?")
    found = list(violations(root))
    print("\n".join(found) if found else f"layering: {seen} headers in order")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
