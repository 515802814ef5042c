// All dialects' endpoints in one place: who carries requests adds them to its routes and knows
// nothing else of them.
#pragma once

namespace lares::daemon {

class Generations;
class Router;

// The handlers keep `generations`, which outlives them.
void add_dialects(Router& router, Generations& generations);

// Each in its own file.
void add_chat(Router& router, Generations& generations);              // chat.cc
void add_text_completions(Router& router, Generations& generations);  // text_completions.cc
void add_models(Router& router, Generations& generations);            // models.cc
void add_messages(Router& router, Generations& generations);          // messages.cc
void add_tokenize(Router& router, Generations& generations);          // tokenize.cc
void add_responses(Router& router, Generations& generations);         // responses.cc

}  // namespace lares::daemon
