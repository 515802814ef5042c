#include "kernels/scratch.h"

#include <vector>

namespace lares::kernels {

std::uint32_t* scratch_words(std::size_t n) {
  thread_local std::vector<std::uint32_t> words;
  if (words.size() < n) words.resize(n);
  return words.data();
}

}  // namespace lares::kernels
