#include "daemon/remote/foreign.h"

#include <nlohmann/json.hpp>

#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kWordsBytesMax = 500;
constexpr int kDepthMax = 16;

}  // namespace

std::string words_of_server(std::string_view text) {
  std::string out(text.substr(0, kWordsBytesMax));
  const bool cut = out.size() < text.size();
  if (cut) out.resize(out.size() - incomplete_tail(out));
  for (char& c : out)
    if (const auto byte = static_cast<unsigned char>(c); byte < ' ' || byte == 127) c = ' ';
  out = valid_utf8(out);
  if (cut) out += "...";
  return out;
}

nlohmann::json foreign_json(std::string_view text) {
  using Json = nlohmann::json;
  const auto wanted = [](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::key) return value != "prompt_token_ids";
    return depth <= kDepthMax;
  };
  return Json::parse(text, wanted, /*allow_exceptions=*/false);
}

}  // namespace lares::daemon
