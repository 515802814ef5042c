#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/remote/foreign.h"
#include "daemon/remote/remote.h"
#include "daemon/remote/timeline.h"
#include "engine/chat.h"
#include "engine/tokenizer.h"
#include "tools/fd.h"

namespace lares::daemon {
namespace {

using engine::Errc;
using engine::Error;
using engine::Result;
using engine::Token;
using Json = nlohmann::json;

constexpr std::int64_t kRemoteChunk = 16'384;    // tokens a request while a prompt is evaluated
constexpr std::int64_t kRemotePageTokens = 256;  // beginnings are shared, as tokens
constexpr std::size_t kKeyBytesMax = 4096;
constexpr std::int64_t kContextMax = 1 << 24;  // tokens; more is a server's mistake

tl::unexpected<Error> bad_key(const std::string& path, std::string_view why) {
  return tl::unexpected(
      Error{Errc::bad_argument, fmt::format("read the remote engine's key in {}: {}", path, why)});
}

// "" where there is none.
Result<std::string> read_key(const std::string& path) {
  if (path.empty()) return std::string();
  const tools::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (file.get() < 0 && errno == ENOENT) return std::string();
  if (file.get() < 0) return bad_key(path, std::strerror(errno));
  struct stat about {};
  if (::fstat(file.get(), &about) != 0 || !S_ISREG(about.st_mode) || (about.st_mode & 077) != 0)
    return bad_key(path, "it must be a file that nobody else can read; `chmod 600` makes it one");
  std::string key(kKeyBytesMax, '\0');
  const auto n = ::read(file.get(), key.data(), key.size());
  key.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!key.empty() && (key.back() == '\n' || key.back() == '\r' || key.back() == ' '))
    key.pop_back();
  if (!key.empty() && key.size() < kKeyBytesMax &&
      std::ranges::all_of(key, [](char c) { return c > ' ' && c < 127; }))
    return key;
  return bad_key(path, "it must hold one line, the token that the server asks for");
}

struct Served {
  std::string name;
  std::int64_t n_context = 0;      // 0: not said
  std::uint64_t n_parameters = 0;  // likewise
};

// "max_model_len" and "meta", which models have, and what a Lares says at /tokenize.
std::int64_t context_in(const Json& json) {
  const auto n = json.find("max_model_len");
  const bool sound = n != json.end() && n->is_number_integer() && *n > 0 && *n < kContextMax;
  return sound ? n->get<std::int64_t>() : 0;
}

std::uint64_t parameters_in(const Json& json) {
  const auto meta = json.find("meta");
  if (meta == json.end() || !meta->is_object()) return 0;
  const auto n = meta->find("n_params");
  return n != meta->end() && n->is_number_unsigned() ? n->get<std::uint64_t>() : 0;
}

Result<Served> served_model(const RemoteServer& server, const std::string& wanted,
                            const std::stop_token& stop) {
  constexpr std::string_view kWhat = "use the remote engine";
  const auto list = server.ask(kWhat, "GET", "/v1/models", "", stop);
  if (!list) return tl::unexpected(list.error());
  const auto data = list->find("data");
  if (data == list->end() || !data->is_array() || data->empty())
    return tl::unexpected(Error{
        Errc::malformed,
        fmt::format("{}: {} lists no model at /v1/models; load one there", kWhat, server.name())});
  std::string names;
  for (const Json& model : *data) {
    if (!model.is_object()) continue;
    const auto id = model.find("id");
    if (id == model.end() || !id->is_string()) continue;
    const auto name = id->get<std::string>();
    names += (names.empty() ? "" : ", ") + name;
    if (wanted.empty() || name == wanted)
      return Served{name, context_in(model), parameters_in(model)};
  }
  return tl::unexpected(Error{
      Errc::bad_argument,
      fmt::format(
          "{}: {} has no model \"{}\", but {}; `lares config set remote URL#NAME` names one", kWhat,
          server.name(), wanted, names.empty() ? "nothing with a name" : words_of_server(names))});
}

// With control tokens, several scripts, runs of blanks and digits: where two families of tokenizers
// differ, they differ here.
std::string sample_text() {
  return fmt::format(
      "{}{}Write  `for (auto& x : räume) {{ x += 12345678; }}`\n\n\t\tin 中文, 한국어, "
      "\xF0\x9F\xA6\x8A.{}{}It's 0x1F.{}",
      engine::kBos, engine::kUser, engine::kAssistant, engine::kThinkEnd, engine::kEos);
}

// Gives a note where it cannot be known.
Result<std::string> check_tokenizer(const RemoteServer& server, Served& model,
                                    const engine::Tokenizer& tokenizer,
                                    const std::string& directory, const std::stop_token& stop) {
  const std::string text = sample_text();
  const Json body = {{"model", model.name}, {"prompt", text}, {"add_special_tokens", false}};
  const auto said = server.ask("compare tokenizers", "POST", "/tokenize", body.dump(), stop);
  if (!said) {
    if (said.error().code != Errc::unsupported) return tl::unexpected(said.error());
    return fmt::format(
        "{} has no /tokenize, so nobody knows whether its tokens are those of "
        "{}/tokenizer.json",
        server.name(), directory);
  }
  if (model.n_context == 0)  // a Lares that was still loading
    model.n_context = context_in(*said), model.n_parameters = parameters_in(*said);
  const auto tokens = said->find("tokens");
  const auto ours = tokenizer.encode(text, true);
  if (tokens != said->end() && *tokens == Json(ours)) return std::string();
  return tl::unexpected(Error{
      Errc::bad_argument,
      fmt::format("use the engine at {}: its model {} makes other tokens of a text than "
                  "{}/tokenizer.json; `lares config set model DIR` names a directory with that "
                  "model's tokenizer.json (weights are not needed)",
                  server.name(), words_of_server(model.name), directory)});
}

class RemoteEngine final : public engine::Engine {
 public:
  RemoteEngine(std::unique_ptr<RemoteServer> server, std::unique_ptr<engine::Tokenizer> tokenizer,
               engine::ModelInfo info, std::string name)
      : server_(std::move(server)),
        tokenizer_(std::move(tokenizer)),
        info_(std::move(info)),
        model_{.server = server_.get(),
               .name = std::move(name),
               .n_context_max = info_.n_context_max,
               .vocab_size = info_.vocab_size,
               .eos = tokenizer_->added(engine::kEos)} {}

  const engine::ModelInfo& info() const override { return info_; }
  const engine::Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::unique_ptr<engine::Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<engine::Timeline> timeline(engine::PrefixRef from) override {
    return std::make_unique<RemoteTimeline>(model_, from);
  }
  engine::PrefixFormat prefix_format() const override {
    return {.page_tokens = kRemotePageTokens,
            .page_bytes = 0,  // the server keeps what it likes
            .fingerprint = "remote " + model_.name};
  }

 private:
  const std::unique_ptr<RemoteServer> server_;
  const std::unique_ptr<engine::Tokenizer> tokenizer_;
  const engine::ModelInfo info_;
  const RemoteModel model_;
};

struct Met {
  Served model;
  std::string note;
};
Result<Met> meet(const RemoteServer& server, const std::string& wanted,
                 const engine::Tokenizer& tokenizer, const RemoteOptions& options) {
  auto model = served_model(server, wanted, options.stop);
  if (!model) return tl::unexpected(std::move(model.error()));
  auto note = check_tokenizer(server, *model, tokenizer, options.directory, options.stop);
  if (!note) return tl::unexpected(std::move(note.error()));
  return Met{std::move(*model), std::move(*note)};
}

}  // namespace

Result<std::unique_ptr<engine::Engine>> load_remote(const RemoteOptions& options) {
  auto key = read_key(options.key_file);
  if (!key) return tl::unexpected(std::move(key.error()));
  const std::size_t hash = std::min(options.url.find('#'), options.url.size());
  const std::string wanted = options.url.substr(std::min(hash + 1, options.url.size()));
  auto server = RemoteServer::at(options.url.substr(0, hash), std::move(*key), options.silence_max,
                                 options.retry_after);
  if (!server) return tl::unexpected(std::move(server.error()));
  auto tokenizer = engine::Tokenizer::from_file(options.directory + "/tokenizer.json");
  if (!tokenizer) return tl::unexpected(std::move(tokenizer.error()));
  auto met = meet(**server, wanted, **tokenizer, options);
  while (!met && met.error().code == Errc::not_found && options.waits) {
    options.waits(met.error().message);
    // As long again as after the last try but one.
    if (!(*server)->wait_before(kRemoteTries, options.stop)) break;
    met = meet(**server, wanted, **tokenizer, options);
  }
  if (!met) return tl::unexpected(std::move(met.error()));
  const std::string name = words_of_server(met->model.name);
  std::int64_t n_context = options.n_context;
  if (met->model.n_context > 0)
    n_context = n_context > 0 ? std::min(n_context, met->model.n_context) : met->model.n_context;
  if (n_context <= 0)
    return tl::unexpected(
        Error{Errc::bad_argument,
              fmt::format("use the engine at {}: it does not say how long a context {} may have "
                          "(max_model_len at /v1/models); `lares config set context N` does",
                          (*server)->name(), name)});
  engine::ModelInfo info;
  info.directory = options.directory, info.model_type = name;
  info.vocab_size = (*tokenizer)->vocab_size();
  info.n_parameters = met->model.n_parameters;
  info.n_context_max = n_context, info.n_chunk = kRemoteChunk;
  info.gives_logprobs = false;  // not of forced tokens
  info.timelines_apart = true;
  info.notes.push_back(fmt::format("{} at {} computes it: what the model reads goes there{}", name,
                                   (*server)->name(),
                                   (*server)->encrypted() ? "" : ", unencrypted"));
  if (!met->note.empty()) info.notes.push_back(std::move(met->note));
  return std::make_unique<RemoteEngine>(std::move(*server), std::move(*tokenizer), std::move(info),
                                        std::move(met->model.name));
}

}  // namespace lares::daemon
