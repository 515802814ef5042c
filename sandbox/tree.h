// How lares-sandbox is started to end what a program leaves behind, without confining it:
// `lares-sandbox --tree PROGRAM [ARGUMENT...]`, with the program's streams, working directory and
// environment. For programs of the user's own choice that need the user's rights. As their nearest
// subreaper the launcher inherits whatever a parent in between leaves behind; what no process of
// the tree can leave is the tree. When the program ends, or nobody holds the other end of
// kTreeLifeFd any more, all of it is killed, and the launcher ends as the program did. SIGTERM is
// passed on to the program's group.
//
// Not ended: what the kernel does not kill (a process in uninterruptible sleep, after
// kTreeEndsWithin), what another program starts at its request (a container engine, systemd, at),
// and what it has started when it kills the launcher itself, which it may, as the same user. Only a
// PID namespace would see to the last; its user namespace would take from these programs what is
// the point of many: setuid helpers, rootless containers, the user's groups.
#pragma once

#include <chrono>
#include <string_view>

namespace lares::sandbox {

inline constexpr std::string_view kTreeOption = "--tree";
// The reading end of a pipe: its end of file means: kill everything and exit
inline constexpr int kTreeLifeFd = 3;
// The writing end of a pipe: an errno as an int where the program cannot be executed, else nothing
inline constexpr int kTreeReportFd = 4;
inline constexpr std::chrono::milliseconds kTreeEndsWithin{2000};  // then the rest is left to init

}  // namespace lares::sandbox
