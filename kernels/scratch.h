// Room of a thread's own that grows and is kept. It is made in a translation unit without special
// instructions: what a container leaves behind for the linker must run everywhere (see lanes.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace lares::kernels {

// At least n words, the same ones at every call of a thread until more are asked for.
std::uint32_t* scratch_words(std::size_t n);

}  // namespace lares::kernels
