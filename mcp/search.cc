// mcp_search: what the configured servers offer, by words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cctype>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "mcp/config.h"
#include "mcp/message.h"
#include "mcp/tools.h"

namespace lares::mcp {
namespace {

using nlohmann::json;
using tools::Outcome;
using tools::Result;

constexpr std::size_t kDescriptionBytesMax = 400;
constexpr std::size_t kSchemaBytesMax = 4'000;
constexpr std::size_t kNamesBytesMax = 4'000;
constexpr std::size_t kQueryBytesMax = 1'000;
// Offers of one name that are shown whole, and share the output. Where there are more, the servers'
// names have to tell them apart.
constexpr std::size_t kWholeMax = 4;
constexpr std::size_t kWholeHeadBytesMax = 1'000;
constexpr int kNamedPoints = std::numeric_limits<int>::max();
constexpr std::size_t kCutNotesBytes = 100;  // about what is cut of one offer

bool is_method(const RemoteTool& offer) {
  return offer.name == kReadResource || offer.name == kGetPrompt;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// How many of the query's words occur; names count double.
int score(const std::string& server, const RemoteTool& offer,
          const std::vector<std::string>& words) {
  const auto name = lower(server + " " + offer.name + " " + offer.title);
  const auto description =
      // With the resource's address
      lower(offer.description + (is_method(offer) ? dumped(offer.schema) : ""));
  int points = 0;
  for (const auto& word : words) {
    if (name.find(word) != std::string::npos)
      points += 2;
    else if (description.find(word) != std::string::npos)
      points += 1;
  }
  return points;
}

std::vector<std::string> words_of(const std::string& query) {
  std::vector<std::string> words(1);
  for (const char c : lower(std::string_view(query).substr(0, kQueryBytesMax))) {
    if (std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80)
      words.back() += c;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

struct Offered {
  std::string server;
  Reply<std::vector<RemoteTool>> offers;
  std::vector<std::string> cuts;
};

// All servers at once: each may take a second to start. One that hangs keeps nobody from the others
// for long; it goes on starting meanwhile.
asio::awaitable<std::optional<std::vector<Offered>>> ask_all(asio::any_io_executor io,
                                                             std::shared_ptr<Servers> servers) {
  using Clock = std::chrono::steady_clock;
  struct Gathering {
    explicit Gathering(const asio::any_io_executor& executor) : news(executor) {}
    asio::steady_timer news;
    std::vector<Offered> lists;
    std::size_t n_open = 0;
    bool any = false;   // one of them offers something
    bool over = false;  // who answers now is too late
  };
  const auto gathering = std::make_shared<Gathering>(io);
  const auto patience = Clock::now() + std::chrono::milliseconds(servers->search_patience_ms);
  gathering->n_open = servers->clients.size();
  gathering->lists.resize(servers->clients.size());
  for (std::size_t i = 0; i < servers->clients.size(); ++i) {
    const auto client = servers->clients[i];
    gathering->lists[i].server = client->name();
    gathering->lists[i].offers = tl::unexpected(
        Failure{Failure::timed_out, "has not answered yet; search again for what it offers"});
    asio::co_spawn(
        io, client->offers(),
        [gathering, client, i](std::exception_ptr thrown, Reply<std::vector<RemoteTool>> offers) {
          if (gathering->over) return;
          if (thrown) offers = tl::unexpected(Failure{Failure::refused, "could not be asked"});
          gathering->any |= offers && !offers->empty();
          gathering->lists[i].offers = std::move(offers);
          gathering->lists[i].cuts = client->cuts();
          --gathering->n_open;
          gathering->news.cancel();
        });
  }
  while (gathering->n_open > 0 && (!gathering->any || Clock::now() < patience)) {
    gathering->news.expires_at(gathering->any ? patience : Clock::time_point::max());
    co_await gathering->news.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto state = co_await asio::this_coro::cancellation_state;
    gathering->over = state.cancelled() != asio::cancellation_type::none;
    if (gathering->over) co_return std::nullopt;
  }
  gathering->over = true;
  std::optional<std::vector<Offered>> all = std::move(gathering->lists);
  co_return all;
}

std::string names_of(const std::vector<Offered>& lists) {
  std::string text;
  for (const auto& [server, offers, cuts] : lists) {
    if (!offers) continue;
    std::vector<std::string> names;
    std::size_t n_resources = 0, n_prompts = 0;
    for (const auto& offer : *offers) {
      if (!is_method(offer)) names.push_back(offer.name);
      n_resources += offer.name == kReadResource, n_prompts += offer.name == kGetPrompt;
    }
    if (n_resources) names.push_back(fmt::format("{} resources", n_resources));
    if (n_prompts) names.push_back(fmt::format("{} prompts", n_prompts));
    text += fmt::format("{}:{}{}\n", server, names.empty() ? "" : " ", fmt::join(names, ", "));
  }
  return cut(std::move(text), kNamesBytesMax, "");
}

// Of a resource or a prompt its own name, not the method that gets it.
const std::string& called(const RemoteTool& offer) {
  return is_method(offer) ? offer.title : offer.name;
}

// Whether the query is the offer's name, alone or after that of its server.
bool names(const std::vector<std::string>& query, const std::string& server,
           const RemoteTool& offer) {
  const auto name = words_of(called(offer));
  return !name.empty() && (query == name || query == words_of(server + " " + called(offer)));
}

std::string about(const RemoteTool& offer) {
  if (!is_method(offer)) return offer.description;
  return offer.title + (offer.description.empty() ? "" : ": " + offer.description);
}

std::string entry(const std::string& head, const std::string& about, const std::string& schema) {
  return fmt::format("{}: {}\n  {}\n", head, about, schema);
}

std::string describe(const std::string& server, const RemoteTool& offer) {
  auto schema = dumped(offer.schema);
  if (schema.size() > kSchemaBytesMax)
    schema = fmt::format("[a schema of {} bytes: search for {} {} alone to see it]", schema.size(),
                         server, called(offer));
  return entry(server + " " + offer.name,
               cut(about(offer), kDescriptionBytesMax, "; search for its name alone"), schema);
}

// Within `n_max` bytes. Where they are too few, first the description makes room, then the schema
// is cut.
std::string describe_whole(const std::string& server, const RemoteTool& offer, std::size_t n_max) {
  const auto head = cut(server + " " + offer.name, kWholeHeadBytesMax, "");
  const auto room = n_max - entry(head, "", "").size() - kCutNotesBytes;
  const auto schema = dumped(offer.schema);
  const auto left = room - std::min(room, schema.size());
  const auto text = cut(about(offer), std::max(left, kDescriptionBytesMax), "");
  return entry(head, text, cut(schema, room - std::min(room, text.size()), ""));
}

std::string search(const std::vector<Offered>& lists, const std::vector<std::string>& problems,
                   const std::string& query) {
  const auto words = words_of(query);
  struct Match {
    int points;
    const std::string* server;
    const RemoteTool* offer;
  };
  std::vector<Match> matches;
  std::string notes;
  for (const auto& [server, offers, cuts] : lists) {
    if (!offers) {
      notes += fmt::format("[{} {}]\n", server, offers.error().why);
      continue;
    }
    for (const auto& offer : *offers) {
      const int points = words.empty()                 ? 1
                         : names(words, server, offer) ? kNamedPoints
                                                       : score(server, offer, words);
      if (points > 0) matches.push_back({points, &server, &offer});
    }
    for (const auto& cut : cuts) notes += fmt::format("[{}: {}]\n", server, cut);
  }
  for (const auto& problem : problems) notes += fmt::format("[{}]\n", problem);
  notes = cut(std::move(notes), kNotesBytesMax, "");
  std::ranges::stable_sort(matches, std::greater<>(), &Match::points);  // ties stay in the order of
                                                                        // names
  if (matches.empty()) {
    const auto names = names_of(lists);
    if (names.empty()) return "no tool is available\n" + notes;
    return fmt::format("no tool matches {}; there are\n{}{}",
                       cut(dumped(query), kQueryBytesMax, ""), names, notes);
  }
  std::size_t n_whole = 0;  // of the first
  while (n_whole < matches.size() && matches[n_whole].points == kNamedPoints) ++n_whole;
  if (matches.size() == 1) n_whole = 1;
  if (n_whole > kWholeMax) n_whole = 0;
  std::string text;
  std::size_t n_shown = 0;
  for (const auto& match : matches) {
    const auto entry = n_shown < n_whole
                           ? describe_whole(*match.server, *match.offer, kOutputBytesMax / n_whole)
                           : describe(*match.server, *match.offer);
    if (text.size() + entry.size() > kOutputBytesMax) break;
    text += entry;
    ++n_shown;
  }
  if (n_shown < matches.size())
    text += fmt::format("[{} more match; narrow the query]\n", matches.size() - n_shown);
  return text + notes;
}

class SearchTool final : public tools::Tool {
 public:
  SearchTool(asio::any_io_executor io, std::shared_ptr<Servers> servers)
      : io_(io), servers_(std::move(servers)) {}

  const tools::Spec& spec() const override {
    static const tools::Spec spec{
        "mcp_search", "Find tools of the configured MCP servers by words; shows how to call them.",
        R"({"type":"object","properties":{"query":{"type":"string"}},"required":["query"]})"};
    return spec;
  }
  bool mutates(const json&) const override { return false; }

  asio::awaitable<Result<Outcome>> run(json args, tools::OnOutput) override {
    Result<Outcome> done = Outcome{};
    const auto query = args.is_object() ? args.find("query") : args.end();
    const bool given = args.is_object() && query != args.end();
    const auto servers = servers_;
    if (given && !query->is_string()) {
      done->text = "mcp_search: `query` must be a string", done->ok = false;
      co_return done;
    }
    if (servers->clients.empty()) {
      done->text = none_configured(*servers);
      co_return done;
    }
    const auto words = given ? query->get<std::string>() : "";
    auto asking = ask_all(io_, servers);
    const auto lists = co_await std::move(asking);
    if (lists)
      done->text = search(*lists, servers->problems, words);
    else
      done = tl::unexpected(tools::Error{tools::Errc::cancelled, "cancelled"});
    co_return done;
  }

  const Servers& servers() const { return *servers_; }

 private:
  asio::any_io_executor io_;
  std::shared_ptr<Servers> servers_;
};

}  // namespace

std::unique_ptr<tools::Tool> make_search_tool(asio::any_io_executor io,
                                              std::shared_ptr<Servers> servers) {
  return std::make_unique<SearchTool>(io, std::move(servers));
}

std::vector<std::string> servers_searched(const tools::Tool& tool) {
  std::vector<std::string> names;
  if (const auto* const search = dynamic_cast<const SearchTool*>(&tool))
    for (const auto& client : search->servers().clients) names.push_back(client->name());
  return names;
}

}  // namespace lares::mcp
