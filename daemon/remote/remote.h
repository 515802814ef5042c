// An engine on another machine: it evaluates and draws there, over HTTP, in vLLM's wire format for
// token ids, which Lares itself serves too. What a token is, what may be drawn and where an answer
// ends is decided here, as with an engine in this process; the server's prefix cache takes the
// place of KV pages, so prompts are sent as the same ids again, and longer ones begin with shorter
// ones.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "engine/engine.h"

namespace lares::daemon {

struct RemoteOptions {
  // http(s)://host[:port][/path][#model]: /v1/completions is below it; the model by the server's
  // name, without one the first that it lists
  std::string url;
  std::string key_file;   // whose text is the bearer token that it asks for; it need not be there
  std::string directory;  // of tokenizer.json: the same checkpoint's, without its weights
  std::int64_t n_context = 0;  // tokens a timeline may hold; 0: what the server says
  std::stop_token stop = {};   // ends every wait
  // Hears why a server that is not there is waited for; empty: it is not, which is an error.
  std::function<void(const std::string& why)> waits = {};
  // Tests make these smaller, users never.
  std::chrono::milliseconds silence_max{300'000};  // until a server that says nothing is given up
  std::chrono::milliseconds retry_after{1'000};    // doubled with each try
};
// Of a request that breaks, or that the server has no room for; nothing drawn is lost by it.
// Silence counts as two
inline constexpr int kRemoteTries = 4;

// Asks the server which model it has, and whether it makes the same tokens of a text as
// `directory`'s tokenizer: with another one all it answered would be noise.
engine::Result<std::unique_ptr<engine::Engine>> load_remote(const RemoteOptions& options);

}  // namespace lares::daemon
