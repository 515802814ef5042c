"""Other people's coding agents with Lares as their endpoint: each runs one turn in which its own tool writes a file.
agents_test.py BIN DAEMON NPM"""
import json
import os

import door
from door import DoorCase, have


class Agents(DoorCase):
    # ---- Claude Code

    def claude(self, base, **env):
        p = self.client(
            os.path.join(door.NPM, "node_modules", ".bin", "claude"), "-p", self.prompt, "--output-format", "json", "--permission-mode", "acceptEdits",
            "--allowedTools", "Write", "--max-turns", "4",
            ANTHROPIC_BASE_URL=base, ANTHROPIC_AUTH_TOKEN=self.token, ANTHROPIC_MODEL="deepseek-v4-pro", ANTHROPIC_DEFAULT_OPUS_MODEL="deepseek-v4-pro",
            ANTHROPIC_DEFAULT_SONNET_MODEL="deepseek-v4-pro", ANTHROPIC_DEFAULT_HAIKU_MODEL="deepseek-v4-flash",
            CLAUDE_CODE_SUBAGENT_MODEL="deepseek-v4-flash", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1", DISABLE_AUTOUPDATER="1",
            DISABLE_TELEMETRY="1", DISABLE_ERROR_REPORTING="1", **env)
        self.assert_written(p)
        self.assertIn("The file is written.", self.said)

    @have("@anthropic-ai/claude-code")
    def test_claude_code(self):
        self.claude(f"{self.url}/anthropic")

    @have("@anthropic-ai/claude-code")
    def test_claude_code_over_the_unix_socket(self):
        self.claude("http://localhost/anthropic", ANTHROPIC_UNIX_SOCKET=self.daemon.socket)

    # ---- Codex

    def codex(self, extra=""):
        self.write("codex/config.toml", f"""
model = "deepseek-v4-pro"
model_provider = "local"
check_for_update_on_startup = false
{extra}
[analytics]
enabled = false
[features]
plugins = false
apps = false
[model_providers.local]
name = "local"
base_url = "{self.url}/v1"
wire_api = "responses"
env_key = "LOCAL_API_KEY"
request_max_retries = 1
stream_max_retries = 1
""")
        self.assert_written(self.client(
            os.path.join(door.NPM, "node_modules", ".bin", "codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json",
            self.prompt, CODEX_HOME=os.path.join(self.home, "codex"), LOCAL_API_KEY=self.token))

    @have("@openai/codex")
    def test_codex(self):
        self.codex()

    # ---- opencode

    def opencode(self, npm, base):
        model = {"reasoning": True, "tool_call": True, "limit": {"context": 1000000, "output": 32000}}
        self.write("work/opencode.json", {
            "autoupdate": False, "share": "disabled", "model": "local/deepseek-v4-pro", "small_model": "local/deepseek-v4-flash",
            "enabled_providers": ["local"],
            "provider": {"local": {"npm": npm, "name": "local", "options": {"baseURL": base, "apiKey": self.token},
                                   "models": {"deepseek-v4-pro": model | {"name": "pro"}, "deepseek-v4-flash": model | {"name": "flash"}}}},
            "permission": {"edit": "allow", "bash": "allow"}})
        self.assert_written(self.client(
            os.path.join(door.NPM, "node_modules", ".bin", "opencode"), "run", "--format", "json", self.prompt,
            OPENCODE_DISABLE_AUTOUPDATE="1", OPENCODE_DISABLE_MODELS_FETCH="1", OPENCODE_DISABLE_LSP_DOWNLOAD="1", OPENCODE_DISABLE_DEFAULT_PLUGINS="1"))

    @have("opencode-ai")
    def test_opencode_over_chat_completions(self):
        self.opencode("@ai-sdk/openai-compatible", f"{self.url}/v1")

    @have("opencode-ai")
    def test_opencode_over_messages(self):
        self.opencode("@ai-sdk/anthropic", f"{self.url}/anthropic/v1")

    @have("opencode-ai")
    def test_opencode_over_responses(self):
        self.opencode("@ai-sdk/openai", f"{self.url}/v1")

    # ---- pi

    def pi(self, providers, *args, **env):
        self.write("pi/models.json", {"providers": providers})
        self.assert_written(self.client(
            os.path.join(door.NPM, "node_modules", ".bin", "pi"), "-p", *args, "--mode", "json", "--no-session", self.prompt,
            PI_CODING_AGENT_DIR=os.path.join(self.home, "pi"), PI_OFFLINE="1", PI_SKIP_VERSION_CHECK="1", PI_TELEMETRY="0", **env))

    def pi_local(self, api, base):
        model = {"id": "deepseek-v4-pro", "reasoning": True, "input": ["text"], "contextWindow": 1000000, "maxTokens": 32000,
                 "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}
        self.pi({"local": {"baseUrl": base, "api": api, "apiKey": self.token, "models": [model]}}, "--provider", "local", "--model", "deepseek-v4-pro")

    @have("@mariozechner/pi-coding-agent")
    def test_pi_over_chat_completions(self):
        self.pi_local("openai-completions", f"{self.url}/v1")

    @have("@mariozechner/pi-coding-agent")
    def test_pi_over_responses(self):
        self.pi_local("openai-responses", f"{self.url}/v1")

    @have("@mariozechner/pi-coding-agent")
    def test_pi_over_messages(self):
        self.pi_local("anthropic-messages", f"{self.url}/anthropic")

    @have("@mariozechner/pi-coding-agent")
    def test_pi_with_its_own_deepseek_provider(self):
        self.pi({"deepseek": {"baseUrl": self.url}}, "--provider", "deepseek", "--thinking", "xhigh", DEEPSEEK_API_KEY=self.token)


if __name__ == "__main__":
    door.main()
