// How many descriptors this process may have open: the daemon takes all it is given, and what it
// starts gets what was usual before, for programs that select(2) may not see more than 1,024.
#pragma once

namespace lares::sandbox {

// The soft limit becomes the hard one; what it was is remembered. Once, before anything is started.
void raise_open_files();

// Between fork and exec: the soft limit as it was before raise_open_files(). System calls only.
void usual_open_files();

}  // namespace lares::sandbox
