// All dialects' endpoints in one place: who carries requests adds them to its routes and knows nothing else of them.
#pragma once

#include <functional>
#include <string>

#include "daemon/http/exchange.h"

namespace lares::daemon {

class Generations;

// `path` is exact; one that ends with '/' is of everything below it. The query does not count.
using AddRoute = std::function<void(std::string method, std::string path, HttpHandler handler)>;

// The handlers keep `generations`, which outlives them.
void add_dialects(const AddRoute& add, Generations& generations);

// Each in its own file.
void add_chat(const AddRoute& add, Generations& generations);    // chat.cc
void add_fim(const AddRoute& add, Generations& generations);     // fim.cc
void add_models(const AddRoute& add, Generations& generations);  // models.cc

}  // namespace lares::daemon
