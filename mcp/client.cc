#include "mcp/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <set>
#include <utility>

#include "mcp/form.h"
#include "mcp/http_transport.h"
#include "mcp/stdio_transport.h"

namespace lares::mcp {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kPagesMax = 100, kToolsMax = 2'000, kResourcesMax = 500, kPromptsMax = 500;
constexpr std::int64_t kFreshMaxMs = 24 * 3'600'000;

// Of the server's own words about its list. Absent: until it says that it changed.
Clock::duration freshness(const json& page) {
  const auto ttl = page.find("ttlMs");
  if (ttl == page.end() || !ttl->is_number_integer()) return std::chrono::milliseconds(kFreshMaxMs);
  return std::chrono::milliseconds(
      std::clamp<std::int64_t>(ttl->get<std::int64_t>(), 0, kFreshMaxMs));
}

// Since 2025-11-25 a tool may say that it is only to be called as a task, which we do not declare
// to speak.
bool only_as_task(const json& tool) {
  const auto execution = tool.find("execution");
  return execution != tool.end() && text_at(*execution, "taskSupport") == "required";
}

bool only_reads(const json& tool) {
  const auto annotations = tool.find("annotations");
  return annotations != tool.end() && annotations->is_object() &&
         annotations->value("readOnlyHint", json()) == true;
}

RemoteTool resource_offer(const json& resource, const char* address) {
  return {kReadResource,
          text_at(resource, "name"),
          text_at(resource, "description"),
          json{{"uri", text_at(resource, address)}},
          {},
          true};
}

RemoteTool prompt_offer(const json& prompt) {
  json arguments = json::object();
  const auto listed = prompt.find("arguments");
  if (listed != prompt.end() && listed->is_array()) {
    for (const auto& one : *listed)
      arguments[text_at(one, "name")] =
          text_at(one, "description") +
          (one.is_object() && one.value("required", json()) == true ? " (required)" : "");
  }
  return {kGetPrompt,
          text_at(prompt, "name"),
          text_at(prompt, "description"),
          json{{"name", text_at(prompt, "name")}, {"arguments", std::move(arguments)}},
          {},
          true};
}

std::string cut_note(std::string_view what, std::size_t n) {
  return fmt::format("its {} go on after the first {}; the rest is not offered", what, n);
}

}  // namespace

Client::Client(asio::any_io_executor io, ServerConfig server, Place place, Elicit elicit,
               const Limits& limits)
    : io_(io),
      server_(std::move(server)),
      place_(std::move(place)),
      elicit_(std::move(elicit)),
      limits_(limits),
      started_(io) {
  started_.expires_at(Clock::time_point::max());
}

Client::~Client() {
  if (conversation_) conversation_->close("was ended");
}

void Client::note_end() {
  ++n_deaths_;
  last_death_ = conversation_ ? conversation_->why_ended() : last_death_;
  conversation_ = nullptr;
  listed_ = false;
  if (n_deaths_ < 2) return;  // the first time it is simply started again
  const auto factor = 1ll << std::min(n_deaths_ - 2, 20);
  not_before_ = Clock::now() + std::chrono::milliseconds(std::min<long long>(
                                   limits_.backoff_ms * factor, limits_.backoff_max_ms));
}

// It lost our session, as a server that was restarted does: no death, and nothing of the request
// was done. That may be a guess, so whatever else is asked in that session goes on, and its end
// comes with the last of them.
void Client::forget_expired() {
  conversation_ = nullptr;
  listed_ = false;
}

// The running conversation; starts the server when there is none. One start at a time: who comes
// meanwhile waits for it.
asio::awaitable<Reply<Client::ConversationPtr>> Client::connected() {
  const auto self = shared_from_this();
  while (starting_) {
    co_await started_.async_wait(kIo);
    // A start's end wakes in the same way, and whoever was woken first may have begun the next one:
    // only the caller's own state tells.
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) {
      Reply<ConversationPtr> stopped = tl::unexpected(Failure{Failure::cancelled, "cancelled"});
      co_return stopped;
    }
  }
  if (conversation_ && !conversation_->alive()) note_end();
  if (conversation_) {
    Reply<ConversationPtr> running = conversation_;
    co_return running;
  }
  if (const auto wait = not_before_ - Clock::now(); wait > Clock::duration::zero()) {
    const auto seconds = std::chrono::duration<double>(wait).count();
    Reply<ConversationPtr> later = tl::unexpected(Failure{
        Failure::died,
        fmt::format(
            "is started again in {:.0f} s at the earliest: it ended {} times in a row; it {}",
            std::max(1.0, seconds), n_deaths_, last_death_)});
    co_return later;
  }
  struct Guard {
    Client& client;
    ~Guard() {
      client.starting_ = false;
      client.started_.cancel();
    }
  } guard{*this};
  starting_ = true;
  auto made = co_await connect();
  if (made) {
    conversation_ = *made;
  } else if (made.error().kind != Failure::cancelled) {
    last_death_ = made.error().why;
    note_end();
  }
  co_return made;
}

Reply<std::shared_ptr<Transport>> Client::make_transport() {
  if (!server_.url.empty()) {
    std::string why;
    auto url = parse_url(server_.url, why);
    if (!url)
      return tl::unexpected(Failure{Failure::refused, fmt::format("has an url that {}", why)});
    return std::make_shared<HttpTransport>(io_, std::move(*url), server_.headers, limits_);
  }
  auto child = start_child(server_, place_);
  if (!child)
    return tl::unexpected(Failure{Failure::died, "could not be started: " + child.error()});
  return std::make_shared<StdioTransport>(io_, std::move(*child), limits_);
}

// Some legacy servers, those of the official Rust SDK among them, end when their first message is
// no handshake: they are started once more at once, and get one. That end was our doing, and counts
// as no death.
asio::awaitable<Reply<Client::ConversationPtr>> Client::connect() {
  for (auto how = opening_;; how = Opening::legacy) {
    auto transport = make_transport();
    if (!transport) {
      Reply<ConversationPtr> failed = tl::unexpected(std::move(transport.error()));
      co_return failed;
    }
    const auto conversation = std::make_shared<Conversation>(
        io_, std::move(*transport), Host{server_.name, place_.root, elicit_}, limits_);
    conversation->start();
    auto opened = co_await conversation->open(how);
    Reply<ConversationPtr> made = conversation;
    if (opened) {
      if (conversation->era() == Era::legacy) opening_ = Opening::legacy;
      co_return made;
    }
    const bool died = !conversation->alive() && opened.error().kind != Failure::cancelled;
    conversation->close("did not start");
    if (how == Opening::negotiate && died) continue;
    // Whatever answered the handshake before may be another program by now.
    if (how == Opening::legacy) opening_ = Opening::negotiate;
    made = tl::unexpected(std::move(opened.error()));
    co_return made;
  }
}

// All pages of one list, up to `n_max` entries.
asio::awaitable<Reply<Client::Listing>> Client::list(ConversationPtr conversation, std::string what,
                                                     std::size_t n_max) {
  const std::string method = what == "resourceTemplates" ? "resources/templates/list"
                                                         : what + "/list";
  Reply<Listing> done = Listing{};
  json params = json::object(), first;  // first: the first page
  std::set<std::string> cursors;
  Clock::duration fresh{};
  for (std::size_t page = 0; page < kPagesMax; ++page) {
    Asking asking{.timeout_ms = limits_.list_timeout_ms};
    auto requesting = conversation->request(method, params, std::move(asking));
    auto answer = co_await std::move(requesting);
    if (!answer) {
      done = tl::unexpected(std::move(answer.error()));
      co_return done;
    }
    const auto listed = answer->is_object() ? answer->find(what) : answer->end();
    if (!answer->is_object() || listed == answer->end() || !listed->is_array()) {
      done = tl::unexpected(
          Failure{Failure::refused, fmt::format("answered {} without \"{}\"", method, what)});
      co_return done;
    }
    // To some servers the empty cursor that they end with is none: they begin again
    if (page > 0 && !listed->empty() && *listed == first) break;
    fresh = page == 0 ? freshness(*answer) : std::min(fresh, freshness(*answer));
    if (page == 0 && answer->contains("nextCursor")) first = *listed;
    for (auto& one : *listed) {
      if (!one.is_object()) continue;
      if (done->all.size() < n_max)
        done->all.push_back(std::move(one));
      else
        done->goes_on = true;
    }
    // Absent is the end; the empty string is a cursor
    const auto next = answer->find("nextCursor");
    if (next == answer->end() || !next->is_string() || done->goes_on) break;
    if (!cursors.insert(next->get<std::string>()).second)
      break;  // it would give the same pages for ever
    params["cursor"] = *next;
    done->goes_on = page + 1 == kPagesMax || done->all.size() == n_max;
    if (done->goes_on) break;
  }
  fresh_until_ = std::min(fresh_until_, Clock::now() + fresh);
  co_return done;
}

// Asks for what is offered, unless it is known.
asio::awaitable<Reply<>> Client::refresh(ConversationPtr conversation) {
  bool changed = false;
  for (const auto list : {Listed::tools, Listed::resources, Listed::prompts})
    changed |= conversation->take_changed(list);
  Reply<> done;
  if (listed_ && !changed && Clock::now() < fresh_until_) co_return done;
  listed_ = false;  // whatever goes wrong below, it is asked again
  fresh_until_ = Clock::now() + std::chrono::milliseconds(kFreshMaxMs);
  std::vector<RemoteTool> offers;
  std::vector<std::string> cuts;
  std::map<std::string, std::string> unusable;
  std::set<std::string> names;
  // Servers that declare nothing to offer at all are asked for tools, too.
  if (conversation->can("tools") ||
      (!conversation->can("prompts") && !conversation->can("resources"))) {
    auto listing = list(conversation, "tools", kToolsMax);
    auto tools = co_await std::move(listing);
    if (!tools) {
      done = tl::unexpected(std::move(tools.error()));
      co_return done;
    }
    if (tools->goes_on) cuts.push_back(cut_note("tools", tools->all.size()));
    for (auto& tool : tools->all) {
      RemoteTool entry{text_at(tool, "name"),
                       text_at(tool, "title"),
                       text_at(tool, "description"),
                       tool.value("inputSchema", json::object()),
                       {},
                       only_reads(tool)};
      if (entry.name.empty() || !names.insert(entry.name).second) continue;
      if (only_as_task(tool)) {
        unusable[entry.name] = "it runs only as a task, and this client offers servers none";
        continue;
      }
      if (conversation->repeats_arguments()) {
        auto headers = find_param_headers(entry.schema);
        if (!headers) {
          unusable[entry.name] = "its schema " + headers.error();
          continue;
        }
        entry.headers = std::move(*headers);
      }
      offers.push_back(std::move(entry));
    }
    std::ranges::sort(offers, {}, &RemoteTool::name);
  }
  // Without these the server is still of use: their failure is nobody's concern.
  if (conversation->can("resources")) {
    for (const auto& [what, address] :
         {std::pair{"resources", "uri"}, {"resourceTemplates", "uriTemplate"}}) {
      auto listing = list(conversation, what, kResourcesMax);
      auto resources = co_await std::move(listing);
      if (!resources) continue;
      if (resources->goes_on)
        cuts.push_back(
            cut_note(what == std::string_view("resources") ? "resources" : "resource templates",
                     resources->all.size()));
      for (const auto& resource : resources->all)
        offers.push_back(resource_offer(resource, address));
    }
  }
  if (conversation->can("prompts")) {
    auto listing = list(conversation, "prompts", kPromptsMax);
    auto prompts = co_await std::move(listing);
    if (prompts && prompts->goes_on) cuts.push_back(cut_note("prompts", prompts->all.size()));
    if (prompts) {
      for (const auto& prompt : prompts->all) offers.push_back(prompt_offer(prompt));
    }
  }
  if (conversation_ == conversation) {
    offers_ = std::move(offers);
    cuts_ = std::move(cuts);
    unusable_ = std::move(unusable);
    listed_ = true;
  }
  co_return done;
}

const RemoteTool* Client::listed(const std::string& name) const {
  const auto found = std::ranges::find(offers_, name, &RemoteTool::name);
  return found == offers_.end() ? nullptr : &*found;
}

asio::awaitable<Reply<std::vector<RemoteTool>>> Client::offers() {
  const auto self = shared_from_this();
  auto listing = list_if_stale();
  const auto fresh = co_await std::move(listing);
  Reply<std::vector<RemoteTool>> known;
  if (fresh)
    known = offers_;
  else
    known = tl::unexpected(fresh.error());
  co_return known;
}

asio::awaitable<Reply<>> Client::list_if_stale() {
  const auto self = shared_from_this();
  for (bool again = true;; again = false) {
    const auto conversation = co_await connected();
    if (!conversation) {
      Reply<> failed = tl::unexpected(conversation.error());
      co_return failed;
    }
    auto refreshed = co_await refresh(*conversation);
    if (refreshed || refreshed.error().kind != Failure::expired || !again) co_return refreshed;
    forget_expired();
  }
}

// Whether the person says of each that it was opened.
asio::awaitable<bool> Client::opened(std::vector<json> urls) {
  for (std::size_t i = 0; i < urls.size() && i < kUrlsMax; ++i) {
    auto asking = elicit(server_.name, urls[i], elicit_);
    const auto answer = co_await std::move(asking);
    if (text_at(answer, "action") != "accept") co_return false;
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) co_return false;
  }
  co_return true;
}

// A call failed because urls have to be opened first: the person is asked to, once. False: it stays
// with the failure, which then names them.
asio::awaitable<bool> Client::met(Failure& failure, bool& asked) {
  const auto urls = required_urls(failure.data);
  if (urls.empty()) co_return false;
  bool declined = false;
  if (elicit_ && !std::exchange(asked, true)) {
    auto opening = opened(urls);
    const bool all = co_await std::move(opening);
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) {
      failure = Failure{Failure::cancelled, "cancelled"};
      co_return false;
    }
    if (all) co_return true;
    declined = true;
  }
  failure.why += fmt::format("; before it is called again the user has to open {}{}",
                             listed_urls(urls),
                             declined ? "; asked, the user did not say yes" : "");
  co_return false;
}

asio::awaitable<Reply<json>> Client::call(std::string tool, json arguments,
                                          OnProgress on_progress) {
  const auto self = shared_from_this();
  for (bool again = true, asked = false;;) {
    auto calling = call_once(tool, arguments, on_progress);
    auto answer = co_await std::move(calling);
    if (answer || answer.error().kind == Failure::refused) n_deaths_ = 0;
    if (answer) co_return answer;
    if (answer.error().code == kUrlElicitationRequired) {
      auto meeting = met(answer.error(), asked);
      const bool repeat = co_await std::move(meeting);
      if (!repeat) co_return answer;
      continue;
    }
    if (!std::exchange(again, false)) co_return answer;
    if (answer.error().kind == Failure::expired)
      forget_expired();
    else if (answer.error().code == kHeaderMismatch)
      listed_ = false;  // the tool's schema is no longer what it was
    else
      co_return answer;
  }
}

asio::awaitable<Reply<json>> Client::call_once(std::string tool, json arguments,
                                               OnProgress on_progress) {
  const auto conversation = co_await connected();
  if (!conversation) {
    Reply<json> failed = tl::unexpected(conversation.error());
    co_return failed;
  }
  Asking asking{limits_.call_timeout_ms, limits_.call_timeout_max_ms, std::move(on_progress), {}};
  if ((*conversation)->repeats_arguments()) {
    auto refreshed = co_await refresh(*conversation);
    if (!refreshed) {
      Reply<json> failed = tl::unexpected(std::move(refreshed.error()));
      co_return failed;
    }
  }
  if (const auto unusable = unusable_.find(tool); unusable != unusable_.end()) {
    Reply<json> failed = tl::unexpected(
        Failure{Failure::refused, fmt::format("the tool cannot be used: {}", unusable->second)});
    co_return failed;
  }
  if (const RemoteTool* const known = listed(tool))
    asking.headers = param_headers(known->headers, arguments);
  const bool reads = tool == kReadResource && (*conversation)->can("resources"),
             prompts = tool == kGetPrompt && (*conversation)->can("prompts");
  if ((reads || prompts) && arguments.is_object())
    arguments.erase("_meta");  // these are the parameters themselves; that member is ours
  json params = reads || prompts ? std::move(arguments)
                                 : json{{"name", tool}, {"arguments", std::move(arguments)}};
  auto requesting = (*conversation)
                        ->request(reads || prompts ? tool : "tools/call", std::move(params),
                                  std::move(asking));
  auto answer = co_await std::move(requesting);
  co_return answer;
}

}  // namespace lares::mcp
