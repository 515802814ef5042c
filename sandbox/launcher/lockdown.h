// What a command loses after its view stands: resources, capabilities, system calls, priority.
#pragma once

#include <string>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

void limit_resources(const Spec& spec);
// Of each process the command starts; not of PID 1, which must outlive them. System calls only;
// false with errno set.
bool limit_cpu(const Spec& spec);
void drop_capabilities();
// The model decodes on the same cores. Best effort: a lower priority may be set already. System
// calls only.
void step_back();
// Defence in depth where the kernel has it; returns a fact for people. Needs no_new_privs.
std::string landlock(const Spec& spec);
// Installs the filter; also for PID 1. Needs no_new_privs.
void filter_system_calls(const Spec& spec);
// The filter as a program for bubblewrap's --seccomp, in a memfd.
int export_filter(const Spec& spec);

}  // namespace lares::sandbox::launcher
