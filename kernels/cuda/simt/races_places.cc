// Places in the code that order what threads do, and those that a caller wants to order nothing.
#include <cstdio>
#include <cstdlib>
#include <set>

#include "kernels/cuda/simt/races_memory.h"

namespace lares::kernels::cuda::simt::races {
namespace {

extern "C" char __executable_start;

using Places = std::set<std::uintptr_t>;  // from where the program begins

Places given() {
  Places out;
  const char* at = std::getenv("LARES_RACES_WITHOUT");
  while (at && *at) {
    char* end = nullptr;
    out.insert(std::strtoull(at, &end, 16));
    if (end == at || (*end != ',' && *end != 0)) {
      std::fprintf(stderr, "LARES_RACES_WITHOUT: expected places as hexadecimal, found %s\n", at);
      std::abort();
    }
    at = *end == ',' ? end + 1 : end;
  }
  return out;
}
// Never destroyed: the end of the program prints it.
Places& used() {
  static Places* const places = new Places;
  return *places;
}

}  // namespace

bool left_out(const Inside& inside) {
  static const Places without = given();
  static const bool keeps = std::getenv("LARES_RACES_PLACES");
  if (without.empty() && !keeps) return false;
  const std::uintptr_t place = inside.at() - reinterpret_cast<std::uintptr_t>(&__executable_start);
  if (keeps) used().insert(place);
  return without.contains(place);
}
void print_places() {
  for (const std::uintptr_t place : used())
    std::fprintf(stderr, "place: %lx\n", static_cast<unsigned long>(place));
}

}  // namespace lares::kernels::cuda::simt::races
