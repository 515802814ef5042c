// Anthropic Messages over HTTP.
#pragma once

namespace lares::daemon {

class Generations;
class Router;

// POST /v1/messages and /v1/messages/count_tokens, both also below /anthropic; HEAD of what Claude Code looks at before it speaks.
void add_messages(Router& router, Generations& generations);

}  // namespace lares::daemon
