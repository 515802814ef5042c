// OpenAI Responses over HTTP.
#pragma once

namespace lares::daemon {

class Generations;
class Router;

// POST /v1/responses and /responses. Nothing is stored: what would read a response later is told so (404).
void add_responses(Router& router, Generations& generations);

}  // namespace lares::daemon
