"""Other people's coding agents with Lares as their endpoint: each runs one turn in which its own tool writes a file.
agents_test.py BIN DAEMON NPM"""
import agents
import door
from agents import AGENTS
from door import DoorCase, have


class Agents(DoorCase):
    def turn(self, start):
        argv, env = start(self.write, self.url, self.token, self.prompt)
        self.assert_written(self.client(*argv, **env))

    @have("@anthropic-ai/claude-code")
    def test_claude_code(self):
        self.turn(AGENTS["claude"].start)
        self.assertIn("The file is written.", self.said)

    @have("@anthropic-ai/claude-code")
    def test_claude_code_over_the_unix_socket(self):
        self.turn(lambda write, url, token, prompt: agents.claude("http://localhost/anthropic", token, prompt,
                                                                  ANTHROPIC_UNIX_SOCKET=self.daemon.socket))
        self.assertIn("The file is written.", self.said)

    @have("@openai/codex")
    def test_codex(self):
        self.turn(AGENTS["codex"].start)

    @have("opencode-ai")
    def test_opencode_over_chat_completions(self):
        self.turn(AGENTS["opencode chat"].start)

    @have("opencode-ai")
    def test_opencode_over_messages(self):
        self.turn(AGENTS["opencode messages"].start)

    @have("opencode-ai")
    def test_opencode_over_responses(self):
        self.turn(AGENTS["opencode responses"].start)

    @have("@earendil-works/pi-coding-agent")
    def test_pi_over_chat_completions(self):
        self.turn(AGENTS["pi chat"].start)

    @have("@earendil-works/pi-coding-agent")
    def test_pi_over_responses(self):
        self.turn(AGENTS["pi responses"].start)

    @have("@earendil-works/pi-coding-agent")
    def test_pi_over_messages(self):
        self.turn(AGENTS["pi messages"].start)

    @have("@earendil-works/pi-coding-agent")
    def test_pi_with_its_own_deepseek_provider(self):
        self.turn(agents.pi_deepseek)

    @have("@github/copilot")
    def test_copilot_over_chat_completions(self):
        self.turn(AGENTS["copilot chat"].start)

    @have("@github/copilot")
    def test_copilot_over_messages(self):
        self.turn(AGENTS["copilot messages"].start)

    @have("@github/copilot")
    def test_copilot_over_responses(self):
        self.turn(AGENTS["copilot responses"].start)

    @have("@qwen-code/qwen-code")
    def test_qwen_code(self):
        self.turn(AGENTS["qwen"].start)

    @have("cline")
    def test_cline(self):
        self.turn(AGENTS["cline"].start)

    @have("@moonshot-ai/kimi-code")
    def test_kimi_code(self):
        self.turn(AGENTS["kimi"].start)


if __name__ == "__main__":
    door.main()
