#include "engine/model/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <string_view>

namespace lares::engine {

Trace::Span::Span(Trace* trace, const char* name, const char* key, std::int64_t value)
    : trace_(trace) {
  if (!trace_) return;
  if (trace_->events_.size() >= kTraceSpansMax) {
    ++trace_->dropped_;
    trace_ = nullptr;
    return;
  }
  at_ = trace_->events_.size();
  trace_->events_.push_back({name, key, value, trace_->now(), 0, 0, trace_->open_});
  trace_->open_ = at_;
}

Trace::Span::~Span() {
  if (!trace_) return;
  Event& e = trace_->events_[at_];
  e.end_ns = std::max(e.begin_ns + 1, trace_->now());
  if (e.parent != kNone) trace_->events_[e.parent].inside_ns += e.end_ns - e.begin_ns;
  trace_->open_ = e.parent;
}

std::vector<Engine::TraceTotal> Trace::totals() const {
  std::map<std::string_view, Engine::TraceTotal> by_name;
  for (const Event& e : events_) {
    if (e.end_ns == 0) continue;
    auto& total = by_name.try_emplace(e.name, Engine::TraceTotal{e.name, 0, 0}).first->second;
    ++total.count;
    total.self_s += static_cast<double>(e.end_ns - e.begin_ns - e.inside_ns) * 1e-9;
  }
  std::vector<Engine::TraceTotal> out;
  for (const auto& [name, total] : by_name) out.push_back(total);
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.self_s > b.self_s; });
  return out;
}

Result<> Trace::write(const std::string& path) const {
  std::FILE* const file = std::fopen(path.c_str(), "we");
  if (!file)
    return tl::unexpected(
        Error{Errc::bad_argument, fmt::format("write {}: {}", path, std::strerror(errno))});
  std::fprintf(
      file,
      "{\"displayTimeUnit\": \"ms\", \"otherData\": {\"spansLeftOut\": %lld}, \"traceEvents\": [\n",
      static_cast<long long>(dropped_));
  const char* separator = "";
  for (const Event& e : events_) {
    if (e.end_ns == 0) continue;
    std::fprintf(
        file,
        "%s{\"name\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f",
        separator, e.name, static_cast<double>(e.begin_ns) * 1e-3,
        static_cast<double>(e.end_ns - e.begin_ns) * 1e-3);
    if (e.key)
      std::fprintf(file, ", \"args\": {\"%s\": %lld}", e.key, static_cast<long long>(e.value));
    std::fputs("}", file);
    separator = ",\n";
  }
  std::fputs("\n]}\n", file);
  const bool good = std::ferror(file) == 0;
  const int error = errno;
  if (std::fclose(file) != 0 || !good)
    return tl::unexpected(
        Error{Errc::bad_argument,
              fmt::format("write {}: {}", path, std::strerror(good ? errno : error))});
  return {};
}

}  // namespace lares::engine
