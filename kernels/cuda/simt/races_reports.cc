#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cuda/simt/races_memory.h"

namespace lares::kernels::cuda::simt::races {
namespace {

constexpr int kStatus = 66;
constexpr std::size_t kShownMax = 40;

struct Found {
  std::vector<Race> races;
  std::set<std::tuple<std::string, std::uintptr_t, std::uintptr_t>> known;
};
Found found;
std::vector<Found> others;  // before somebody took those that are found now
std::map<std::uintptr_t, std::pair<std::uint32_t, std::uintptr_t>> early_reads;

extern "C" char __executable_start;

// Functions and lines, innermost first, of what is inlined there too.
std::string lines_of(std::uintptr_t at) {
  char command[160];
  std::snprintf(
      command, sizeof command, "addr2line -spfCi -e /proc/%d/exe 0x%lx", getpid(),
      static_cast<unsigned long>(at - 1 - reinterpret_cast<std::uintptr_t>(&__executable_start)));
  std::string out;
  if (std::FILE* const pipe = popen(command, "r")) {
    char line[4096];
    while (std::fgets(line, sizeof line, pipe)) {
      // A template's arguments fill a screen and say little.
      std::string text = line;
      if (text.size() > 160) text = text.substr(0, 50) + " .. " + text.substr(text.size() - 100);
      out += "    " + text;
    }
    pclose(pipe);
  }
  return out;
}

// The line that tests/racecheck.py adds up.
void say_what_was_looked_at() {
  std::fflush(nullptr);
  std::fprintf(stderr, "races: %llu launches, %llu accesses to %llu bytes, %zu races\n",
               static_cast<unsigned long long>(looked.launches),
               static_cast<unsigned long long>(looked.accesses),
               static_cast<unsigned long long>(looked.bytes), found.races.size());
}
[[noreturn]] void end_with_races() {
  say_what_was_looked_at();
  std::fflush(nullptr);
  _exit(kStatus);
}
struct AtEnd {
  ~AtEnd() {
    print_places();
    if (!found.races.empty()) end_with_races();
    say_what_was_looked_at();
  }
} at_end;

}  // namespace

void report(const char* what, std::uintptr_t second, std::uintptr_t first) {
  if (!found.known.emplace(what, second, first).second) return;
  found.races.push_back({what, second, first});
  if (!others.empty() || found.races.size() > kShownMax) return;
  std::fprintf(stderr, "race: %s:\n%s  and, before that in this order,\n%s", what,
               lines_of(second).c_str(), lines_of(first).c_str());
  if (std::getenv("LARES_RACES_FIRST")) end_with_races();
}
void beyond(const char* what) {
  std::fprintf(stderr, "races: more %s than can be told apart; run fewer tests at a time\n", what);
  std::abort();
}
void report_early(std::uint32_t distance, std::uintptr_t read, std::uintptr_t written) {
  const auto [at, added] = early_reads.try_emplace(read, distance, written);
  if (!added && distance >= at->second.first) return;
  at->second = {distance, written};
  if (std::getenv("LARES_RACES_EARLY"))
    std::fprintf(stderr, "early: read\n%s  %u launches after it was written\n%s",
                 lines_of(read).c_str(), distance, lines_of(written).c_str());
}

Taking::Taking() { others.push_back(std::exchange(found, {})); }
Taking::~Taking() {
  found = std::move(others.back());
  others.pop_back();
}
std::vector<Race> Taking::all() const { return found.races; }
std::vector<Early> early() {
  std::vector<Early> out;
  for (const auto& [read, of] : early_reads) out.push_back({of.first, read, of.second});
  return out;
}

}  // namespace lares::kernels::cuda::simt::races
