"""Other people's coding agents as they are set up for Lares: what each reads, its command line and its environment."""
import os
import sys
from dataclasses import dataclass
from typing import Callable

import door
import opencode as opencode_turn
from opencode import QUIET, Server

MODEL, SMALL = "deepseek-v4-pro", "deepseek-v4-flash"
CONTEXT, OUTPUT = 1000000, 32000


@dataclass(frozen=True)
class Agent:
    """`start(write, url, token, prompt)` gives its command line and environment; write(path, content) puts a file below its home."""
    package: str
    start: Callable
    again: Callable = None  # in place of start, where many turns are run: the same, with less of it for each


def program(name):
    return os.path.join(door.NPM, "node_modules", ".bin", name)


def claude(base, token, prompt, **env):
    argv = [program("claude"), "-p", prompt, "--output-format", "json", "--permission-mode", "acceptEdits", "--allowedTools", "Write",
            "--max-turns", "4"]
    return argv, {"ANTHROPIC_BASE_URL": base, "ANTHROPIC_AUTH_TOKEN": token, "ANTHROPIC_MODEL": MODEL,
                  "ANTHROPIC_DEFAULT_OPUS_MODEL": MODEL, "ANTHROPIC_DEFAULT_SONNET_MODEL": MODEL,
                  "ANTHROPIC_DEFAULT_HAIKU_MODEL": SMALL, "CLAUDE_CODE_SUBAGENT_MODEL": SMALL,
                  "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1",
                  "DISABLE_ERROR_REPORTING": "1"} | env


def codex(write, url, token, prompt):
    config = write("codex/config.toml", f"""
model = "{MODEL}"
model_provider = "local"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
plugins = false
apps = false
[model_providers.local]
name = "local"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "LOCAL_API_KEY"
request_max_retries = 1
stream_max_retries = 1
""")
    argv = [program("codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", prompt]
    return argv, {"CODEX_HOME": os.path.dirname(config), "LOCAL_API_KEY": token}


def opencode(npm, base, **more):
    def start(write, url, token, prompt):
        model = {"reasoning": True, "tool_call": True, "limit": {"context": CONTEXT, "output": OUTPUT}}
        write("work/opencode.json", {
            "autoupdate": False, "share": "disabled", "model": f"local/{MODEL}", "small_model": f"local/{SMALL}",
            "enabled_providers": ["local"],
            "provider": {"local": {"npm": npm, "name": "local", "options": {"baseURL": url + base, "apiKey": token},
                                   "models": {MODEL: model | {"name": "pro"}, SMALL: model | {"name": "flash"}}}},
            "permission": {"edit": "allow", "bash": "allow"}} | more)
        return [program("opencode"), "run", "--format", "json", prompt], QUIET
    return start


def opencode_in_a_server(npm, base):
    configure = opencode(npm, base, snapshot=False, lsp=False, formatter=False)

    def start(write, url, token, prompt):
        configure(write, url, token, prompt)
        server = Server.url(program("opencode"), door.bare)
        return [sys.executable, opencode_turn.__file__, server, os.path.dirname(write("work/README", "")), prompt], {}
    return start


def pi(write, prompt, providers, *args, **env):
    settings = write("pi/models.json", {"providers": providers})
    return [program("pi"), "-p", *args, "--mode", "json", "--no-session", prompt], {
        "PI_CODING_AGENT_DIR": os.path.dirname(settings), "PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1", "PI_TELEMETRY": "0"} | env


def pi_local(api, base):
    def start(write, url, token, prompt):
        model = {"id": MODEL, "reasoning": True, "input": ["text"], "contextWindow": CONTEXT, "maxTokens": OUTPUT,
                 "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}
        providers = {"local": {"baseUrl": url + base, "api": api, "apiKey": token, "models": [model]}}
        return pi(write, prompt, providers, "--provider", "local", "--model", MODEL)
    return start


def qwen(write, url, token, prompt):
    write(".qwen/settings.json", {"security": {"auth": {"selectedType": "openai"}}, "privacy": {"usageStatisticsEnabled": False},
                                  "general": {"enableAutoUpdate": False}})
    return [program("qwen"), "--yolo", prompt], {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": token, "OPENAI_MODEL": MODEL}


def cline(write, url, token, prompt):
    settings = {"provider": "openai-compatible", "apiKey": token, "model": MODEL, "baseUrl": f"{url}/v1"}
    write(".cline/data/settings/providers.json", {
        "version": 1, "lastUsedProvider": "openai-compatible", "modes": {},
        "providers": {"openai-compatible": {"settings": settings, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}}})
    return [program("cline"), "--json", "--auto-approve", "true", prompt], {}


def kimi(write, url, token, prompt):
    config = write("kimi/config.toml", f"""
default_model = "pro"
telemetry = false
[providers.local]
type = "openai"
base_url = "{url}/v1"
api_key = "{token}"
[models.pro]
provider = "local"
model = "{MODEL}"
max_context_size = {CONTEXT}
""")
    return [program("kimi"), "-p", prompt], {"KIMI_CODE_HOME": os.path.dirname(config), "KIMI_CODE_NO_AUTO_UPDATE": "1"}


def copilot(base, **env):
    def start(write, url, token, prompt):
        argv = [program("copilot"), "-p", prompt, "--allow-all-tools", "--allow-all-paths", "--no-auto-update"]
        return argv, {"COPILOT_OFFLINE": "true", "COPILOT_PROVIDER_BASE_URL": url + base, "COPILOT_PROVIDER_BEARER_TOKEN": token,
                      "COPILOT_MODEL": MODEL} | env
    return start


def pi_deepseek(write, url, token, prompt):
    return pi(write, prompt, {"deepseek": {"baseUrl": url}}, "--provider", "deepseek", "--model", MODEL, "--thinking", "xhigh",
              DEEPSEEK_API_KEY=token)


OPENCODE = {"chat": ("@ai-sdk/openai-compatible", "/v1"), "messages": ("@ai-sdk/anthropic", "/anthropic/v1"),
            "responses": ("@ai-sdk/openai", "/v1")}
COPILOT = {"chat": ("/v1", {}), "messages": ("/anthropic", {"COPILOT_PROVIDER_TYPE": "anthropic"}),
           "responses": ("/v1", {"COPILOT_PROVIDER_WIRE_API": "responses"})}
PI = {"chat": ("openai-completions", "/v1"), "messages": ("anthropic-messages", "/anthropic"), "responses": ("openai-responses", "/v1")}

AGENTS = {
    "claude": Agent("@anthropic-ai/claude-code", lambda write, url, token, prompt: claude(f"{url}/anthropic", token, prompt)),
    "codex": Agent("@openai/codex", codex),
    **{f"opencode {dialect}": Agent("opencode-ai", opencode(*how), opencode_in_a_server(*how)) for dialect, how in OPENCODE.items()},
    **{f"pi {dialect}": Agent("@earendil-works/pi-coding-agent", pi_local(*how)) for dialect, how in PI.items()},
    **{f"copilot {dialect}": Agent("@github/copilot", copilot(base, **env)) for dialect, (base, env) in COPILOT.items()},
    "qwen": Agent("@qwen-code/qwen-code", qwen),
    "cline": Agent("cline", cline),
    "kimi": Agent("@moonshot-ai/kimi-code", kimi),
}
