// Runs a program of the user's own, unconfined, and ends all that it has started; see tree.h.
#pragma once

namespace lares::sandbox::launcher {

[[noreturn]] void run_tree(char** argv);  // argv: the program's, with a null at its end

}  // namespace lares::sandbox::launcher
